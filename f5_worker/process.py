"""Subprocesses with limits: on their time, on the output that is kept, and on the processes they leave running."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TAIL_BYTES = 1 << 16
GRACE_S = 5.0  # for a killed process to end; one that hangs in the kernel (a dead mount) is left behind


@dataclass(frozen=True)
class Finished:
    """The result of a process. `output` is the end of stdout and stderr together; `code` is None after a timeout."""

    code: int | None
    output: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Return whether the process ended with exit code 0."""
        return self.code == 0

    @property
    def ending(self) -> str:
        """Return how the process ended: `exit code 1`, `killed by SIGSEGV` or `no answer within 60 s`."""
        return f"no answer within {self.seconds:.0f} s" if self.code is None else describe_exit(self.code)

    @property
    def last_line(self) -> str:
        """Return the last line that is not blank; for a Python program, that is the error itself."""
        return next((line for line in reversed(self.output.splitlines()) if line.strip()), "").strip()

    def tail(self, lines: int) -> str:
        """Return the last `lines` lines of the output."""
        return "\n".join(self.output.splitlines()[-lines:])


def describe_exit(code: int) -> str:
    """Return how a process with this return code ended: `exit code 1` or `killed by SIGSEGV`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> Finished:
    """Run a program to its end or to the time limit, then kill its whole process group, including its children.

    Never raises for what the program does, nor for a program that does not exist (`code` 127, as in a shell).

    Args:
        env: the whole environment; the environment of this process by default.
        on_tick: called about once a second while waiting.
    """
    started = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - the callers build the command lines
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        return Finished(127, f"{command[0]}: {error.strerror}", time.monotonic() - started)
    assert process.stdout is not None  # noqa: S101 - stdout=PIPE
    tail = _Tail(process.stdout)
    try:
        code = _wait(process, started + timeout_s, on_tick)
    finally:
        # Also after a normal end: processes that the program left running must not outlive it.
        _kill_group(process)
    tail.join()
    return Finished(code, tail.text(), time.monotonic() - started)


def start_detached(command: Sequence[str | Path], *, log: Path, cwd: Path) -> int:
    """Start a program that outlives this process, and the one that may replace it by `exec`; return its process id.

    Raises:
        OSError: it cannot be started, or its log cannot be written.
    """
    with log.open("wb") as output:
        started = subprocess.Popen(  # noqa: S603 - the callers build the command lines
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            start_new_session=True,
        )
    return started.pid


class _Tail(threading.Thread):
    """A thread that reads a pipe to its end, so that the writer never blocks, and keeps the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._kept = bytearray()
        self.start()

    def run(self) -> None:
        """Read until the pipe is closed."""
        with self._pipe, suppress(OSError):
            while data := os.read(self._pipe.fileno(), TAIL_BYTES):
                self._kept += data
                if len(self._kept) > 2 * TAIL_BYTES:
                    del self._kept[:-TAIL_BYTES]

    def join(self, timeout: float | None = GRACE_S) -> None:
        """Wait for the end of the pipe, but not longer than `timeout` seconds."""
        super().join(timeout)

    def text(self) -> str:
        """Return the last `TAIL_BYTES` bytes as text."""
        return bytes(self._kept[-TAIL_BYTES:]).decode("utf-8", "replace")


def _wait(process: subprocess.Popen[bytes], deadline: float, on_tick: Callable[[], None]) -> int | None:
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            return process.wait(min(left_s, 1.0))
        except subprocess.TimeoutExpired:
            on_tick()
    return process.poll()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
