"""handler.py as a process, as a container would run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.conftest import ROOT

READY = "ready on"
_NOT_OURS = ("RUNPOD_", "F5_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class WorkerProcess:
    """Starts at once; a context manager that leaves no process behind.

    Args:
        home: an empty directory; the SDK would else prefer a key in the user's own.
    """

    def __init__(self, environment: dict[str, str], home: Path, *arguments: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
        defaults = {"F5_MODEL": "f5-tiny", "F5_DEVICE": "cpu", "HOME": str(home)}
        self._lines: list[str] = []
        self._seen = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-u", "handler.py", *arguments],
            cwd=ROOT,
            env=inherited | defaults | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(10)

    @property
    def log(self) -> str:
        with self._seen:
            return "".join(self._lines)

    def wait_for(self, text: str, timeout_s: float = 120) -> None:
        """Return once a line of the log holds `text`."""
        with self._seen:
            found = self._seen.wait_for(lambda: self._ended or self._has(text), timeout_s)
            assert found, f"{text!r} was not logged in {timeout_s} s:\n{''.join(self._lines)}"
            assert self._has(text), f"the worker ended without logging {text!r}:\n{''.join(self._lines)}"

    def terminate(self, timeout_s: float = 60) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def _has(self, text: str) -> bool:
        return any(text in line for line in self._lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._seen:
                self._lines.append(line)
                self._seen.notify_all()
        with self._seen:
            self._ended = True
            self._seen.notify_all()
