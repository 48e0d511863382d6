"""Beside `import torch` the contexts are opened and the weights read; what fails there is left to torch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from f5_worker.models import ahead
from f5_worker.models.cuda.driver import Driver
from f5_worker.settings import Settings
from tests.models.cuda.fake_driver import FakeDriver, compile_driver


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for number, name in enumerate(ahead.FILES):
        (tmp_path / name).write_bytes(bytes([number]) * 1000)
    return tmp_path


def begin(model: Path, open_driver: Callable[[], Driver], device: str = "cuda") -> list[bytes | None]:
    """Begin, and return the content of each file that was read."""
    ahead.begin(Settings(model_dir=model, device=device), open_driver)
    found = [ahead.take(model / name) for name in ahead.FILES]
    return [None if memory is None else bytes(memory) for memory in found]


def fail(error: Exception) -> Callable[[], Driver]:
    def open_driver() -> Driver:
        raise error

    return open_driver


@pytest.mark.parametrize(
    ("device", "opened"), [("auto", [10]), ("cuda", [10]), ("cuda:2", [12]), ("cuda:all", [10, 11, 12])]
)
def test_each_gpu_that_is_asked_for_gets_its_context(
    model: Path, fake: FakeDriver, device: str, opened: list[int]
) -> None:
    assert begin(model, fake.open, device) == [b"\0" * 1000, b"\1" * 1000]
    assert fake.opened == opened
    assert fake.n_pinned == 0


def test_what_is_taken_is_gone(model: Path, fake: FakeDriver) -> None:
    begin(model, fake.open)
    assert ahead.take(model / ahead.FILES[0]) is None


def test_how_long_each_part_took_is_told_once_it_is_done(model: Path, fake: FakeDriver) -> None:
    phases_ms = ahead.begin(Settings(model_dir=model, device="cuda"), fake.open)
    for name in ahead.FILES:
        ahead.take(model / name)
    assert list(phases_ms) == ["context", "read_ahead"]


def test_a_cpu_needs_none_of_it(model: Path) -> None:
    assert begin(model, fail(AssertionError()), "cpu") == [None, None]


@pytest.mark.parametrize("error", [OSError("libcuda.so.1: cannot open shared object file"), AttributeError("cuInit")])
def test_without_a_driver_nothing_is_read(model: Path, error: Exception) -> None:
    assert begin(model, fail(error)) == [None, None]


@pytest.mark.parametrize("call", ["cuInit", "cuDevicePrimaryCtxRetain", "cuMemHostAlloc"])
def test_a_call_that_fails_is_left_to_torch(model: Path, fake: FakeDriver, call: str) -> None:
    fake.fail_at(call)
    assert begin(model, fake.open) == [None, None]


def test_a_gpu_that_is_not_there_is_left_to_torch(model: Path, fake: FakeDriver) -> None:
    assert begin(model, fake.open, "cuda:7") == [None, None]


def test_missing_and_empty_files_are_left_to_what_loads_them(model: Path, fake: FakeDriver, tmp_path: Path) -> None:
    (model / ahead.FILES[1]).write_bytes(b"")
    assert begin(model, fake.open) == [None, None]
    (model / ahead.FILES[1]).unlink()
    assert begin(model, fake.open) == [None, None]
    assert fake.n_pinned == 0
    assert ahead.begin(Settings(model="nowhere", models_dir=tmp_path, device="cuda"), fake.open) == {}


def test_the_import_does_not_wait_for_the_driver(model: Path, fake: FakeDriver) -> None:
    answers = threading.Event()

    def open_driver() -> Driver:
        answers.wait(20)
        return fake.open()

    phases_ms = ahead.begin(Settings(model_dir=model, device="cuda"), open_driver)
    assert phases_ms == {}
    answers.set()
    assert ahead.take(model / ahead.FILES[0]) is not None
    ahead.take(model / ahead.FILES[1])
