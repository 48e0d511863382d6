"""Cancellation, timeout and progress of one job. Shared by the job's thread and the device's thread.

A job's time covers everything that is done for it, from the first byte of work on. Code far below the server, which is
not handed the job (fetching, decoding, recognition, storage), asks for the job of its own context: `check`, `left_s`,
`abort_after`, `run_detached`. Outside of a job, at start and in tests, these never stop anything.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from f5_worker.errors import JobCancelled, JobTimeout

T = TypeVar("T")

UNLIMITED_S = 1e9
POLL_S = 0.1  # between checks while waiting for a lock, which cannot be woken up
MAX_DETACHED = 64


class JobControl:
    """The state of one job, checked between stages and between steps, so that a cancelled job stops within one step.

    Args:
        timeout_s: seconds from now, or from `start`, after which `check` raises JobTimeout.
        on_progress: called with the share of the work done, 0..1, from the device's thread.
        on_result: called with each result of a job that has many, as it is done.

    Attributes:
        stage: what is being done, for the error.
    """

    def __init__(
        self,
        timeout_s: float,
        on_progress: Callable[[float], None] = lambda share: None,
        on_result: Callable[[Any], None] = lambda result: None,
    ) -> None:
        self._timeout_s = timeout_s
        self._created = time.monotonic()
        self._deadline = self._created + timeout_s
        self._waited_s = 0.0
        self._is_cancelled = False
        self._aborts: list[Callable[[], object]] = []
        self._lock = threading.Lock()
        self.on_progress, self.on_result = on_progress, on_result
        self.stage = ""

    def start(self) -> None:
        """Count the time from now: a job that waited for its turn has all of it."""
        now = time.monotonic()
        self._waited_s, self._deadline = now - self._created, now + self._timeout_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time of the block."""
        left_s = self.left_s()
        self._deadline = time.monotonic() + UNLIMITED_S
        try:
            yield
        finally:
            self._deadline = time.monotonic() + left_s

    def enter(self, stage: str) -> None:
        """Set the stage that begins; raise as `check` does."""
        self.check()
        self.stage = stage

    @property
    def is_cancelled(self) -> bool:
        """Return whether its caller cancelled it."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Have the job stop at its next check, and wake it up where it waits in `aborting`."""
        with self._lock:  # until all are called: none is called after its block
            self._is_cancelled = True
            for abort in self._aborts:
                abort()

    def left_s(self) -> float:
        """Return the seconds until the job's time is over, 0 after it."""
        return max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Raise if the job has to stop.

        Raises:
            JobCancelled: its caller cancelled it.
            JobTimeout: its time is over.
        """
        if self.is_cancelled:
            raise JobCancelled("the job was cancelled by its caller")
        if not self.left_s():
            waited = f", after waiting {self._waited_s:.0f} s, which does not count" if self._waited_s >= 1.0 else ""
            raise JobTimeout(
                f"the job was stopped after {self._timeout_s:g} s of work (F5_JOB_TIMEOUT_S)"
                f"{f' while {self.stage}' if self.stage else ''}{waited}; "
                "send a shorter text or a lower quality, or ask the operator for more time"
            )

    @contextmanager
    def aborting(self, abort: Callable[[], object]) -> Iterator[None]:
        """Call `abort`, from another thread, if the job is cancelled inside the block."""
        with self._lock:
            self._aborts.append(abort)
            if self._is_cancelled:
                abort()
        try:
            yield
        finally:
            with self._lock:
                self._aborts.remove(abort)

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, in which this is the current job."""

        def run() -> T:
            _current.set(self)
            self.check()
            return work()

        return contextvars.copy_context().run(run)


class PartControl(JobControl):
    """The state of a part of a job, which stops with the job, and may be cancelled alone.

    Args:
        reserve_s: the part's time is over so long before the job's.
    """

    def __init__(
        self, job: JobControl, on_progress: Callable[[float], None] = lambda share: None, reserve_s: float = 0.0
    ) -> None:
        super().__init__(job._timeout_s, on_progress)
        self._job, self._reserve_s, self._waited_s = job, reserve_s, job._waited_s

    @property
    def is_cancelled(self) -> bool:
        """Return whether the part or the job was cancelled."""
        return self._is_cancelled or self._job.is_cancelled

    def left_s(self) -> float:
        """Return the seconds until the part's time is over, 0 after it."""
        return max(0.0, self._job.left_s() - self._reserve_s)

    @contextmanager
    def aborting(self, abort: Callable[[], object]) -> Iterator[None]:
        """Call `abort`, from another thread, if the part or the job is cancelled inside the block."""
        with self._job.aborting(abort), super().aborting(abort):
            yield


class PartsProgress:
    """The progress of work whose parts are done side by side: the mean of theirs. Many threads may tell it.

    Args:
        report: called with it.
        weights: of the parts.
    """

    def __init__(self, report: Callable[[float], None], weights: Sequence[float]) -> None:
        self._report, self._weights, self._shares = report, weights, [0.0] * len(weights)
        self._done, self._total = 0.0, sum(weights)
        self._lock = threading.Lock()

    def tell(self, index: int, share: float) -> None:
        """Report how much of one part is done."""
        with self._lock:
            self._done += self._weights[index] * (share - self._shares[index])
            self._shares[index] = share
        self._report(min(1.0, self._done / self._total))


_NO_JOB = JobControl(UNLIMITED_S)
_current = contextvars.ContextVar("_current", default=_NO_JOB)
_places = threading.BoundedSemaphore(MAX_DETACHED)


def check() -> None:
    """Raise if the current job has to stop; see `JobControl.check`."""
    _current.get().check()


def left_s(limit_s: float) -> float:
    """Return the seconds that are left to the current job, at most `limit_s`."""
    return min(limit_s, _current.get().left_s())


@contextmanager
def abort_after(limit_s: float, abort: Callable[[], object]) -> Iterator[None]:
    """Call `abort`, from another thread, after `limit_s` or when the current job has to stop inside the block."""
    timer = threading.Timer(left_s(limit_s), abort)
    timer.daemon = True
    timer.start()
    try:
        with _current.get().aborting(abort):
            yield
    finally:
        timer.cancel()
        timer.join()


def acquire(place: threading.Lock | threading.Semaphore, limit_s: float = UNLIMITED_S) -> None:
    """Acquire a lock or a semaphore; the current job may have to stop while it waits for it.

    Raises:
        TimeoutError: it was not free within `limit_s`.
    """
    until = time.monotonic() + limit_s
    while not place.acquire(timeout=left_s(POLL_S)):
        check()
        if time.monotonic() >= until:
            raise TimeoutError


@contextmanager
def acquired(place: threading.Lock | threading.Semaphore) -> Iterator[None]:
    """Acquire a lock or a semaphore for the length of the block; see `acquire`."""
    acquire(place)
    try:
        yield
    finally:
        place.release()


def run_detached(work: Callable[[], T], limit_s: float = UNLIMITED_S) -> T:
    """Call `work`, which waits for others and cannot be interrupted, in a thread of its own; return its result.

    When the current job has to stop, or after `limit_s`, the thread is left behind until `work` ends by itself. At most
    MAX_DETACHED threads are in such calls; further ones wait.

    Raises:
        TimeoutError: after `limit_s`.
    """
    job, done, until = _current.get(), Future[T](), time.monotonic() + limit_s
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001 - raised again in the job's thread
            _set(done.set_exception, error)
        else:
            _set(done.set_result, result)
        finally:
            _places.release()

    acquire(_places, limit_s)
    threading.Thread(target=run, name="detached", daemon=True).start()
    with job.aborting(done.cancel):
        while not done.done():
            job.check()
            if (remaining_s := until - time.monotonic()) <= 0:
                raise TimeoutError
            with suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
                done.result(min(remaining_s, job.left_s()))
    job.check()
    return done.result()


def _set(setter: Callable[[T], None], value: T) -> None:
    with suppress(concurrent.futures.InvalidStateError):  # it was left behind
        setter(value)
