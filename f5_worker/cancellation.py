"""Cancellation, timeout and progress of one job. Shared by the job's thread and the device's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from f5_worker.errors import JobCancelled, JobTimeout


class JobControl:
    """The state of one job, checked between stages and between steps, so that a cancelled job stops within one step.

    Args:
        timeout_s: seconds from now, or from `start`, after which `check` raises JobTimeout.
        on_progress: called with the share of the work done, 0..1, from the device's thread.
    """

    def __init__(self, timeout_s: float, on_progress: Callable[[float], None] = lambda share: None) -> None:
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._cancelled = threading.Event()
        self.on_progress = on_progress

    def start(self) -> None:
        """Count the time from now: a job that waited for its turn has all of it."""
        self._deadline = time.monotonic() + self._timeout_s

    def cancel(self) -> None:
        """Have the job stop at its next check."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise if the job has to stop.

        Raises:
            JobCancelled: its caller cancelled it.
            JobTimeout: its time is over.
        """
        if self._cancelled.is_set():
            raise JobCancelled("the job was cancelled by its caller")
        if time.monotonic() > self._deadline:
            raise JobTimeout(
                f"the job was stopped after {self._timeout_s:.0f} s (F5_JOB_TIMEOUT_S); "
                "send a shorter text or a lower quality, or ask the operator for more time"
            )
