"""What this container runs on, measured: interpreter, torch, GPU, driver, compiler, limits, disks.

torch is looked at in a subprocess, because `import torch` can abort the process (a bad
PYTORCH_CUDA_ALLOC_CONF, torch >= 2.10), hang on a sick driver, or simply not be there. What could not be
measured is None; nothing in here is a default or an expectation.
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
from typing import Any

from f5_worker import process as child
from f5_worker.boot.flash_attn.wheels import Environment
from f5_worker.boot.probe import host

PROGRAM = Path(__file__).with_name("probe_child.py")
PATHS_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Device:
    """One GPU; `free_bytes` was asked of the first only."""

    name: str
    capability: str
    total_bytes: int
    free_bytes: int | None


@dataclass(frozen=True)
class Installed:
    """The `flash_attn` that an import would find: the directory it lies in and the packages it came with."""

    location: str
    distributions: tuple[str, ...]
    version: str | None
    importable: bool
    error: str | None


@dataclass(frozen=True)
class PathFacts:
    """One directory. Where it does not exist, the rest is that of its nearest parent."""

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
class ProbeResult:
    """All findings; `torch_error` says in one line why those about torch are missing."""

    executable: str
    python: str | None = None
    python_tag: str | None = None
    machine: str | None = None
    glibc: str | None = None
    torch: str | None = None
    torch_git: str | None = None
    torch_error: str | None = None
    cuda: str | None = None
    abi: bool | None = None
    arch_list: tuple[str, ...] = ()
    cuda_available: bool = False
    cuda_error: str | None = None
    devices: tuple[Device, ...] = ()
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
        return self.devices[0].capability if self.devices else None

    def environment(self) -> Environment | None:
        """What the wheel resolver asks for; None where torch gave no answer."""
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
    program: Path = PROGRAM,
    root: Path = host.ROOT,
) -> ProbeResult:
    """Measure. Never raises: a probe that crashes or hangs gives `torch_error`.

    Args:
        python: the interpreter whose torch counts.
        paths: directories that the worker is going to use; written to for a moment.
        program: what to run instead of probe_child.py; for tests.
        root: where /proc and /sys are looked for; for tests.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as threads:
        about_torch = threads.submit(_torch, python, timeout_s, program)
        about_paths = threads.submit(_paths, python, paths)
        limits, (nvcc, cuda_home) = host.limits(root), host.nvcc()
        found = about_torch.result() | {"paths": about_paths.result()}
    return ProbeResult(
        executable=str(python),
        nvcc=nvcc,
        cuda_home=cuda_home,
        **vars(limits),
        **found,
        seconds=round(time.monotonic() - started, 3),
    )


def installed(python: str | Path, timeout_s: float) -> Installed | None:
    """Only the part about flash-attn, without importing anything: is there something under the name?"""
    code = (
        "import importlib.util as u, json, os; s = u.find_spec('flash_attn');"
        "print('\\nfound', json.dumps(s and (next(iter(s.submodule_search_locations or []), s.origin))))"
    )
    done = child.run([python, "-c", code], timeout_s=timeout_s, cwd=Path("/"))
    word, _, found = done.last_line.partition(" ")
    location = json.loads(found) if word == "found" else None
    return Installed(str(Path(location).parent), (), None, False, None) if location else None


def _torch(python: str | Path, timeout_s: float, program: Path) -> dict[str, Any]:
    mark = secrets.token_hex(8)
    done = child.run([python, program, "torch", mark], timeout_s=timeout_s, cwd=Path("/"))
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
    elif stage == "torch_itself" and "cuda_available" not in facts and "torch_error" not in facts:
        facts["cuda_error"] = f"{done.ending} while the GPU was looked at" + _quoted(done, mark)
    elif stage == "flash_attn" and facts.get("flash_attn") and not facts["flash_attn"].importable and not done.ok:
        facts["flash_attn"] = Installed(**vars(facts["flash_attn"]) | {"error": f"import flash_attn: {done.ending}"})
    return facts


def _typed(found: dict[str, Any]) -> dict[str, Any]:
    """The child's JSON with tuples and dataclasses in place."""
    facts = dict(found)
    if "arch_list" in facts:
        facts["arch_list"] = tuple(facts["arch_list"])
    if "devices" in facts:
        facts["devices"] = tuple(Device(**device) for device in facts["devices"])
    if seen := facts.get("flash_attn"):
        facts["flash_attn"] = Installed(**seen | {"distributions": tuple(seen["distributions"])})
    unknown = facts.keys() - ProbeResult.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"unknown finding {min(unknown)!r}")
    return facts


def _paths(python: str | Path, paths: Sequence[Path]) -> tuple[PathFacts, ...]:
    """In a process of its own as well: a dead network volume holds whoever touches it, for ever."""
    if not paths:
        return ()
    mark = secrets.token_hex(8)
    names = [str(path.absolute()) for path in paths]
    done = child.run([python, "-I", "-S", PROGRAM, "paths", mark, *names], timeout_s=PATHS_TIMEOUT_S)
    answers = {item["found"]["path"]: item["found"] for item in _findings(done.output, mark)}
    silent = {"exists": False, "writable": False, "error": f"not answered: {done.ending}"}
    return tuple(PathFacts(**answers.get(name, {"path": name, **silent})) for name in names)


def _findings(output: str, mark: str) -> Iterator[dict[str, Any]]:
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


def _why_no_torch(done: child.Finished, stage: object) -> str:
    where = f"while at {stage}" if isinstance(stage, str) else "before its first finding"
    return f"the probe ended {where}: {done.ending}" + _quoted(done, " ")


def _quoted(done: child.Finished, mark: str) -> str:
    """The last thing the child said that is not one of its findings."""
    said = [line.strip() for line in done.output.splitlines() if line.strip()]
    said = [line for line in said if '{"' not in line and not line.startswith(mark)]
    return f" ({said[-1][:300]})" if said else ""
