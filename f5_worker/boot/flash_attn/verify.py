"""Verification of a flash-attn by running it in a new process, and the cause of a failure: the build or the host."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from f5_worker import process

PROGRAM = Path(__file__).with_name("verify_child.py")
TIMEOUT_S = 90.0
Blame = Literal["build", "host", "old"]

# CUDA errors that are caused by the build and not by the machine.
_BUILD_ERRORS = ("no kernel image", "only supports", "only support", "invalid device function")


@dataclass(frozen=True)
class Verification:
    """The result of a check. `blame` is the build if another one may work, the host if any would fail.

    `old` is neither: the build works and imports, but F5-TTS cannot call it. `earlier`: at an earlier start.
    """

    ok: bool
    error: str | None
    version: str | None
    blame: Blame | None
    log: str
    earlier: bool = False


def verify(
    *,
    environ: Mapping[str, str] = os.environ,
    program: Path = PROGRAM,
    python: str | Path = sys.executable,
    timeout_s: float = TIMEOUT_S,
) -> Verification:
    """Import and run on this GPU the flash-attn that a process with this environment finds."""
    done = process.run([python, program], timeout_s=timeout_s, env=environ, cwd=Path("/"))
    answer = _answer(done)
    log = done.tail(20)
    if done.code is None or done.code == -signal.SIGKILL:  # SIGKILL: the out-of-memory killer of the kernel
        return Verification(False, done.ending, None, "host", log)
    if answer is None:
        # A build with the wrong symbols may end in SIGSEGV instead of an ImportError.
        last_line = f" ({done.last_line[:300]})" if done.last_line else ""
        return Verification(False, f"{done.ending}{last_line}", None, "build", log)
    if answer.get("ok") is True and done.ok:
        return Verification(True, None, str(answer.get("version")), None, log)
    error = str(answer.get("error"))
    return Verification(False, error, None, _blame(str(answer.get("stage")), error), log)


def with_overlay(overlay: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which a new process finds the overlay before all installed packages."""
    pythonpath = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{overlay}{os.pathsep}{pythonpath}" if pythonpath else str(overlay)}


def without_overlay(overlay: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what `with_overlay` added to it."""
    rest = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry and Path(entry) != overlay]
    found = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
    return {**found, "PYTHONPATH": os.pathsep.join(rest)} if rest else found


def _answer(done: process.Finished) -> dict[str, Any] | None:
    try:
        answer = json.loads(done.last_line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "ok" in answer else None


def _blame(stage: str, error: str) -> Blame:
    if stage == "version":
        return "old"
    if "No module named" in error and "flash_attn" not in error:
        return "host"  # such as einops: wheels are installed with --no-deps, so no other wheel would have it either
    if stage in ("import", "compare") or any(text in error for text in _BUILD_ERRORS):
        return "build"
    return "host"
