"""The driver is called before torch is there, through ctypes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from f5_worker.models.cuda.driver import Driver
from tests.models.cuda.fake_driver import FakeDriver, compile_driver


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    monkeypatch.delenv("CUDA_MODULE_LOADING", raising=False)
    return compile_driver(tmp_path)


def test_kernels_are_loaded_when_they_are_used_as_with_torch(fake: FakeDriver) -> None:
    fake.open()
    assert os.environ.pop("CUDA_MODULE_LOADING") == "LAZY"


def test_there_are_as_many_gpus_as_the_driver_says(fake: FakeDriver) -> None:
    assert fake.open().count_gpus() == 3


def test_a_gpu_is_described(fake: FakeDriver) -> None:
    driver = fake.open()
    assert driver.newest_cuda() == (12, 4)
    assert driver.describe_gpu(0) == ("NVIDIA Fake", "8.9", 24 << 30)
    driver.open_context(0)
    assert driver.free_bytes() == 20 << 30


@pytest.mark.parametrize(
    ("call", "use"),
    [
        ("cuDriverGetVersion", lambda driver: driver.newest_cuda()),
        ("cuDeviceGetCount", lambda driver: driver.count_gpus()),
        ("cuDeviceGet", lambda driver: driver.describe_gpu(0)),
        ("cuDeviceGetName", lambda driver: driver.describe_gpu(0)),
        ("cuDeviceGetAttribute", lambda driver: driver.describe_gpu(0)),
        ("cuDeviceTotalMem_v2", lambda driver: driver.describe_gpu(0)),
        ("cuMemGetInfo_v2", lambda driver: driver.free_bytes()),
        ("cuDeviceGet", lambda driver: driver.open_context(0)),
        ("cuDevicePrimaryCtxRetain", lambda driver: driver.open_context(0)),
        ("cuCtxSetCurrent", lambda driver: driver.open_context(0)),
    ],
)
def test_a_call_that_fails_is_named(fake: FakeDriver, call: str, use: Callable[[Driver], object]) -> None:
    driver = fake.open()
    driver.open_context(0)
    fake.fail_at(call)
    with pytest.raises(OSError, match=f"{call} returned CUDA's error 2"):
        use(driver)


def test_a_driver_that_sees_no_gpu_is_none(fake: FakeDriver) -> None:
    fake.fail_at("cuInit")
    with pytest.raises(OSError, match="cuInit returned CUDA's error 2"):
        fake.open()


def test_without_a_driver_there_is_none() -> None:
    with pytest.raises(OSError, match="libcuda-of-nothing"):
        Driver("libcuda-of-nothing.so")


@pytest.mark.gpu
def test_the_context_is_the_one_that_torch_uses() -> None:
    driver = Driver()
    driver.open_context(0)
    assert torch._C._cuda_hasPrimaryContext(0)
    assert driver.free_bytes() == torch.cuda.mem_get_info(0)[0]
