"""Runs the proof in a fresh process and says whom a failure is to be blamed on."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from f5_worker import process as child

PROGRAM = Path(__file__).with_name("verify_child.py")
TIMEOUT_S = 90.0
Blame = Literal["build", "host", "old"]

# Errors of CUDA that mean the build and not the machine.
_BUILD_ERRORS = ("no kernel image", "only supports", "only support", "invalid device function")


@dataclass(frozen=True)
class Proof:
    """`blame` is the build where another one may do better, the host where any would fail.

    `old` is neither: it works and imports, but F5-TTS cannot call it.
    """

    ok: bool
    error: str | None
    version: str | None
    blame: Blame | None
    log: str


def verify(
    *,
    overlay: Path | None = None,
    program: Path = PROGRAM,
    python: str | Path = sys.executable,
    timeout_s: float = TIMEOUT_S,
) -> Proof:
    """Import and run flash-attn on this GPU, from `overlay` or as installed."""
    env = with_overlay(overlay, os.environ) if overlay else None
    done = child.run([python, program], timeout_s=timeout_s, env=env, cwd=Path("/"))
    answer = _answer(done)
    log = done.tail(20)
    if done.code is None or done.code == -signal.SIGKILL:  # the kernel's out-of-memory killer
        return Proof(False, done.ending, None, "host", log)
    if answer is None:
        # A build with the wrong symbols may as well end in SIGSEGV as in an ImportError.
        said = f" ({done.last_line[:300]})" if done.last_line else ""
        return Proof(False, f"{done.ending}{said}", None, "build", log)
    if answer.get("ok") is True and done.ok:
        return Proof(True, None, str(answer.get("version")), None, log)
    error = str(answer.get("error"))
    return Proof(False, error, None, _blame(str(answer.get("stage")), error), log)


def with_overlay(overlay: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a new process finds the overlay before everything installed."""
    rest = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{overlay}{os.pathsep}{rest}" if rest else str(overlay)}


def _answer(done: child.Finished) -> dict[str, Any] | None:
    try:
        answer = json.loads(done.last_line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and "ok" in answer else None


def _blame(stage: str, error: str) -> Blame:
    if stage == "version":
        return "old"
    if "No module named" in error and "flash_attn" not in error:
        return "host"  # einops, which a wheel installed --no-deps does not bring; another wheel would not either
    if stage in ("import", "compare") or any(text in error for text in _BUILD_ERRORS):
        return "build"
    return "host"
