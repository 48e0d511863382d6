"""handler.py as a process, the way a container starts it; whatever happens, it is gone in the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.conftest import ROOT
from tests.e2e.fake_api import FakeApi

API_KEY = "test-key"
START_S = 90.0  # loading takes seconds; a busy machine may take many times that
STOP_S = 30.0
MAX_SHOWN_CHARS = 20_000  # of the log, in a failure


def environment(home: Path, api: FakeApi | None, overrides: Mapping[str, str]) -> dict[str, str]:
    """What RunPod gives a worker, over our own environment without its proxies and settings.

    The SDK reads all of it at import, and prefers an API key found in the home directory, hence an empty one.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("F5_", "RUNPOD_", "S3_", "AWS_", "BUCKET_"))
    }
    ours |= {
        "HOME": str(home),
        "F5_MODEL": "f5-tiny",
        "F5_DEVICE": "cpu",
        "F5_PRECISION": "fp32",  # the same numbers on every CPU
        "F5_ASR_MODEL": "off",
        "RUNPOD_DEBUG_LEVEL": "INFO",
    }
    if api is not None:
        ours |= {
            # `$ID` and `$RUNPOD_POD_ID` are for the SDK to fill in.
            "RUNPOD_WEBHOOK_GET_JOB": f"{api.url}/job-take/$ID?gpu=X",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{api.url}/job-done/$RUNPOD_POD_ID/$ID?gpu=X",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{api.url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=X",
            "RUNPOD_WEBHOOK_PING": f"{api.url}/ping/$RUNPOD_POD_ID?gpu=X",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_POD_ID": "worker-1",
            "RUNPOD_AI_API_KEY": API_KEY,
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # one of them asks 8.8.8.8
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }
    return {**ours, **overrides}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WorkerProcess:
    """A context manager around `python -u handler.py`, killed at the end; `lines` is its log so far."""

    def __init__(
        self,
        home: Path,
        api: FakeApi | None = None,
        *,
        program: Sequence[str] = ("-u", "handler.py"),
        arguments: Sequence[str] = (),
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self._command = [sys.executable, *program, *arguments]
        self._environment = environment(home, api, overrides or {})
        self._changed = threading.Condition()
        self._ended = False

    def __enter__(self) -> WorkerProcess:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that the SDK's heartbeat process can be killed with it
        )
        self._reader = threading.Thread(target=self._read, name="worker-log", daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # After os._exit or SIGKILL the heartbeat process lives on, so the whole group goes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)
        self._reader.join(STOP_S)

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rss_mib(self) -> float:
        """The memory that it holds, without its children's."""
        pages = int(Path("/proc", str(self.pid), "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def count_children(self, part: str) -> int:
        """How many of its children have `part` in their command line."""
        found = 0
        for task in Path("/proc", str(self.pid), "task").glob("*/children"):
            with contextlib.suppress(OSError):  # a thread that ended
                for child in task.read_text().split():
                    with contextlib.suppress(OSError):
                        found += part in Path("/proc", child, "cmdline").read_text()
        return found

    def ready(self) -> WorkerProcess:
        """Wait until the model is loaded."""
        self.wait_for_line("ready", timeout=START_S)
        return self

    def wait_for_line(self, *parts: str, timeout: float = STOP_S) -> None:
        """Wait until one line of the log, past or to come, holds all of `parts`."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not any(all(part in line for part in parts) for line in self.lines):
                left_s = 0.0 if self._ended else deadline - time.monotonic()
                assert left_s > 0, f"no line with {parts}; the log:\n{self.log[-MAX_SHOWN_CHARS:]}"
                self._changed.wait(left_s)

    def wait(self, timeout: float = STOP_S) -> int:
        """The exit code, once it has ended by itself."""
        code = self._process.wait(timeout)
        self._reader.join(STOP_S)
        return code

    def terminate(self, expected: int = 0, timeout: float = STOP_S) -> None:
        """Stop it as RunPod and docker do."""
        self._process.send_signal(signal.SIGTERM)
        code = self.wait(timeout)
        assert code == expected, f"exit code {code}, not {expected}; the log:\n{self.log}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
