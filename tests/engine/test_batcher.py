"""The owner of the device: order, turns, isolation of failures, stopping."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from f5_worker.control import JobControl
from f5_worker.engine.batcher import Batcher, Samples, Segment
from f5_worker.errors import JobCancelled, JobTimeout, OutOfMemory


def segment(seed: int, nfe: int = 4) -> Segment:
    return Segment(np.zeros(10, np.float32), (1, 2), frames=20, nfe=nfe, guidance=2.0, sway=-1.0, seed=seed)


class Device:
    """Speaks a segment as its own seed; can be held before it starts, and told to fail."""

    def __init__(self) -> None:
        self.spoken: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fail: dict[int, Exception] = {}

    def speak(self, segment: Segment, on_step: Callable[[int], None]) -> Samples:
        for step in range(segment.nfe):
            on_step(step)
            assert self.gate.wait(10)
        self.spoken.append(segment.seed)
        if segment.seed in self.fail:
            raise self.fail[segment.seed]
        return np.full(4, segment.seed, np.float32)


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def batcher(device: Device) -> Iterator[Batcher]:
    batcher = Batcher(device.speak)
    yield batcher
    device.gate.set()
    batcher.close()


def seeds(results: Iterator[object]) -> list[float]:
    return [float(item.samples[0]) for item in results]  # type: ignore[attr-defined]


def test_segments_come_back_in_order(batcher: Batcher) -> None:
    assert seeds(batcher.submit([segment(i) for i in range(5)], JobControl(60))) == [0, 1, 2, 3, 4]


def test_jobs_take_turns_so_that_a_short_one_does_not_wait_behind_a_book(batcher: Batcher, device: Device) -> None:
    device.gate.clear()
    book = batcher.submit([segment(i) for i in range(10)], JobControl(60))
    note = batcher.submit([segment(100)], JobControl(60))
    device.gate.set()
    assert seeds(note) == [100]
    assert seeds(book) == list(range(10))
    assert device.spoken.index(100) <= 1


def test_an_error_ends_its_own_job_only(batcher: Batcher, device: Device) -> None:
    device.fail[1] = OutOfMemory("full")
    failing = batcher.submit([segment(0), segment(1), segment(2)], JobControl(60))
    other = batcher.submit([segment(7), segment(8)], JobControl(60))
    with pytest.raises(OutOfMemory):
        seeds(failing)
    assert seeds(other) == [7, 8]
    assert 2 not in device.spoken
    assert seeds(batcher.submit([segment(9)], JobControl(60))) == [9]


def test_an_unforeseen_error_does_not_end_the_device_thread(batcher: Batcher, device: Device) -> None:
    device.fail[0] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        seeds(batcher.submit([segment(0)], JobControl(60)))
    assert seeds(batcher.submit([segment(1)], JobControl(60))) == [1]


def test_a_cancelled_job_stops_between_steps(batcher: Batcher, device: Device) -> None:
    steps: list[float] = []
    control = JobControl(60)

    def cancel_at_half(share: float) -> None:
        steps.append(share)
        if share >= 0.5:
            control.cancel()

    control.on_progress = cancel_at_half
    with pytest.raises(JobCancelled):
        seeds(batcher.submit([segment(0, nfe=8)], control))
    assert steps == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8]
    assert device.spoken == []


def test_a_job_past_its_time_stops(batcher: Batcher) -> None:
    with pytest.raises(JobTimeout, match="F5_JOB_TIMEOUT_S"):
        seeds(batcher.submit([segment(0)], JobControl(timeout_s=-1)))


def test_leaving_the_results_early_drops_the_rest(batcher: Batcher, device: Device) -> None:
    held = threading.Event()

    def hold_the_second(share: float) -> None:
        if share > 0.25 and not held.is_set():
            device.gate.clear()
            held.set()

    results = batcher.submit([segment(i) for i in range(3)], JobControl(60, hold_the_second))
    assert float(next(results).samples[0]) == 0
    assert held.wait(10)
    results.close()  # type: ignore[attr-defined]
    device.gate.set()
    assert seeds(batcher.submit([segment(99)], JobControl(60))) == [99]
    assert device.spoken == [0, 1, 99]


def test_progress_runs_over_the_whole_job(batcher: Batcher) -> None:
    shares: list[float] = []
    list(batcher.submit([segment(i, nfe=2) for i in range(2)], JobControl(60, shares.append)))
    assert shares == [0, 0.25, 0.5, 0.75]


def test_times_are_of_this_job(batcher: Batcher) -> None:
    first, second = batcher.submit([segment(0), segment(1)], JobControl(60))
    assert first.waited_s >= 0
    assert second.worked_s >= 0


def test_a_closed_batcher_takes_no_jobs(device: Device) -> None:
    batcher = Batcher(device.speak)
    batcher.close()
    with pytest.raises(RuntimeError):
        batcher.submit([segment(0)], JobControl(60))
