"""The engine: order of results, sharing of the device, isolation of failures, stopping."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from f5_worker.cancellation import JobControl
from f5_worker.engine import engine as engine_module
from f5_worker.engine.engine import Engine
from f5_worker.engine.scheduler import MAX_UNREAD, EngineJob, RunningSegment
from f5_worker.engine.types import Segment, WaitForSamples
from f5_worker.errors import GpuLost, JobCancelled, JobTimeout, OutOfMemory
from f5_worker.models.f5.config import make_segment


def segment(seed: int, nfe: int = 4) -> Segment:
    return make_segment(np.zeros(10, np.float32), (1, 2), 20, nfe, 2.0, -1.0, seed)


@dataclass
class State:
    segment: Segment
    step: int = 0


class FakeRunner:
    """Gives each segment's seed as its audio; can be held before a step and made to fail, and has `max_frames`."""

    whole_segments = False

    def __init__(self) -> None:
        self.replicas: list[FakeRunner] = []
        self.finished: list[int] = []
        self.forwards: list[list[tuple[int, int]]] = []  # (seed, step) of the segments in each
        self.gate = threading.Event()
        self.gate.set()
        self.fail: dict[int, Exception] = {}
        self.max_frames = 10**9
        self.held: object = None  # the results of the job that holds it: without them it would be dropped

    def begin(self, segment: Segment) -> State:
        return State(segment)

    def step(self, states: Sequence[State]) -> None:
        assert self.gate.wait(10)
        if sum(state.segment.forward_frames for state in states) > self.max_frames:
            raise OutOfMemory("full")
        for state in states:
            if state.segment.seed in self.fail:
                raise self.fail[state.segment.seed]
        self.forwards.append([(state.segment.seed, state.step) for state in states])
        for state in states:
            state.step += 1

    def finish(self, states: Sequence[State]) -> list[WaitForSamples]:
        assert all(state.step == (1 if self.whole_segments else state.segment.nfe) for state in states)
        self.finished += [state.segment.seed for state in states]
        return [partial(np.full, 4, state.segment.seed, np.float32) for state in states]


BATCH_FRAMES = 160  # four segments with guidance


@pytest.fixture
def device() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def engine(device: FakeRunner) -> Iterator[Engine]:
    engine = Engine(device, BATCH_FRAMES)
    yield engine
    device.gate.set()
    engine.close()


def seeds(results: Iterator[object]) -> list[float]:
    return [float(item.samples[0]) for item in results]  # type: ignore[attr-defined]


def test_results_come_in_order(engine: Engine) -> None:
    assert seeds(engine.submit([segment(i) for i in range(5)], JobControl(60))) == [0, 1, 2, 3, 4]


def hold(device: FakeRunner, engine: Engine) -> None:
    """Start a step that lasts until the gate opens: jobs submitted meanwhile are scheduled together."""
    device.gate.clear()
    began = threading.Event()
    device.held = engine.submit([segment(-1, nfe=1)], JobControl(60, lambda share: began.set()))
    assert began.wait(10)


def test_segments_of_all_jobs_share_a_step(engine: Engine, device: FakeRunner) -> None:
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


def test_a_short_job_joins_a_long_one_at_the_next_step(engine: Engine, device: FakeRunner) -> None:
    reached, go = threading.Event(), threading.Event()

    def wait_there(share: float) -> None:
        if device.forwards and not reached.is_set():
            reached.set()
            assert go.wait(10)

    long_job = engine.submit([segment(i) for i in range(10)], JobControl(60, wait_there))
    assert reached.wait(10)
    short_job = engine.submit([segment(100)], JobControl(60))
    go.set()
    assert seeds(short_job) == [100]
    assert seeds(long_job) == list(range(10))
    assert any((100, 0) in forward for forward in device.forwards[:3])  # one step before, one in progress
    assert all(20 * 2 * len(forward) <= BATCH_FRAMES for forward in device.forwards)


def test_results_come_in_order_though_later_segments_are_done_first(engine: Engine, device: FakeRunner) -> None:
    results = engine.submit([segment(0, nfe=9), segment(1, nfe=2)], JobControl(60))
    assert seeds(results) == [0, 1]
    assert device.finished == [1, 0]


def test_each_job_runs_on_its_own_model_and_models_step_alternately(engine: Engine, device: FakeRunner) -> None:
    other = FakeRunner()
    hold(device, engine)
    ours = engine.submit([segment(0)], JobControl(60))
    theirs = engine.submit([segment(2)], JobControl(60), runner=other)
    device.gate.set()
    assert seeds(theirs) == [2]
    assert seeds(ours) == [0]
    assert other.forwards == [[(2, step)] for step in range(4)]
    assert device.forwards[1:] == [[(0, step)] for step in range(4)]


def test_a_model_of_whole_segments_has_one_at_a_time_and_each_once(engine: Engine, device: FakeRunner) -> None:
    """Even where a batch of all of them would fit; the segment with the least work comes first."""
    hold(device, engine)
    device.whole_segments = True
    shares: list[float] = []
    jobs = [
        engine.submit([segment(0, nfe=8), segment(1, nfe=8)], JobControl(60, shares.append)),
        engine.submit([segment(2, nfe=2)], JobControl(60)),
    ]
    device.gate.set()
    assert [seeds(job) for job in jobs] == [[0, 1], [2]]
    assert device.forwards[1:] == [[(2, 0)], [(0, 0)], [(1, 0)]]
    assert set(shares) == {0.0, 0.5}


def test_other_work_may_use_the_device_between_steps(engine: Engine) -> None:
    assert engine.run(lambda: threading.current_thread().name) == "device"
    with pytest.raises(ZeroDivisionError):
        engine.run(lambda: 1 // 0)
    assert seeds(engine.submit([segment(0)], JobControl(60))) == [0]


def test_other_work_that_never_ends_lets_the_jobs_go_on(engine: Engine) -> None:
    done = threading.Event()
    n_pieces = [0, 0]

    def keep_busy(index: int) -> None:
        while not done.is_set() and n_pieces[index] < 500:
            engine.run(lambda: time.sleep(0.01))
            n_pieces[index] += 1

    threads = [threading.Thread(target=keep_busy, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    while not all(n_pieces):
        time.sleep(0.001)
    assert seeds(engine.submit([segment(0)], JobControl(60))) == [0]
    done.set()
    for thread in threads:
        thread.join()
    assert max(n_pieces) < 500


def test_a_full_device_takes_smaller_batches(engine: Engine, device: FakeRunner) -> None:
    hold(device, engine)
    jobs = [engine.submit([segment(i)], JobControl(60)) for i in range(4)]
    device.max_frames = 2 * 40
    device.gate.set()
    assert [seeds(job) for job in jobs] == [[0], [1], [2], [3]]
    assert [len(forward) for forward in device.forwards[1:]] == [2] * 8


def test_batches_grow_again_some_steps_after_out_of_memory(
    engine: Engine, device: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "STEPS_UNTIL_GROWTH", 4)
    hold(device, engine)
    device.max_frames = 40

    def lift_limit(share: float) -> None:
        if share > 0:
            device.max_frames = 10**9

    jobs = [engine.submit([segment(i, nfe=8)], JobControl(60, lift_limit)) for i in range(2)]
    device.gate.set()
    assert [seeds(job) for job in jobs] == [[0], [1]]
    # The first runs alone until two are tried again; the second is then behind by as many steps.
    assert [len(forward) for forward in device.forwards[1:]] == [1] * 5 + [2] * 4 + [1] * 3


def test_a_segment_that_does_not_fit_even_alone_fails_only_its_own_job(engine: Engine, device: FakeRunner) -> None:
    device.fail[1] = OutOfMemory("full")
    failing = engine.submit([segment(0), segment(1), segment(2)], JobControl(60))
    other = engine.submit([segment(7), segment(8)], JobControl(60))
    with pytest.raises(OutOfMemory):
        seeds(failing)
    assert seeds(other) == [7, 8]
    assert 2 not in device.finished
    assert seeds(engine.submit([segment(9)], JobControl(60))) == [9]


def test_a_single_segment_is_retried_once_after_out_of_memory(engine: Engine, device: FakeRunner) -> None:
    class Once(dict[int, Exception]):
        def __getitem__(self, seed: int) -> Exception:
            return self.pop(seed)

    device.fail = Once({0: OutOfMemory("full")})
    assert seeds(engine.submit([segment(0)], JobControl(60))) == [0]
    assert device.fail == {}


def test_a_lost_gpu_fails_all_jobs_that_are_on_it(engine: Engine, device: FakeRunner) -> None:
    hold(device, engine)
    jobs = [engine.submit([segment(i)], JobControl(60)) for i in range(2)]
    device.fail[1] = GpuLost("lost")
    device.gate.set()
    for job in jobs:
        with pytest.raises(GpuLost):
            seeds(job)


def test_an_unexpected_error_does_not_end_the_device_thread(engine: Engine, device: FakeRunner) -> None:
    device.fail[0] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        seeds(engine.submit([segment(0)], JobControl(60)))
    assert seeds(engine.submit([segment(1)], JobControl(60))) == [1]


def test_a_cancelled_job_stops_between_steps(engine: Engine, device: FakeRunner) -> None:
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
    assert device.finished == []


def test_a_job_past_its_timeout_stops(engine: Engine) -> None:
    with pytest.raises(JobTimeout, match="F5_JOB_TIMEOUT_S"):
        seeds(engine.submit([segment(0)], JobControl(timeout_s=-1)))


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_job_that_has_to_stop_does_not_wait_for_the_step_in_work(
    engine: Engine, device: FakeRunner, is_cancelled: bool
) -> None:
    hold(device, engine)
    control = JobControl(60 if is_cancelled else 0.1)
    results = engine.submit([segment(0)], control)
    cancel = threading.Timer(0.1 if is_cancelled else 20.0, control.cancel)
    cancel.start()
    with pytest.raises(JobCancelled if is_cancelled else JobTimeout):
        next(results)
    cancel.cancel()
    device.gate.set()
    assert seeds(engine.submit([segment(1)], JobControl(60))) == [1]
    assert 0 not in device.finished


def test_a_job_that_has_to_stop_begins_no_further_segment(engine: Engine, device: FakeRunner) -> None:
    control, begun = JobControl(60), list[int]()
    begin = device.begin

    def begin_and_cancel(item: Segment) -> Any:
        begun.append(item.seed)
        control.cancel()
        return begin(item)

    device.begin = begin_and_cancel  # type: ignore[method-assign]
    with pytest.raises(JobCancelled):
        seeds(engine.submit([segment(number) for number in range(4)], control))
    assert begun == [0]


def test_closing_the_results_early_drops_the_rest(engine: Engine, device: FakeRunner) -> None:
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
    assert device.finished == [0, 1, 2, 3, 99]


def test_a_stream_that_is_not_read_holds_up_no_other_job(engine: Engine, device: FakeRunner) -> None:
    stream = engine.submit([segment(i) for i in range(40)], JobControl(60), early=True)
    assert float(next(stream).samples[0]) == 0
    assert seeds(engine.submit([segment(99)], JobControl(60))) == [99]
    deadline = time.monotonic() + 10
    while len(device.finished) < 1 + MAX_UNREAD + 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert seeds(engine.submit([segment(98)], JobControl(60))) == [98]  # the device thread still takes jobs
    assert sum(seed < 40 for seed in device.finished) == 1 + MAX_UNREAD
    assert seeds(stream) == list(range(1, 40))


def test_a_stream_that_is_left_unread_is_dropped(engine: Engine) -> None:
    stream = engine.submit([segment(i) for i in range(40)], JobControl(60), early=True)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert seeds(engine.submit([segment(99)], JobControl(60))) == [99]
    assert engine._scheduler.jobs == []


def test_progress_covers_the_whole_job(engine: Engine) -> None:
    shares: list[float] = []
    list(engine.submit([segment(i, nfe=2) for i in range(2)], JobControl(60, shares.append)))
    assert shares == [0, 0.5]  # both in one batch


def test_a_job_without_segments_ends_at_once(engine: Engine) -> None:
    assert seeds(engine.submit([], JobControl(60))) == []


def test_device_time_is_shared_among_jobs_by_their_frames(engine: Engine, device: FakeRunner) -> None:
    hold(device, engine)
    small = engine.submit([segment(0, nfe=1)], JobControl(60))
    large = engine.submit([dataclasses.replace(segment(1, nfe=1), frames=60)], JobControl(60))
    device.gate.set()
    (one,), (_,) = small, large
    assert device.forwards[1] == [(0, 0), (1, 0)]
    assert one.waited_s > 0
    assert one.worked_s > 0
    items = [
        RunningSegment(EngineJob([], JobControl(60), device, False), 0, one, 0.0) for one in (segment(0), segment(1))
    ]
    items[1].segment = dataclasses.replace(items[1].segment, forward_frames=120)
    engine_module._share_time(items, 4.0)
    assert [item.worked_s for item in items] == [1.0, 3.0]


def test_closing_fails_the_jobs_that_are_not_done(engine: Engine, device: FakeRunner) -> None:
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


def test_a_closed_engine_takes_no_jobs(device: FakeRunner) -> None:
    engine = Engine(device, BATCH_FRAMES)
    engine.close()
    with pytest.raises(RuntimeError):
        engine.submit([segment(0)], JobControl(60))
    with pytest.raises(RuntimeError):
        engine.run(lambda: None)
