"""What errors of CUDA mean; tests/models/f5/test_gpu.py has those of a real device."""

from __future__ import annotations

import pytest
import torch

from f5_worker.errors import GpuLost, HostUnfit
from f5_worker.models.cuda.errors import translate_cuda_errors


def test_a_gpu_that_torch_has_no_kernels_for_is_told_with_those_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (10, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
    with pytest.raises(HostUnfit, match=r"capability is 10\.0; torch .* has them for sm_80, sm_90: choose another"):
        fail("CUDA error: no kernel image is available for execution on the device\nmore")


def test_another_error_of_cuda_means_that_the_gpu_is_lost() -> None:
    with pytest.raises(GpuLost):
        fail("CUDA error: device-side assert triggered")


def test_an_error_of_another_kind_passes() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        fail("shapes differ")


def fail(message: str) -> None:
    with translate_cuda_errors():
        raise RuntimeError(message)
