"""Triton's kernels are used only if their results agree with torch's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from f5_worker.errors import OutOfMemory
from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.cuda.backend import choose_backend, try_triton
from f5_worker.models.f5.cuda.ops import TorchOps
from f5_worker.models.f5.network import DiT
from tests.models.f5.conftest import SMALL

kernels = pytest.importorskip("f5_worker.models.f5.cuda.kernels", exc_type=ImportError)
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="interprets the kernels on the CPU")
MakeModel = Callable[[Arch], DiT]


def test_a_cpu_has_only_torch(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    choose_backend(model, flash=True)
    assert isinstance(model.backend.ops, TorchOps)


@pytest.mark.slow
def test_kernels_with_the_same_results_are_used(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.TritonOps, "convolve", TorchOps.convolve)  # takes a minute to interpret
    model = make_model(SMALL)
    assert try_triton(model)
    assert isinstance(model.backend.ops, kernels.TritonOps)


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        (lambda self, x, *rest: (x, 2 * TorchOps().norm(x, *rest)[1]), "off by"),
        pytest.param(
            lambda self, x, *rest: (x, torch.full_like(x, torch.nan)), "off by nan", marks=pytest.mark.slow
        ),
        (lambda self, *args: (_ for _ in ()).throw(RuntimeError("no C compiler")), "no C compiler"),
    ],
)
def test_kernels_that_are_wrong_or_do_not_compile_are_not_used(
    norm: Any, reason: str, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("rotate", "linear_gelu", "convolve"):
        monkeypatch.setattr(kernels.TritonOps, name, getattr(TorchOps, name))
    monkeypatch.setattr(kernels.TritonOps, "norm", norm)
    model = make_model(SMALL)
    with caplog.at_level(logging.WARNING):
        assert not try_triton(model)
    assert isinstance(model.backend.ops, TorchOps)
    assert reason in caplog.text


def test_errors_of_the_device_itself_are_raised(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(self: object, *args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(kernels.TritonOps, "norm", out_of_memory)
    monkeypatch.setattr(kernels.TritonOps, "convolve", TorchOps.convolve)
    with pytest.raises(OutOfMemory):
        try_triton(make_model(SMALL))
