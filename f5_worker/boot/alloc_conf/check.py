"""Check and repair PYTORCH_CUDA_ALLOC_CONF before torch is imported.

Has to happen first, and in pure Python: from 2.10 on torch ends the process inside `import torch` over a
missing colon, and an option of a newer release is fatal in every older one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal, get_args

from f5_worker.boot.alloc_conf.hints import explain
from f5_worker.boot.alloc_conf.options import MODERN, release_of
from f5_worker.boot.alloc_conf.parser import Answer, judge

Policy = Literal["repair", "drop", "fail"]

CUDA, HIP, ANY = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF"

# White space as any editor or form may leave it, torch's own isspace() among it; the last four are zero wide.
_BLANK = "[\\s\ufeff\u200b\u200c\u2060]"
_EDGES = re.compile(f"^{_BLANK}+|{_BLANK}+$|{_BLANK}*([,:\\[\\]]){_BLANK}*")
_NAME = re.compile(rf"PYTORCH_(?:CUDA_|HIP_)?ALLOC_CONF{_BLANK}*=")
_MARKS = (("\r", "carriage return (a file with Windows line ends)"), ("\ufeff", "byte order mark"))
_LONGEST = 4096  # characters that are taken apart pair by pair; the work grows with the square
_QUOTES = ('""', "''", "“”", "‘’")


@dataclass(frozen=True)
class Problem:
    """A fault (`error`: torch would refuse it) or something that torch accepts but reads otherwise."""

    severity: Literal["error", "warning"]
    pair: str
    message: str
    suggestion: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What torch would do with the raw value, and what to give it instead (None: leave it unset)."""

    verdict: Answer
    effective: str | None
    problems: tuple[Problem, ...] = ()
    repairs: tuple[str, ...] = ()

    @property
    def faulty(self) -> bool:
        """Something is wrong that no safe repair mends; with the policy `fail` this is fatal."""
        return any(problem.severity == "error" for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "effective": self.effective,
            "problems": [asdict(problem) for problem in self.problems],
            "repairs": list(self.repairs),
        }


@dataclass(frozen=True)
class Resolved:
    """Which variable torch would have read, and what the environment has to be instead.

    `export` is the value for PYTORCH_CUDA_ALLOC_CONF; `unset` names the variables to remove.
    """

    source: str | None
    verdict: Verdict
    export: str | None
    unset: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def apply(self, environ: MutableMapping[str, str]) -> None:
        for name in self.unset:
            environ.pop(name, None)
        if self.export is not None:
            environ[CUDA] = self.export


def check(value: str, torch_version: str | None, policy: Policy = "repair", name: str = CUDA) -> Verdict:
    """Judge one value for one torch version.

    White space, a byte order mark, one pair of quotes and a pasted `NAME=` are always repaired. Of any
    other fault the policy `repair` drops the bad pairs and keeps the good ones; `drop` and `fail` drop
    the whole value.
    """
    if policy not in get_args(Policy):
        raise ValueError(f"policy {policy!r} is none of {', '.join(get_args(Policy))}")
    release, measured = release_of(torch_version)
    text, repairs = _repair(value)
    raw = judge(value, release)
    problems = [] if measured or not text else [_unmeasured(torch_version, release)]
    outcome = judge(text, release)
    shown = f"{name}={value[:300]!r}" + ("..." if len(value) > 300 else "")
    if outcome.verdict == "ok":
        problems += [Problem("warning", text, f"{shown}: {note}") for note in outcome.notes]
        return Verdict(raw.verdict, text or None, tuple(problems), repairs)
    if len(text) > _LONGEST:
        message = f"{shown}: longer than {_LONGEST} characters and faulty ({outcome.says[:200]})"
        problems.append(Problem("error", "", message))
        return Verdict(raw.verdict, None, tuple(problems), repairs)
    kept, faults = _sift(text, release)
    for pair, says in faults:
        reason, suggestion = explain(pair, release, says)
        problems.append(Problem("error", pair, f"{shown}: {reason}", suggestion))
    effective = ",".join(kept) if policy == "repair" else ""
    return Verdict(raw.verdict, effective or None, tuple(problems), repairs)


def resolve_environment(environ: Mapping[str, str], torch_version: str | None, policy: Policy = "repair") -> Resolved:
    """Find the variable that torch's CUDA allocator would read; leave PYTORCH_CUDA_ALLOC_CONF alone or none.

    The other names go in any case: 2.9 warns about the old one and ignores the new one (pytorch #183387),
    and from 2.10 on a PYTORCH_HIP_ALLOC_CONF reaches half of the options even with CUDA.
    """
    release, _ = release_of(torch_version)
    readable = (CUDA, ANY) if release >= MODERN else (CUDA,)
    source = next((name for name in readable if name in environ), None)  # even when empty
    verdict = check(environ[source], torch_version, policy, source) if source else Verdict("ok", None)
    unused = [
        Problem("warning", name, _why_unused(name, environ[name], source, release))
        for name in (CUDA, ANY, HIP)
        if name in environ and name != source and environ[name].strip()
    ]
    export = verdict.effective
    unset = tuple(n for n in (CUDA, ANY, HIP) if n in environ and (n != CUDA or export is None))
    return Resolved(source, verdict, export, unset, verdict.problems + tuple(unused))


def policy_of(environ: Mapping[str, str]) -> Policy:
    """What F5_ALLOC_CONF_POLICY asks for; a value that is none of the policies is for the settings to report."""
    value = environ.get("F5_ALLOC_CONF_POLICY", "").strip()
    return next((policy for policy in get_args(Policy) if policy == value), "repair")


def installed_torch_version() -> str | None:
    """Version of the installed torch from its package metadata, so without importing it."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _repair(value: str) -> tuple[str, tuple[str, ...]]:
    """The value after all safe repairs, and their names."""
    repairs: list[str] = []
    text, nul, _ = value.partition("\0")
    if nul:
        repairs.append("cut at a NUL byte, where the environment ends")
    text = _tidy(text, repairs)
    text, quoted = _unquote(text, repairs)
    pasted = _NAME.match(text)
    if pasted:
        repairs.append(f"removed the pasted {pasted[0]!r}")
        text = _tidy(text[pasted.end() :], repairs)
        if not quoted:
            text, _ = _unquote(text, repairs)
    return text, tuple(dict.fromkeys(repairs))


def _tidy(text: str, repairs: list[str]) -> str:
    """White space off both ends and around separators; inside a word it stays and is judged."""
    tidy = _EDGES.sub(lambda match: match[1] or "", text)
    gone = [(ch, what) for ch, what in _MARKS if text.count(ch) > tidy.count(ch)]
    repairs += [f"removed a {what}" for _, what in gone]
    if len(text) - len(tidy) > sum(text.count(ch) - tidy.count(ch) for ch, _ in gone):
        repairs.append("removed white space")
    return tidy


def _unquote(text: str, repairs: list[str]) -> tuple[str, bool]:
    if len(text) < 2 or text[0] + text[-1] not in _QUOTES:
        return text, False
    repairs.append(f"removed the quotes {text[0]}{text[-1]} around the value")
    return _tidy(text[1:-1], repairs), True


def _sift(text: str, release: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The pairs that torch takes together, in their order, and the others with torch's words."""
    kept: list[str] = []
    faults: list[tuple[str, str]] = []
    for pair in _pairs(text):
        outcome = judge(",".join([*kept, pair]), release)
        if pair and outcome.verdict == "ok":
            kept.append(pair)
        else:
            faults.append((pair, outcome.says))
    return kept, faults


def _pairs(text: str) -> list[str]:
    """Split at the commas outside of brackets; one trailing comma is fine with torch."""
    pairs, start, depth = [], 0, 0
    for i, char in enumerate(text):
        depth = max(0, depth + (char == "[") - (char == "]"))
        if char == "," and not depth:
            pairs.append(text[start:i])
            start = i + 1
    return [*pairs, text[start:]] if text[start:] else pairs


def _unmeasured(torch_version: str | None, release: int) -> Problem:
    seen = f"torch {torch_version!r} was never measured" if torch_version else "no torch was found"
    return Problem("warning", "", f"{seen}; the value was judged as torch 2.{release} would")


def _why_unused(name: str, value: str, source: str | None, release: int) -> str:
    if name == HIP:
        return f"{name}={value!r} is meant for AMD GPUs and was removed; use {CUDA}"
    if release < MODERN:
        return f"{name}={value!r} means nothing to CUDA in torch 2.{release} and was removed; use {CUDA}"
    return f"{name}={value!r} was removed: {source} wins where both are set, even when it is empty"
