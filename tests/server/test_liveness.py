"""The sign of life that the image's HEALTHCHECK reads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from f5_worker.engine.engine import Engine
from f5_worker.server import liveness
from tests.engine.test_engine import BATCH_FRAMES, FakeRunner, hold


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def device() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def engine(device: FakeRunner) -> Iterator[Engine]:
    engine = Engine(device, BATCH_FRAMES)
    yield engine
    device.gate.set()
    engine.close()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def age(seconds: float) -> None:
    then = time.time() - seconds
    os.utime(liveness.path(), (then, then))


def is_fresh() -> bool:
    return liveness.problem() is None


def test_a_worker_is_unhealthy_until_it_is_ready(engine: Engine) -> None:
    assert liveness.problem() == "the worker is not ready"
    liveness.start([engine])
    wait_until(is_fresh)


def test_a_container_that_starts_again_is_unhealthy_until_it_is_ready_again() -> None:
    liveness.path().touch()
    liveness.forget()
    assert liveness.problem() == "the worker is not ready"
    liveness.forget()


def test_a_device_that_hangs_is_told_and_one_that_goes_on_is_forgiven(engine: Engine, device: FakeRunner) -> None:
    hold(device, engine)
    liveness.path().touch()
    age(liveness.STALE_S + 5)
    liveness.start([engine], every_s=0.01)
    time.sleep(0.05)
    told = re.fullmatch(r"the device has not answered for (\d+) s", liveness.problem() or "")
    assert told
    assert int(told[1]) >= liveness.STALE_S + 5
    device.gate.set()
    wait_until(is_fresh)


def test_each_of_several_devices_has_to_answer(engine: Engine) -> None:
    hanging = FakeRunner()
    other = Engine(hanging, BATCH_FRAMES)
    hold(hanging, other)
    liveness.start([engine, other], every_s=0.01)
    wait_until(is_fresh)
    age(liveness.STALE_S + 5)
    time.sleep(0.05)
    assert not is_fresh()
    hanging.gate.set()
    wait_until(is_fresh)
    other.close()


def test_it_ends_with_the_engine(engine: Engine) -> None:
    thread = liveness.start([engine], every_s=0.01)
    engine.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_disk_that_takes_no_file_does_not_end_the_worker(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    liveness.path().mkdir()
    (tmp_path / "file").touch()
    os.rmdir(liveness.path())
    liveness.path().symlink_to(tmp_path / "file" / "below")
    liveness.start([engine]).join(10)
    assert "health cannot be told: Not a directory" in caplog.text
    assert engine.run(lambda: 1) == 1
