"""A job's time and its cancellation reach whatever its thread waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from f5_worker import cancellation
from f5_worker.cancellation import JobControl, PartControl
from f5_worker.errors import JobCancelled, JobTimeout

SOON_S = 0.05
LONG_S = 30.0  # longer than a test may take


def wait_for(event: threading.Event) -> None:
    assert event.wait(LONG_S)


WAITS: dict[str, Callable[[threading.Event], object]] = {
    "a call that cannot be interrupted": lambda free: cancellation.run_detached(lambda: free.wait(LONG_S)),
    "a lock": lambda free: cancellation.acquire(threading.Semaphore(0), LONG_S),
}


@pytest.fixture
def free() -> Iterator[threading.Event]:
    """Lets go what a test leaves waiting."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_a_wait_ends_with_the_jobs_time(wait: Callable[[threading.Event], object], free: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(JobTimeout, match=r"stopped after 0\.05 s of work \(F5_JOB_TIMEOUT_S\);"):
        JobControl(SOON_S).run(lambda: wait(free))
    assert time.monotonic() - began < LONG_S / 2


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_a_wait_ends_when_the_job_is_cancelled(
    wait: Callable[[threading.Event], object], free: threading.Event
) -> None:
    control = JobControl(2 * LONG_S)
    timer = threading.Timer(SOON_S, control.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(JobCancelled):
        control.run(lambda: wait(free))
    assert time.monotonic() - began < LONG_S / 2
    timer.join()


@pytest.mark.parametrize("wait", [lambda: cancellation.run_detached(lambda: wait_for(threading.Event()), SOON_S)])
def test_a_limit_of_its_own_is_another_error(wait: Callable[[], object]) -> None:
    with pytest.raises(TimeoutError):
        JobControl(LONG_S).run(wait)


def test_a_result_and_an_error_come_back_from_a_detached_call() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    assert cancellation.run_detached(lambda: 3) == 3
    with pytest.raises(TimeoutError, match="its own"):
        cancellation.run_detached(fail)


def test_a_call_that_was_left_behind_sees_that_its_job_has_stopped() -> None:
    stopped = threading.Event()

    def work() -> None:
        try:
            while True:
                cancellation.check()
                time.sleep(0.01)
        except JobTimeout:
            stopped.set()
            raise

    with pytest.raises(JobTimeout):
        JobControl(SOON_S).run(lambda: cancellation.run_detached(work))
    wait_for(stopped)


def test_calls_left_behind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "_places", threading.BoundedSemaphore(1))
    released = threading.Event()
    with pytest.raises(JobTimeout):
        JobControl(SOON_S).run(lambda: cancellation.run_detached(released.wait))
    with pytest.raises(TimeoutError):
        cancellation.run_detached(lambda: 1, SOON_S)
    released.set()
    assert cancellation.run_detached(lambda: 1, LONG_S) == 1


@pytest.mark.parametrize("limit_s", [SOON_S, LONG_S])
def test_what_is_to_be_aborted_is_aborted_once_its_time_or_the_jobs_is_over(limit_s: float) -> None:
    aborted = threading.Event()

    def work() -> None:
        with cancellation.abort_after(limit_s, aborted.set):
            wait_for(aborted)

    JobControl(SOON_S if limit_s == LONG_S else LONG_S).run(work)


def test_cancelling_aborts_what_waits_then_and_later_but_not_what_has_ended() -> None:
    control, calls = JobControl(LONG_S), list[str]()
    with control.aborting(lambda: calls.append("ended")):
        pass
    with control.aborting(lambda: calls.append("waits")):
        control.cancel()
    with control.aborting(lambda: calls.append("late")):
        pass
    assert calls == ["waits", "late"]


def test_waiting_for_a_turn_does_not_count_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    control = JobControl(5.0)
    now = 140.0
    control.start()
    control.enter("speaking")
    now = 144.9
    control.check()
    now = 145.0
    with pytest.raises(JobTimeout) as caught:
        control.check()
    assert caught.value.message == (
        "the job was stopped after 5 s of work (F5_JOB_TIMEOUT_S) while speaking, after waiting 40 s, which does not "
        "count; send a shorter text or a lower quality, or ask the operator for more time"
    )


def test_outside_of_a_job_nothing_is_stopped() -> None:
    cancellation.check()
    assert cancellation.left_s(7.0) == 7.0
    with pytest.raises(JobTimeout):
        JobControl(-1).run(cancellation.check)
    cancellation.check()


def test_time_that_is_paused_does_not_count_but_a_cancellation_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    control = JobControl(5.0)
    now = 101.0
    with control.paused():
        now = 140.0
        control.check()
    assert control.left_s() == pytest.approx(4.0)
    with control.paused():
        control.cancel()
        with pytest.raises(JobCancelled):
            control.check()


def test_a_part_stops_with_its_job_and_alone() -> None:
    job, aborted = JobControl(LONG_S), threading.Event()
    part, other = PartControl(job), PartControl(job)
    part.cancel()
    other.check()
    job.check()
    with pytest.raises(JobCancelled):
        part.check()
    with other.aborting(aborted.set):
        job.cancel()
        assert aborted.is_set()
    for control in (other, job):
        with pytest.raises(JobCancelled):
            control.check()


def test_a_parts_time_is_over_before_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    job = JobControl(30.0)
    part = PartControl(job, reserve_s=20.0)
    with job.paused():  # nothing of it is read
        now = 115.0
        part.check()
    now = 124.0
    part.check()
    now = 126.0
    with pytest.raises(JobTimeout, match=r"stopped after 30 s of work"):
        part.check()
    job.check()
