"""Several pieces of work of one job side by side, each with a result or an error of its own.

The device speaks the segments of all of them together. Towards the end of the job's time they stop a little earlier
than the job itself, so that what is done can still be sent. All jobs' pieces share their threads.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from f5_worker.cancellation import JobControl, PartControl, PartsProgress
from f5_worker.errors import JobTimeout, WorkerError

T = TypeVar("T")

MAX_TOGETHER = 32
MAX_THREADS = 256  # of all jobs: as many as jobs may run in the largest worker (F5_CONCURRENCY)
RESERVE_S, RESERVE_SHARE = 4.0, 0.1  # of the job's time, the smaller one, to send what is done
WAIT_SHARE = 0.5  # of those, for work that comes to no check


def run_together(
    works: Sequence[Callable[[JobControl], T]],
    control: JobControl,
    told: Callable[[Exception], WorkerError],
    *,
    at_once: int = MAX_TOGETHER,
) -> Iterator[tuple[int, T | WorkerError]]:
    """Yield the index of each piece of work with its result or error, as they end; closing the iterator stops the rest.

    Args:
        works: each is called with the control of its part of the job, which is the current one of its thread.
        control: of the job. Its progress is the mean of theirs.
        told: returns what the caller is told of an error.
        at_once: how many run at a time, fewer while many jobs do this; they begin in order.

    Raises:
        JobCancelled: the job was cancelled.
    """
    reserve_s = min(RESERVE_S, RESERVE_SHARE * control.left_s())
    progress = PartsProgress(control.on_progress, [1] * len(works))
    parts = [PartControl(control, partial(progress.tell, index), reserve_s) for index in range(len(works))]
    ended: queue.SimpleQueue[tuple[int, T | WorkerError] | None] = queue.SimpleQueue()
    waiting = dict.fromkeys(range(len(works)))

    def run(index: int) -> None:
        try:
            ended.put((index, parts[index].run(partial(works[index], parts[index]))))
        except Exception as error:  # noqa: BLE001 - the edge of this piece of work; the others go on
            ended.put((index, told(error)))

    job = _Job(run, deque(waiting), at_once)
    try:
        _threads.add(job)
        with control.aborting(lambda: ended.put(None)):
            while waiting:
                done = _next(ended, control, WAIT_SHARE * reserve_s)
                if done is None or control.is_cancelled:
                    break
                progress.tell(done[0], 1.0)
                del waiting[done[0]]
                yield done
        if control.is_cancelled:
            control.check()
        for index in waiting:
            yield index, told(_timeout(parts[index]))
    finally:
        for part in parts:
            part.cancel()
        _threads.remove(job)


@dataclass(eq=False)
class _Job:
    """The pieces of one job that are to begin; `n_threads`: how many run."""

    run: Callable[[int], None]
    to_begin: deque[int]
    at_once: int
    n_threads: int = 0


class _Threads:
    """The threads of all jobs: a free one goes to the job with the fewest, of those that have more to begin.

    There are so many; a job has one in any case, so that none waits for another one to end.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._jobs: list[_Job] = []
        self._lock = threading.Lock()

    def add(self, job: _Job) -> None:
        """Begin the pieces of a job."""
        with self._lock:
            self._jobs.append(job)
            self._start()

    def remove(self, job: _Job) -> None:
        """Begin no more pieces of a job; those that run are left behind, and do not count."""
        with self._lock:
            self._jobs.remove(job)
            self._start()

    def _start(self) -> None:
        while piece := self._take():
            threading.Thread(target=self._work, args=piece, name="together", daemon=True).start()

    def _work(self, job: _Job, index: int) -> None:
        piece: tuple[_Job, int] | None = job, index
        while piece is not None:
            job, index = piece
            job.run(index)
            with self._lock:
                if job not in self._jobs:
                    return
                job.n_threads -= 1
                piece = self._take()

    def _take(self) -> tuple[_Job, int] | None:
        """Return what a thread does next; None if there is nothing, or no thread for it."""
        waiting = [job for job in self._jobs if job.to_begin and job.n_threads < job.at_once]
        job = min(waiting, key=lambda job: job.n_threads, default=None)
        if job is None or (job.n_threads and sum(job.n_threads for job in self._jobs) >= self._n_threads):
            return None
        job.n_threads += 1
        return job, job.to_begin.popleft()


_threads = _Threads(MAX_THREADS)


def _next(ended: queue.SimpleQueue[T | None], control: JobControl, reserve_s: float) -> T | None:
    """Return what ends next; None once the time of all is over, or the job is cancelled."""
    try:
        return ended.get(timeout=max(0.0, control.left_s() - reserve_s))
    except queue.Empty:
        return None


def _timeout(part: PartControl) -> JobTimeout:
    """Return the error of a part whose work has not come to a check since its time is over."""
    try:
        part.check()
    except JobTimeout as error:
        return error
    return JobTimeout("the job's time is over")
