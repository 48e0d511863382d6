"""The owner of the device: order, turns, isolation of failures, stopping."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.engine import engine as engine_module
from f5_worker.engine.engine import Engine
from f5_worker.engine.scheduler import EngineJob, RunningSegment
from f5_worker.engine.types import Segment
from f5_worker.errors import GpuLost, JobCancelled, JobTimeout, OutOfMemory
from f5_worker.models.f5.config import make_segment


def segment(seed: int, nfe: int = 4) -> Segment:
    return make_segment(np.zeros(10, np.float32), (1, 2), 20, nfe, 2.0, -1.0, seed)


@dataclass
class State:
    segment: Segment
    step: int = 0


class Device:
    """Speaks a segment as its own seed; can be held before a step, told to fail, and has room for `room` frames."""

    def __init__(self) -> None:
        self.spoken: list[int] = []
        self.forwards: list[list[tuple[int, int]]] = []  # (seed, step) of what went through each
        self.gate = threading.Event()
        self.gate.set()
        self.fail: dict[int, Exception] = {}
        self.room = 10**9

    def begin(self, segment: Segment) -> State:
        return State(segment)

    def step(self, states: Sequence[State]) -> None:
        assert self.gate.wait(10)
        if sum(state.segment.forward_frames for state in states) > self.room:
            raise OutOfMemory("full")
        for state in states:
            if state.segment.seed in self.fail:
                raise self.fail[state.segment.seed]
        self.forwards.append([(state.segment.seed, state.step) for state in states])
        for state in states:
            state.step += 1

    def finish(self, states: Sequence[State]) -> list[Samples]:
        assert all(state.step == state.segment.nfe for state in states)
        self.spoken += [state.segment.seed for state in states]
        return [np.full(4, state.segment.seed, np.float32) for state in states]


BATCH_FRAMES = 160  # four segments with guidance


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def engine(device: Device) -> Iterator[Engine]:
    engine = Engine(device, BATCH_FRAMES)
    yield engine
    device.gate.set()
    engine.close()


def seeds(results: Iterator[object]) -> list[float]:
    return [float(item.samples[0]) for item in results]  # type: ignore[attr-defined]


def test_segments_come_back_in_order(engine: Engine) -> None:
    assert seeds(engine.submit([segment(i) for i in range(5)], JobControl(60))) == [0, 1, 2, 3, 4]


def hold(device: Device, engine: Engine) -> None:
    """Put a step in work that lasts until the gate is opened: what is submitted meanwhile comes together."""
    device.gate.clear()
    began = threading.Event()
    engine.submit([segment(-1, nfe=1)], JobControl(60, lambda share: began.set()))
    assert began.wait(10)


def test_segments_of_all_jobs_share_a_step(engine: Engine, device: Device) -> None:
    hold(device, engine)
    jobs = [engine.submit([segment(i, nfe=2 + i)], JobControl(60)) for i in range(3)]
    device.gate.set()
    assert [seeds(job) for job in jobs] == [[0], [1], [2]]
    assert device.forwards[1:] == [
        [(0, 0), (1, 0), (2, 0)],
        [(0, 1), (1, 1), (2, 1)],
        [(1, 2), (2, 2)],
        [(2, 3)],
    ]


def test_a_short_job_joins_a_book_at_the_next_step(engine: Engine, device: Device) -> None:
    reached, go = threading.Event(), threading.Event()

    def wait_there(share: float) -> None:
        if device.forwards and not reached.is_set():
            reached.set()
            assert go.wait(10)

    book = engine.submit([segment(i) for i in range(10)], JobControl(60, wait_there))
    assert reached.wait(10)
    note = engine.submit([segment(100)], JobControl(60))
    go.set()
    assert seeds(note) == [100]
    assert seeds(book) == list(range(10))
    assert any((100, 0) in forward for forward in device.forwards[:3])  # one step before, one in work
    assert all(20 * 2 * len(forward) <= BATCH_FRAMES for forward in device.forwards)


def test_results_come_in_order_though_later_segments_are_done_first(engine: Engine, device: Device) -> None:
    results = engine.submit([segment(0, nfe=9), segment(1, nfe=2)], JobControl(60))
    assert seeds(results) == [0, 1]
    assert device.spoken == [1, 0]


def test_each_job_is_spoken_by_its_own_model_and_models_take_a_step_each(engine: Engine, device: Device) -> None:
    other = Device()
    hold(device, engine)
    ours = engine.submit([segment(0)], JobControl(60))
    theirs = engine.submit([segment(2)], JobControl(60), runner=other)
    device.gate.set()
    assert seeds(theirs) == [2]
    assert seeds(ours) == [0]
    assert other.forwards == [[(2, step)] for step in range(4)]
    assert device.forwards[1:] == [[(0, step)] for step in range(4)]


def test_something_else_may_use_the_device_between_steps(engine: Engine) -> None:
    assert engine.run(lambda: threading.current_thread().name) == "device"
    with pytest.raises(ZeroDivisionError):
        engine.run(lambda: 1 // 0)
    assert seeds(engine.submit([segment(0)], JobControl(60))) == [0]


def test_a_full_device_takes_fewer_at_a_time(engine: Engine, device: Device) -> None:
    hold(device, engine)
    jobs = [engine.submit([segment(i)], JobControl(60)) for i in range(4)]
    device.room = 2 * 40
    device.gate.set()
    assert [seeds(job) for job in jobs] == [[0], [1], [2], [3]]
    assert [len(forward) for forward in device.forwards[1:]] == [2] * 8


def test_after_a_while_a_device_that_was_full_is_given_more_again(
    engine: Engine, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "STEPS_UNTIL_GROWTH", 4)
    hold(device, engine)
    device.room = 40

    def room_again(share: float) -> None:
        if share > 0:
            device.room = 10**9

    jobs = [engine.submit([segment(i, nfe=8)], JobControl(60, room_again)) for i in range(2)]
    device.gate.set()
    assert [seeds(job) for job in jobs] == [[0], [1]]
    # The first goes on alone until two are tried again; the second is then behind by as much.
    assert [len(forward) for forward in device.forwards[1:]] == [1] * 5 + [2] * 4 + [1] * 3


def test_a_segment_that_does_not_fit_even_alone_ends_its_own_job_only(engine: Engine, device: Device) -> None:
    device.fail[1] = OutOfMemory("full")
    failing = engine.submit([segment(0), segment(1), segment(2)], JobControl(60))
    other = engine.submit([segment(7), segment(8)], JobControl(60))
    with pytest.raises(OutOfMemory):
        seeds(failing)
    assert seeds(other) == [7, 8]
    assert 2 not in device.spoken
    assert seeds(engine.submit([segment(9)], JobControl(60))) == [9]


def test_a_device_that_is_full_for_a_moment_is_tried_once_more(engine: Engine, device: Device) -> None:
    class Once(dict[int, Exception]):
        def __getitem__(self, seed: int) -> Exception:
            return self.pop(seed)

    device.fail = Once({0: OutOfMemory("full")})
    assert seeds(engine.submit([segment(0)], JobControl(60))) == [0]
    assert device.fail == {}


def test_a_lost_gpu_ends_all_jobs_that_are_on_it(engine: Engine, device: Device) -> None:
    hold(device, engine)
    jobs = [engine.submit([segment(i)], JobControl(60)) for i in range(2)]
    device.fail[1] = GpuLost("gone")
    device.gate.set()
    for job in jobs:
        with pytest.raises(GpuLost):
            seeds(job)


def test_an_unforeseen_error_does_not_end_the_device_thread(engine: Engine, device: Device) -> None:
    device.fail[0] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        seeds(engine.submit([segment(0)], JobControl(60)))
    assert seeds(engine.submit([segment(1)], JobControl(60))) == [1]


def test_a_cancelled_job_stops_between_steps(engine: Engine, device: Device) -> None:
    steps: list[float] = []
    control = JobControl(60)

    def cancel_at_half(share: float) -> None:
        steps.append(share)
        if share >= 0.5:
            control.cancel()

    control.on_progress = cancel_at_half
    with pytest.raises(JobCancelled):
        seeds(engine.submit([segment(0, nfe=8)], control))
    assert steps == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8]
    assert device.spoken == []


def test_a_job_past_its_time_stops(engine: Engine) -> None:
    with pytest.raises(JobTimeout, match="F5_JOB_TIMEOUT_S"):
        seeds(engine.submit([segment(0)], JobControl(timeout_s=-1)))


def test_leaving_the_results_early_drops_the_rest(engine: Engine, device: Device) -> None:
    held = threading.Event()

    def hold_the_others(share: float) -> None:
        if share >= 0.5 and not held.is_set():
            device.gate.clear()
            held.set()

    results = engine.submit([segment(i) for i in range(8)], JobControl(60, hold_the_others))
    assert float(next(results).samples[0]) == 0
    assert held.wait(10)
    results.close()  # type: ignore[attr-defined]
    device.gate.set()
    assert seeds(engine.submit([segment(99)], JobControl(60))) == [99]
    assert device.spoken == [0, 1, 2, 3, 99]


def test_progress_runs_over_the_whole_job(engine: Engine) -> None:
    shares: list[float] = []
    list(engine.submit([segment(i, nfe=2) for i in range(2)], JobControl(60, shares.append)))
    assert shares == [0, 0.5]  # both side by side


def test_no_segments_are_no_work(engine: Engine) -> None:
    assert seeds(engine.submit([], JobControl(60))) == []


def test_the_device_is_booked_to_the_jobs_by_their_frames(engine: Engine, device: Device) -> None:
    hold(device, engine)
    small = engine.submit([segment(0, nfe=1)], JobControl(60))
    large = engine.submit([dataclasses.replace(segment(1, nfe=1), frames=60)], JobControl(60))
    device.gate.set()
    (one,), (_,) = small, large
    assert device.forwards[1] == [(0, 0), (1, 0)]
    assert one.waited_s > 0
    assert one.worked_s > 0
    items = [
        RunningSegment(EngineJob([], JobControl(60), device, False), 0, piece, 0.0)
        for piece in (segment(0), segment(1))
    ]
    items[1].segment = dataclasses.replace(items[1].segment, forward_frames=120)
    engine_module._share_time(items, 4.0)
    assert [item.worked_s for item in items] == [1.0, 3.0]


def test_closing_tells_the_jobs_that_are_not_done(engine: Engine, device: Device) -> None:
    hold(device, engine)
    waiting = engine.submit([segment(1)], JobControl(60))
    closing = threading.Thread(target=engine.close)
    closing.start()
    while not engine._closed:
        closing.join(0.001)
    device.gate.set()
    closing.join(10)
    with pytest.raises(JobCancelled, match="the worker stops"):
        seeds(waiting)


def test_a_closed_batcher_takes_no_jobs(device: Device) -> None:
    engine = Engine(device, BATCH_FRAMES)
    engine.close()
    with pytest.raises(RuntimeError):
        engine.submit([segment(0)], JobControl(60))
    with pytest.raises(RuntimeError):
        engine.run(lambda: None)
