"""Work side by side: each piece has its own end, and all of them that of the job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from f5_worker import cancellation
from f5_worker.api import together as module
from f5_worker.api.together import run_together
from f5_worker.cancellation import JobControl
from f5_worker.errors import InternalError, InvalidInput, JobCancelled, WorkerError

T = TypeVar("T")
LONG_S = 30.0


def together(
    works: list[Callable[[JobControl], T]], control: JobControl | None = None, at_once: int = 32
) -> Iterator[tuple[int, T | WorkerError]]:
    def told(error: Exception) -> WorkerError:
        return error if isinstance(error, WorkerError) else InternalError("not foreseen")

    return run_together(works, control or JobControl(LONG_S), told, at_once=at_once)


def wait_for_stop(control: JobControl) -> None:
    while True:
        cancellation.check()  # of the current job: the part
        time.sleep(0.005)


def test_each_has_its_own_result_or_error() -> None:
    def work(index: int) -> Callable[[JobControl], int]:
        def run(control: JobControl) -> int:
            if index == 1:
                raise InvalidInput("wrong")
            if index == 2:
                raise ZeroDivisionError
            return index * 10

        return run

    ended = dict(together([work(index) for index in range(5)]))
    assert (ended[0], ended[3], ended[4]) == (0, 30, 40)
    assert isinstance(ended[1], InvalidInput)
    assert isinstance(ended[2], InternalError)


def test_they_begin_in_order_and_so_many_run_at_once() -> None:
    begun: list[int] = []
    running, most = 0, 0
    lock = threading.Lock()

    def work(index: int) -> Callable[[JobControl], None]:
        def run(control: JobControl) -> None:
            nonlocal running, most
            with lock:
                begun.append(index)
                running += 1
                most = max(most, running)
            time.sleep(0.002)
            with lock:
                running -= 1

        return run

    assert len(list(together([work(index) for index in range(20)], at_once=3))) == 20
    assert most <= 3
    assert all(index <= place + 2 for place, index in enumerate(begun)), "two more may be begun and not have said so"
    begun.clear()
    list(together([work(index) for index in range(9)], at_once=1))
    assert begun == list(range(9))


class Work:
    """Pieces of work of one job, in a thread: each runs until it is let go."""

    def __init__(self, n: int, at_once: int = 32, control: JobControl | None = None) -> None:
        self.running, self._lock, self._go = 0, threading.Lock(), threading.Semaphore(0)
        works = [self._run] * n
        self._thread = threading.Thread(target=lambda: list(together(works, control, at_once)))
        self._thread.start()

    def _run(self, control: JobControl) -> None:
        with self._lock:
            self.running += 1
        cancellation.acquire(self._go)
        with self._lock:
            self.running -= 1

    def end(self, n: int) -> None:
        self._go.release(n)

    def join(self) -> None:
        self._go.release(1_000)
        self._thread.join(LONG_S)
        assert not self._thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_threads", module._Threads(4))


def test_jobs_share_the_threads(four_threads: None) -> None:
    first = Work(100)
    until(lambda: first.running == 4)
    second = Work(100)
    until(lambda: second.running == 1)  # at once, though there are four
    for running in ((3, 1), (2, 2)):
        first.end(1)
        until(lambda running=running: (first.running, second.running) == running)  # type: ignore[misc]
    first.end(1)
    second.end(1)
    until(lambda: (first.running, second.running) == (2, 2))
    third = Work(3, at_once=1)  # wants no more than that
    until(lambda: third.running == 1)
    first.join()
    until(lambda: second.running == 3)  # without an end of its own
    third.join()
    until(lambda: second.running == 4)
    second.join()


def test_many_jobs_have_a_thread_each(four_threads: None) -> None:
    jobs = [Work(20) for _ in range(12)]
    until(lambda: all(job.running for job in jobs))
    for _ in range(5):
        for job in jobs:
            job.end(1)
        until(lambda: all(job.running for job in jobs))
        assert sum(job.running for job in jobs) <= 4 + len(jobs)
    for job in jobs:
        job.join()


def test_work_that_was_left_behind_keeps_no_thread(four_threads: None) -> None:
    free = threading.Event()
    stuck = [lambda part: free.wait(LONG_S)] * 4
    assert len(dict(together(stuck, JobControl(0.5)))) == 4
    other = Work(4)
    until(lambda: other.running == 4)
    free.set()
    other.join()


def test_those_that_are_done_are_kept_when_the_time_is_over() -> None:
    control = JobControl(1.0)
    works: list[Callable[[JobControl], object]] = [lambda part: "done", wait_for_stop, lambda part: "done, too"]
    ended = dict(together(works, control, at_once=2))
    assert control.left_s() > 0  # to send them
    assert (ended[0], ended[2]) == ("done", "done, too")
    assert isinstance(ended[1], WorkerError)
    assert str(ended[1]).startswith("JOB_TIMEOUT: the job was stopped after 1 s of work")


def test_one_that_comes_to_no_check_keeps_none_waiting() -> None:
    control, free = JobControl(1.0), threading.Event()
    works: list[Callable[[JobControl], object]] = [lambda part: "done", lambda part: free.wait(LONG_S)]
    ended = dict(together(works, control))
    assert control.left_s() > 0
    assert ended[0] == "done"
    assert str(ended[1]).startswith("JOB_TIMEOUT: ")
    free.set()


def test_a_cancelled_job_stops_them_at_once() -> None:
    control, stopped = JobControl(LONG_S), threading.Event()

    def work(part: JobControl) -> None:
        try:
            wait_for_stop(part)
        finally:
            stopped.set()

    threading.Timer(0.05, control.cancel).start()
    with pytest.raises(JobCancelled):
        list(together([work, work], control))
    assert stopped.wait(LONG_S)


def test_closing_stops_the_rest() -> None:
    stopped, never = threading.Event(), []

    def work(part: JobControl) -> None:
        try:
            wait_for_stop(part)
        finally:
            stopped.set()

    works = [lambda part: None, work, lambda part: never.append(part)]
    ended = together(works, at_once=2)
    assert next(ended)[0] == 0
    ended.close()  # type: ignore[attr-defined]
    assert stopped.wait(LONG_S)


def test_progress_is_the_mean() -> None:
    shares: list[float] = []

    def half(control: JobControl) -> None:
        control.on_progress(0.5)
        control.on_progress(0.25)  # more work was found
        control.on_progress(0.5)

    list(together([half, half], JobControl(LONG_S, shares.append), at_once=1))
    assert shares[:3] == [0.25, 0.125, 0.25]
    assert shares[-1] == 1.0
    assert len(shares) == 8
