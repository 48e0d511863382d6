"""Several devices as one: who gets what, the order of results, isolation of failures."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from f5_worker.cancellation import JobControl
from f5_worker.engine.engine import Engine
from f5_worker.engine.group import EngineGroup
from f5_worker.engine.speed import WINDOW_S
from f5_worker.engine.types import Segment
from f5_worker.errors import GpuLost
from tests.engine.test_engine import BATCH_FRAMES, FakeRunner, seeds, segment

N_DEVICES = 2


@pytest.fixture
def devices() -> list[FakeRunner]:
    """The same model on each device."""
    first, *others = devices = [FakeRunner() for _ in range(N_DEVICES)]
    first.replicas = others
    return devices


@pytest.fixture
def group(devices: list[FakeRunner]) -> Iterator[EngineGroup]:
    group = EngineGroup([Engine(device, BATCH_FRAMES) for device in devices])
    yield group
    for device in devices:
        device.gate.set()
    group.close()


def longer(seed: int, factor: int) -> Segment:
    one = segment(seed)
    return dataclasses.replace(one, frames=factor * one.frames, forward_frames=factor * one.forward_frames)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_jobs_are_shared_out_by_their_frames(group: EngineGroup, devices: list[FakeRunner]) -> None:
    for device in devices:
        device.gate.clear()
    sizes = (3, 1, 1, 1, 2)
    jobs = [group.submit([longer(i, size)], JobControl(60), runner=devices[0]) for i, size in enumerate(sizes)]
    for device in devices:
        device.gate.set()
    assert [seeds(job) for job in jobs] == [[i] for i in range(len(sizes))]
    assert [sorted(device.finished) for device in devices] == [[0, 4], [1, 2, 3]]


def test_a_long_job_does_not_hold_up_a_short_one(group: EngineGroup, devices: list[FakeRunner]) -> None:
    devices[0].gate.clear()
    long_job = group.submit([segment(0, nfe=100)], JobControl(60), runner=devices[0])
    assert seeds(group.submit([segment(1)], JobControl(60), runner=devices[0])) == [1]
    assert seeds(group.submit([segment(2)], JobControl(60), runner=devices[0])) == [2]
    assert devices[1].finished == [1, 2]
    devices[0].gate.set()
    assert seeds(long_job) == [0]


@pytest.mark.parametrize("early", [False, True])
def test_the_segments_of_a_job_are_shared_out_and_come_in_order(
    early: bool, group: EngineGroup, devices: list[FakeRunner]
) -> None:
    devices[0].gate.clear()
    results = group.submit([segment(i) for i in range(40)], JobControl(60), runner=devices[0], early=early)
    wait_until(lambda: 1 in devices[1].finished)
    devices[0].gate.set()
    assert seeds(results) == list(range(40))
    assert [sorted(device.finished) for device in devices] == [list(range(0, 40, 2)), list(range(1, 40, 2))]


def test_what_is_done_counts_no_more(group: EngineGroup, devices: list[FakeRunner]) -> None:
    assert seeds(group.submit([longer(0, 9)], JobControl(60), runner=devices[0])) == [0]
    wait_until(lambda: not group.engines[0].work_left)
    assert seeds(group.submit([segment(1)], JobControl(60), runner=devices[0])) == [1]
    assert devices[0].finished == [0, 1]


def test_steps_that_are_done_count_no_more(group: EngineGroup, devices: list[FakeRunner]) -> None:
    reached = threading.Event()

    def stop_at_half(share: float) -> None:
        if share >= 0.5 and not reached.is_set():
            devices[0].gate.clear()
            reached.set()

    long_job = group.submit([segment(0, nfe=16)], JobControl(60, stop_at_half), runner=devices[0])
    assert reached.wait(10)
    assert group.engines[0].work_left == segment(0).forward_frames * 8
    devices[0].gate.set()
    assert seeds(long_job) == [0]


def test_a_model_without_replicas_stays_on_the_first_device(group: EngineGroup, devices: list[FakeRunner]) -> None:
    alone = FakeRunner()
    assert seeds(group.submit([segment(i) for i in range(4)], JobControl(60), runner=alone)) == [0, 1, 2, 3]
    assert sorted(alone.finished) == [0, 1, 2, 3]
    assert devices[1].forwards == []


@pytest.mark.parametrize(("share", "expected"), [((0.0, 1.0), 3 / 16), ((0.5, 1.0), 19 / 32), ((1.0, 1.0), None)])
def test_progress_is_that_of_the_whole_job(
    share: tuple[float, float], expected: float | None, group: EngineGroup, devices: list[FakeRunner]
) -> None:
    """The second device has a quarter of the work, and tells of 3 of its 4 steps before the first begins."""
    shares: list[float] = []
    control = JobControl(60, shares.append)
    devices[0].gate.clear()
    results = group.submit([longer(0, 3), longer(1, 1)], control, runner=devices[0], share=share)
    wait_until(lambda: devices[1].finished == [1])
    devices[0].gate.set()
    assert seeds(results) == [0, 1]
    assert shares == sorted(shares)
    assert (expected is None) == (shares == [])
    assert expected is None or expected in shares


def test_a_lost_device_fails_what_is_on_it_and_drops_the_rest_of_that_job(
    group: EngineGroup, devices: list[FakeRunner]
) -> None:
    devices[0].gate.clear()
    devices[1].gate.clear()
    other = group.submit([longer(7, 3)], JobControl(60), runner=devices[0])
    failing = group.submit([segment(i) for i in range(8)], JobControl(60), runner=devices[0])
    devices[1].fail[1] = GpuLost("lost")
    for device in devices:
        device.gate.set()
    with pytest.raises(GpuLost):
        seeds(failing)
    assert seeds(other) == [7]
    wait_until(lambda: not any(engine.work_left for engine in group.engines))


def test_closing_the_results_drops_the_job_on_all_devices(group: EngineGroup, devices: list[FakeRunner]) -> None:
    for device in devices:
        device.gate.clear()
    group.submit([segment(i) for i in range(8)], JobControl(60), runner=devices[0]).close()
    for device in devices:
        device.gate.set()
    wait_until(lambda: not any(engine._scheduler.jobs for engine in group.engines))
    assert [len(device.finished) for device in devices] == [0, 0]


def test_an_empty_job_ends_at_once(group: EngineGroup, devices: list[FakeRunner]) -> None:
    assert seeds(group.submit([], JobControl(60), runner=devices[0])) == []


def test_several_devices_need_a_part_of_the_time(group: EngineGroup, devices: list[FakeRunner]) -> None:
    assert group.seconds_for(devices[0], 1_000) is None
    group.engines[1].speed.add(devices[1], 50 * WINDOW_S, WINDOW_S)
    assert group.seconds_for(devices[0], 1_000) == pytest.approx(10.0)
    group.engines[0].speed.add(devices[0], 100 * WINDOW_S, WINDOW_S)
    assert group.seconds_for(devices[0], 1_000) == pytest.approx(5.0)
