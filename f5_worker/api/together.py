"""Several pieces of work of one job side by side, each with a result or an error of its own.

The device speaks the segments of all of them together. Towards the end of the job's time they stop a little earlier
than the job itself, so that what is done can still be sent.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from f5_worker.cancellation import JobControl, PartControl, PartsProgress
from f5_worker.errors import JobTimeout, WorkerError

T = TypeVar("T")

MAX_TOGETHER = 32
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
        at_once: how many run at a time; they begin in order.

    Raises:
        JobCancelled: the job was cancelled.
    """
    reserve_s = min(RESERVE_S, RESERVE_SHARE * control.left_s())
    progress = PartsProgress(control.on_progress, [1] * len(works))
    parts = [PartControl(control, partial(progress.tell, index), reserve_s) for index in range(len(works))]
    ended: queue.SimpleQueue[tuple[int, T | WorkerError] | None] = queue.SimpleQueue()
    waiting = dict.fromkeys(range(len(works)))
    pool = ThreadPoolExecutor(min(at_once, len(works)), thread_name_prefix="together")

    def run(index: int) -> None:
        try:
            ended.put((index, parts[index].run(partial(works[index], parts[index]))))
        except Exception as error:  # noqa: BLE001 - the edge of this piece of work; the others go on
            ended.put((index, told(error)))

    try:
        for index in waiting:
            pool.submit(run, index)
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
        pool.shutdown(wait=False, cancel_futures=True)


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
