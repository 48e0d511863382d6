"""The measured speed of the device: over a while, of each model, and never a guess."""

from __future__ import annotations

import gc

import pytest

from f5_worker.cancellation import JobControl
from f5_worker.engine.scheduler import SMALL_FORWARD_FRAMES
from f5_worker.engine.speed import WINDOW_S, DeviceSpeed
from f5_worker.synthesis.context import Worker
from tests.conftest import ToneDevice
from tests.engine.test_engine import segment


def test_nothing_is_known_before_a_while_of_work(device: ToneDevice) -> None:
    speed = DeviceSpeed()
    assert speed.seconds_for(device, 1_000) is None
    speed.add(device, 10_000, WINDOW_S / 2)
    assert speed.seconds_for(device, 1_000) is None


def test_it_is_the_highest_of_the_model(device: ToneDevice) -> None:
    speed, other = DeviceSpeed(), ToneDevice()
    for work in (100.0, 500.0, 200.0):
        speed.add(device, work * WINDOW_S, WINDOW_S)
    assert speed.seconds_for(device, 1_000) == pytest.approx(2.0)
    assert speed.seconds_for(other, 1_000) is None
    speed.add(other, 50.0 * WINDOW_S, WINDOW_S)
    assert speed.seconds_for(other, 1_000) == pytest.approx(20.0)
    assert speed.seconds_for(device, 1_000) == pytest.approx(2.0)


def test_a_model_that_was_unloaded_is_forgotten() -> None:
    speed = DeviceSpeed()
    device = ToneDevice()
    speed.add(device, 1.0, WINDOW_S)
    assert len(speed._models) == 1
    del device
    gc.collect()
    assert len(speed._models) == 0


def test_steps_are_the_work_and_all_that_is_done_for_them_the_time(worker: Worker, device: ToneDevice) -> None:
    list(worker.engine.engines[0].submit([segment(1, nfe=6)], JobControl(60)))
    worker.engine.engines[0].run(lambda: None)  # the device's thread is past it
    measured = worker.engine.engines[0].speed._models[device]
    assert measured.work == 6 * SMALL_FORWARD_FRAMES
    assert measured.seconds > 0
