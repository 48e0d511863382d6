"""The driver is called before torch is there, through ctypes."""

from __future__ import annotations

import ctypes
import os
import sys
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


def test_pinned_memory_is_freed_with_the_last_tensor_in_it(fake: FakeDriver) -> None:
    driver = fake.open()
    driver.open_context(1)
    memory = driver.allocate_pinned(16)
    memory[:] = bytes(range(16))
    tensor = torch.frombuffer(memory, dtype=torch.uint8)[4:8]
    del memory
    assert tensor.tolist() == [4, 5, 6, 7]
    assert fake.n_pinned == 1
    del tensor
    assert (fake.n_pinned, fake.opened) == (0, [11])


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
        ("cuMemHostAlloc", lambda driver: driver.allocate_pinned(1)),
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
    memory = driver.allocate_pinned(1 << 20)
    ctypes.memset(memory, 7, len(memory))
    tensor = torch.frombuffer(memory, dtype=torch.uint8)
    assert tensor.is_pinned()
    assert int(tensor.to("cuda").sum()) == 7 << 20
    assert torch._C._cuda_hasPrimaryContext(0)
    assert sys.getrefcount(memory) > 2
