"""The probe of the machine and its software: interpreter, torch, GPU, driver, compiler, limits, disks.

torch is examined in a subprocess, because `import torch` can abort the process (a bad PYTORCH_CUDA_ALLOC_CONF,
torch >= 2.10), hang on a faulty driver, or fail because torch is not installed; the driver can abort or hang as well.
Values that could not be measured are None; none of them is a default or an expectation.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from f5_worker import process, resources
from f5_worker.boot.probe.compiler import nvcc

PROGRAM = Path(__file__).with_name("probe_child.py")
PATHS_TIMEOUT_S = 15.0
Imports = Literal["all", "torch", "needed"]


@dataclass(frozen=True)
class Gpu:
    """One GPU; `free_bytes` is measured for the first one only."""

    name: str
    capability: str
    total_bytes: int
    free_bytes: int | None


@dataclass(frozen=True)
class Installed:
    """The `flash_attn` that an import would find: the directory that contains it and the packages that installed it.

    `importable` is None if the import was not tried.
    """

    location: str
    distributions: tuple[str, ...]
    version: str | None
    importable: bool | None
    error: str | None


@dataclass(frozen=True)
class PathFacts:
    """One directory. If it does not exist, the values are those of its nearest parent."""

    path: str
    exists: bool
    writable: bool
    error: str | None
    free_bytes: int | None = None
    free_inodes: int | None = None
    is_mount: bool = False
    mount_point: str | None = None
    fs_type: str | None = None


@dataclass(frozen=True)
class Environment:
    """The values that decide which flash-attn fits; versions as text (`3.11`, `2.4.0+cu124`, `12.4`, `2.35`, `8.9`).

    `python` ends in `t` if it is free-threaded, whose ABI is another one (PEP 703).

    `cuda` is torch.version.cuda, not nvcc's or the driver's; `abi` is torch._C._GLIBCXX_USE_CXX11_ABI,
    which does not follow from the version (torch 2.6.0 is false with cu124, true with cu126). None: absent.
    """

    python: str
    torch: str
    cuda: str | None
    abi: bool
    machine: str
    glibc: str | None
    capability: str | None


@dataclass(frozen=True)
class ProbeResult:
    """All findings; `torch_error` is the reason, in one line, why those about torch are missing.

    Without `torch_imported`, they are from its files and from the driver, and `arch_list` is not known.
    `torch_compiled`: Python need not compile torch's modules before it runs them.
    """

    executable: str
    python: str | None = None
    python_tag: str | None = None
    machine: str | None = None
    glibc: str | None = None
    torch: str | None = None
    torch_git: str | None = None
    torch_error: str | None = None
    torch_imported: bool = False
    torch_compiled: bool | None = None
    cuda: str | None = None
    abi: bool | None = None
    arch_list: tuple[str, ...] = ()
    cuda_available: bool = False
    cuda_error: str | None = None
    devices: tuple[Gpu, ...] = ()
    driver: str | None = None
    driver_cuda: str | None = None
    nvcc: str | None = None
    cuda_home: str | None = None
    flash_attn: Installed | None = None
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    memory_bytes: int = 0
    cores: float = 1.0
    paths: tuple[PathFacts, ...] = ()
    seconds: float = 0.0

    @property
    def capability(self) -> str | None:
        """Return the compute capability of the first GPU, or None if there is no GPU."""
        return self.devices[0].capability if self.devices else None

    def environment(self) -> Environment | None:
        """Return the values that decide which flash-attn fits, or None if torch could not be examined."""
        if self.python is None or self.torch is None or self.abi is None or self.machine is None:
            return None
        return Environment(
            python=self.python,
            torch=self.torch,
            cuda=self.cuda,
            abi=self.abi,
            machine=self.machine,
            glibc=self.glibc,
            capability=self.capability,
        )


def probe(
    python: str | Path = sys.executable,
    timeout_s: float = 60.0,
    paths: Sequence[Path] = (),
    *,
    imports: Imports = "all",
    program: Path = PROGRAM,
    root: Path = resources.ROOT,
) -> ProbeResult:
    """Examine the machine. Never raises: if the child process crashes or hangs, `torch_error` says so.

    Args:
        python: the interpreter whose torch is examined.
        paths: directories that the worker will use; a temporary file is written to each.
        imports: what is imported in any case: torch and flash-attn, torch, or neither. flash-attn is imported as well
            where there is no GPU to run it on, torch where its files and the driver do not say enough.
        program: the program to run instead of probe_child.py; for tests.
        root: the directory that contains /proc and /sys; for tests.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as threads:
        torch_findings = threads.submit(_probe_torch, python, timeout_s, program, imports)
        path_findings = threads.submit(_probe_paths, python, paths)
        limits, (nvcc_release, cuda_home) = resources.limits(root), nvcc()
        findings = torch_findings.result() | {"paths": path_findings.result()}
    return ProbeResult(
        executable=str(python),
        nvcc=nvcc_release,
        cuda_home=cuda_home,
        **vars(limits),
        **findings,
        seconds=round(time.monotonic() - started, 3),
    )


def installed(python: str | Path, timeout_s: float) -> Installed | None:
    """Return the `flash_attn` that an import would find, without importing it, or None if there is none."""
    code = (
        "import importlib.util as u, json, os; s = u.find_spec('flash_attn');"
        "print('\\nfound', json.dumps(s and (next(iter(s.submodule_search_locations or []), s.origin))))"
    )
    done = process.run([python, "-c", code], timeout_s=timeout_s, cwd=Path("/"))
    word, _, found = done.last_line.partition(" ")
    location = json.loads(found) if word == "found" else None
    return Installed(str(Path(location).parent), (), None, None, None) if location else None


def _probe_torch(python: str | Path, timeout_s: float, program: Path, imports: Imports) -> dict[str, Any]:
    mark = secrets.token_hex(8)
    done = process.run([python, program, imports, mark], timeout_s=timeout_s, cwd=Path("/"))
    found: dict[str, Any] = {}
    for finding in _findings(done.output, mark):
        found |= finding
    stage = found.pop("stage", None)
    try:
        facts = _typed(found)
    except (TypeError, ValueError, KeyError) as error:
        return {"torch_error": f"the probe's answer cannot be read: {error}"}
    if "torch" not in facts and "torch_error" not in facts:
        facts["torch_error"] = _why_no_torch(done, stage)
    elif stage == "torch" and "cuda_available" not in facts and "torch_error" not in facts:
        facts["cuda_error"] = f"{done.ending} while the GPU was examined" + _last_output(done, mark)
    elif stage == "flash_attn" and facts.get("flash_attn") and not facts["flash_attn"].importable and not done.ok:
        facts["flash_attn"] = Installed(**vars(facts["flash_attn"]) | {"error": f"import flash_attn: {done.ending}"})
    return facts


def _typed(found: dict[str, Any]) -> dict[str, Any]:
    """Convert the child's JSON values to tuples and dataclasses."""
    facts = dict(found)
    if "arch_list" in facts:
        facts["arch_list"] = tuple(facts["arch_list"])
    if "devices" in facts:
        facts["devices"] = tuple(Gpu(**device) for device in facts["devices"])
    if flash_attn := facts.get("flash_attn"):
        facts["flash_attn"] = Installed(**flash_attn | {"distributions": tuple(flash_attn["distributions"])})
    unknown = facts.keys() - ProbeResult.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"unknown finding {min(unknown)!r}")
    return facts


def _probe_paths(python: str | Path, paths: Sequence[Path]) -> tuple[PathFacts, ...]:
    """Examine directories, also in a child process: a dead network volume blocks a process that uses it for ever."""
    if not paths:
        return ()
    mark = secrets.token_hex(8)
    names = [str(path.absolute()) for path in paths]
    done = process.run([python, "-I", "-S", PROGRAM, "paths", mark, *names], timeout_s=PATHS_TIMEOUT_S)
    answers = {item["found"]["path"]: item["found"] for item in _findings(done.output, mark)}
    unanswered = {"exists": False, "writable": False, "error": f"not answered: {done.ending}"}
    return tuple(PathFacts(**answers.get(name, {"path": name, **unanswered})) for name in names)


def _findings(output: str, mark: str) -> Iterator[dict[str, Any]]:
    """Yield the child's findings: the JSON objects on the lines that begin with `mark`."""
    for line in output.splitlines():
        word, _, text = line.partition(" ")
        if word != mark:
            continue
        try:
            finding = json.loads(text)
        except ValueError:
            continue
        if isinstance(finding, dict):
            yield finding


def _why_no_torch(done: process.Finished, stage: object) -> str:
    when = f"while it examined {stage}" if isinstance(stage, str) else "before its first finding"
    return f"the probe ended {when}: {done.ending}" + _last_output(done, " ")


def _last_output(done: process.Finished, mark: str) -> str:
    """Return the last line of the child's output that is not a finding, in brackets; an empty string if none."""
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    lines = [line for line in lines if '{"' not in line and not line.startswith(mark)]
    return f" ({lines[-1][:300]})" if lines else ""
