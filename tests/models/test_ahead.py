"""Beside `import torch` contexts are opened and weights read into the system's cache; what fails is left to torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from f5_worker.models import ahead
from f5_worker.models.cuda.driver import Driver
from f5_worker.settings import Settings
from tests.models.cuda.fake_driver import FakeDriver, compile_driver

N_BYTES = 1 << 22


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return compile_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ahead.FILES:
        (tmp_path / name).write_bytes(os.urandom(N_BYTES))
    return tmp_path


def begin(model: Path, open_driver: Callable[[], Driver], device: str = "cuda") -> list[str]:
    """Begin, wait for the end, and return what was done."""
    phases_ms = ahead.begin(Settings(model_dir=model, device=device), open_driver)
    for thread in threading.enumerate():
        if thread.name == "ahead":
            thread.join(20)
    return list(phases_ms)


def fail(error: Exception) -> Callable[[], Driver]:
    def open_driver() -> Driver:
        raise error

    return open_driver


def share_in_cache(path: Path) -> float:
    """Return the share of a file's pages that can be read without waiting for the disk."""
    n_cached, page = 0, os.sysconf("SC_PAGE_SIZE")
    with path.open("rb") as file:
        for begin in range(0, N_BYTES, page):
            try:
                n_cached += os.preadv(file.fileno(), [bytearray(page)], begin, os.RWF_NOWAIT) == page
            except BlockingIOError:
                continue
    return n_cached * page / N_BYTES


@pytest.mark.parametrize(
    ("device", "opened"), [("auto", [10]), ("cuda", [10]), ("cuda:2", [12]), ("cuda:all", [10, 11, 12])]
)
def test_each_gpu_that_is_asked_for_gets_its_context(
    model: Path, fake: FakeDriver, device: str, opened: list[int]
) -> None:
    assert begin(model, fake.open, device) == ["context", "read_ahead"]
    assert fake.opened == opened


def test_the_weights_are_in_memory_then(model: Path, fake: FakeDriver) -> None:
    for path in (model / name for name in ahead.FILES):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        is_kept = max(share_in_cache(model / name) for name in ahead.FILES) > 0.5
    except OSError:
        pytest.skip("this file system does not tell what is in memory")
    if is_kept:
        pytest.skip("this file system keeps its files in memory")
    begin(model, fake.open)
    assert [share_in_cache(model / name) for name in ahead.FILES] == [1.0, 1.0]


def test_a_cpu_needs_none_of_it(model: Path) -> None:
    assert begin(model, fail(AssertionError()), "cpu") == []


@pytest.mark.parametrize("error", [OSError("libcuda.so.1: cannot open shared object file"), AttributeError("cuInit")])
def test_without_a_driver_nothing_is_done(model: Path, error: Exception) -> None:
    assert "read_ahead" not in begin(model, fail(error))


@pytest.mark.parametrize("call", ["cuInit", "cuDevicePrimaryCtxRetain"])
def test_a_call_that_fails_is_left_to_torch(model: Path, fake: FakeDriver, call: str) -> None:
    fake.fail_at(call)
    assert "read_ahead" not in begin(model, fake.open)


def test_a_gpu_that_is_not_there_is_left_to_torch(model: Path, fake: FakeDriver) -> None:
    assert "read_ahead" not in begin(model, fake.open, "cuda:7")


def test_missing_and_empty_files_are_left_to_what_loads_them(model: Path, fake: FakeDriver, tmp_path: Path) -> None:
    (model / ahead.FILES[1]).write_bytes(b"")
    assert begin(model, fake.open) == ["context", "read_ahead"]
    (model / ahead.FILES[1]).unlink()
    assert begin(model, fake.open)[:1] == ["context"]
    assert ahead.begin(Settings(model="nowhere", models_dir=tmp_path, device="cuda"), fake.open) == {}


def test_the_import_does_not_wait_for_the_driver(model: Path, fake: FakeDriver) -> None:
    answers, asked = threading.Event(), threading.Event()

    def open_driver() -> Driver:
        asked.set()
        answers.wait(20)
        return fake.open()

    phases_ms = ahead.begin(Settings(model_dir=model, device="cuda"), open_driver)
    assert asked.wait(20)
    assert phases_ms == {}
    answers.set()
