"""Check and repair PYTORCH_CUDA_ALLOC_CONF before torch is imported.

This has to happen first, and in pure Python: from 2.10 on, a missing colon makes torch end the process inside
`import torch`, and an option of a newer release is fatal in every older one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal, get_args

from f5_worker.boot.alloc_conf.hints import explain
from f5_worker.boot.alloc_conf.options import MODERN, release_of
from f5_worker.boot.alloc_conf.parser import TorchVerdict, judge

Policy = Literal["repair", "drop", "fail"]

CUDA, HIP, ANY = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF"

# White space that editors and web forms leave, including torch's own isspace(); the last four have no width.
_BLANK = "[\\s\ufeff\u200b\u200c\u2060]"
_EDGES = re.compile(f"^{_BLANK}+|{_BLANK}+$|{_BLANK}*([,:\\[\\]]){_BLANK}*")
_NAME = re.compile(rf"(?:export{_BLANK}+)?PYTORCH_(?:CUDA_|HIP_)?ALLOC_CONF{_BLANK}*=")
_MARKS = (("\r", "carriage return (a file with Windows line ends)"), ("\ufeff", "byte order mark"))
_MAX_CHARS = 4096  # longest value that is judged pair by pair; the work grows with the square of the length
_QUOTES = ('""', "''", "“”", "‘’")


@dataclass(frozen=True)
class Problem:
    """A fault (`error`: torch would refuse it) or something that torch accepts but reads differently (`warning`)."""

    severity: Literal["error", "warning"]
    pair: str
    message: str
    suggestion: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Torch's verdict on the raw value, and the value to set instead (`effective`; None: leave it unset)."""

    verdict: TorchVerdict
    effective: str | None
    problems: tuple[Problem, ...] = ()
    repairs: tuple[str, ...] = ()

    @property
    def faulty(self) -> bool:
        """Return whether there is a fault that no safe repair corrects; with the policy `fail` this is fatal."""
        return any(problem.severity == "error" for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as the output of `env_validation.py alloc-conf`."""
        return {
            "verdict": self.verdict,
            "effective": self.effective,
            "problems": [asdict(problem) for problem in self.problems],
            "repairs": list(self.repairs),
        }


@dataclass(frozen=True)
class Resolved:
    """The variable that torch would have read (`source`), and the changes that the environment needs.

    `export` is the value for PYTORCH_CUDA_ALLOC_CONF; `unset` names the variables to remove. `measured`: torch accepts
    it, because the rules are measured ones of its release, or because it is not set.
    """

    source: str | None
    verdict: Verdict
    export: str | None
    unset: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    measured: bool = True

    def apply(self, environ: MutableMapping[str, str]) -> None:
        """Make the changes in `environ`."""
        for name in self.unset:
            environ.pop(name, None)
        if self.export is not None:
            environ[CUDA] = self.export


def check(value: str, torch_version: str | None, policy: Policy = "repair", name: str = CUDA) -> Verdict:
    """Judge one value for one torch version.

    White space, a byte order mark, one pair of quotes and a pasted `NAME=` are always repaired. For any
    other fault, the policy `repair` drops the bad pairs and keeps the good ones; `drop` and `fail` drop
    the whole value.
    """
    if policy not in get_args(Policy):
        raise ValueError(f"policy {policy!r} is not one of {', '.join(get_args(Policy))}")
    release, measured = release_of(torch_version)
    text, repairs = _repair(value)
    raw_outcome = judge(value, release)
    problems = [] if measured or not text else [_unmeasured(torch_version, release)]
    outcome = judge(text, release)
    shown = f"{name}={value[:300]!r}" + ("..." if len(value) > 300 else "")
    if outcome.verdict == "ok":
        problems += [Problem("warning", text, f"{shown}: {note}") for note in outcome.notes]
        return Verdict(raw_outcome.verdict, text or None, tuple(problems), repairs)
    if len(text) > _MAX_CHARS:
        message = f"{shown}: longer than {_MAX_CHARS} characters and faulty ({outcome.message[:200]})"
        problems.append(Problem("error", "", message))
        return Verdict(raw_outcome.verdict, None, tuple(problems), repairs)
    kept, faults = _split_good_and_bad(text, release)
    for pair, torch_message in faults:
        reason, suggestion = explain(pair, release, torch_message)
        problems.append(Problem("error", pair, f"{shown}: {reason}", suggestion))
    effective = ",".join(kept) if policy == "repair" else ""
    return Verdict(raw_outcome.verdict, effective or None, tuple(problems), repairs)


def resolve_environment(environ: Mapping[str, str], torch_version: str | None, policy: Policy = "repair") -> Resolved:
    """Find and judge the variable that torch's CUDA allocator would read; only PYTORCH_CUDA_ALLOC_CONF may remain.

    The other names are removed in any case: 2.9 warns about the old one and ignores the new one (pytorch #183387),
    and from 2.10 on a PYTORCH_HIP_ALLOC_CONF is applied to half of the options even with CUDA.
    """
    release, measured = release_of(torch_version)
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
    return Resolved(source, verdict, export, unset, verdict.problems + tuple(unused), measured or export is None)


def policy_of(environ: Mapping[str, str]) -> Policy:
    """Return the policy that F5_ALLOC_CONF_POLICY names, `repair` by default; the settings report an unknown one."""
    value = environ.get("F5_ALLOC_CONF_POLICY", "").strip()
    return next((policy for policy in get_args(Policy) if policy == value), "repair")


def installed_torch_version() -> str | None:
    """Return the version of the installed torch, from its package metadata: torch is not imported."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _repair(value: str) -> tuple[str, tuple[str, ...]]:
    """Return the value after all safe repairs, and the names of the repairs."""
    repairs: list[str] = []
    text, nul, _ = value.partition("\0")
    if nul:
        repairs.append("cut at a NUL byte, where the environment ends")
    text = _tidy(text, repairs)
    text, was_quoted = _unquote(text, repairs)
    pasted = _NAME.match(text)
    if pasted:
        repairs.append(f"removed the pasted {pasted[0]!r}")
        text = _tidy(text[pasted.end() :], repairs)
        if not was_quoted:
            text, _ = _unquote(text, repairs)
    return text, tuple(dict.fromkeys(repairs))


def _tidy(text: str, repairs: list[str]) -> str:
    """Remove white space at both ends and around separators; inside a word it stays and is judged."""
    tidy = _EDGES.sub(lambda match: match[1] or "", text)
    removed = [(mark, name) for mark, name in _MARKS if text.count(mark) > tidy.count(mark)]
    repairs += [f"removed a {name}" for _, name in removed]
    if len(text) - len(tidy) > sum(text.count(mark) - tidy.count(mark) for mark, _ in removed):
        repairs.append("removed white space")
    return tidy


def _unquote(text: str, repairs: list[str]) -> tuple[str, bool]:
    """Remove one pair of quotes around the value; return also whether there was one."""
    if len(text) < 2 or text[0] + text[-1] not in _QUOTES:
        return text, False
    repairs.append(f"removed the quotes {text[0]}{text[-1]} around the value")
    return _tidy(text[1:-1], repairs), True


def _split_good_and_bad(text: str, release: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the pairs that torch accepts together, in their order, and the others, each with torch's message."""
    kept: list[str] = []
    faults: list[tuple[str, str]] = []
    for pair in _pairs(text):
        outcome = judge(",".join([*kept, pair]), release)
        if pair and outcome.verdict == "ok":
            kept.append(pair)
        else:
            faults.append((pair, outcome.message))
    return kept, faults


def _pairs(text: str) -> list[str]:
    """Split at the commas outside of brackets; torch accepts one trailing comma."""
    pairs, start, depth = [], 0, 0
    for i, char in enumerate(text):
        depth = max(0, depth + (char == "[") - (char == "]"))
        if char == "," and not depth:
            pairs.append(text[start:i])
            start = i + 1
    return [*pairs, text[start:]] if text[start:] else pairs


def _unmeasured(torch_version: str | None, release: int) -> Problem:
    found = f"torch {torch_version!r} was never measured" if torch_version else "no torch was found"
    return Problem("warning", "", f"{found}; the value was judged by the rules of torch 2.{release}")


def _why_unused(name: str, value: str, source: str | None, release: int) -> str:
    if name == HIP:
        return f"{name}={value!r} is for AMD GPUs and was removed; use {CUDA}"
    if release < MODERN:
        return f"{name}={value!r} has no effect on CUDA in torch 2.{release} and was removed; use {CUDA}"
    return f"{name}={value!r} was removed: torch reads {source} where both are set, even if it is empty"
