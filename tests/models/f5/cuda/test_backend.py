"""Triton's kernels are used only if their results agree with torch's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from f5_worker.errors import HostUnfit, OutOfMemory
from f5_worker.models.f5.attention import attend_dense
from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.cuda import backend
from f5_worker.models.f5.cuda.attention_choice import AttentionName
from f5_worker.models.f5.cuda.backend import choose_backend, try_backends
from f5_worker.models.f5.cuda.ops import TorchOps
from f5_worker.models.f5.cuda.packed import Rows
from f5_worker.models.f5.network import DiT
from tests.models.f5.conftest import SMALL

kernels = pytest.importorskip("f5_worker.models.f5.cuda.kernels", exc_type=ImportError)
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="interprets the kernels on the CPU")
MakeModel = Callable[[Arch], DiT]


def test_a_cpu_has_only_torch(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    choose_backend(model, "auto", flash=True)
    assert isinstance(model.backend.ops, TorchOps)


@pytest.mark.slow
def test_kernels_with_the_same_results_are_used(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels.TritonOps, "convolve", TorchOps.convolve)  # takes a minute to interpret
    model = make_model(SMALL)
    try_backends(model, "auto", flash=True)
    assert isinstance(model.backend.ops, kernels.TritonOps)


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        pytest.param(lambda self, x, *rest: (x, 2 * TorchOps().norm(x, *rest)[1]), "off by", marks=pytest.mark.slow),
        pytest.param(lambda self, x, *rest: (x, torch.full_like(x, torch.nan)), "off by nan", marks=pytest.mark.slow),
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
        try_backends(model, "auto", flash=True)
    assert isinstance(model.backend.ops, TorchOps)
    assert reason in caplog.text


def test_errors_of_the_device_itself_are_raised(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(self: object, *args: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(kernels.TritonOps, "norm", out_of_memory)
    monkeypatch.setattr(kernels.TritonOps, "convolve", TorchOps.convolve)
    with pytest.raises(OutOfMemory):
        try_backends(make_model(SMALL), "auto", flash=True)


@pytest.mark.parametrize("attention", ["triton", "flash", "torch"])
def test_attention_that_is_asked_for_and_is_not_there_is_an_error(
    attention: AttentionName, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_triton_ops", lambda model, expected: None)
    with pytest.raises(HostUnfit, match=rf"F5_ATTENTION={attention} .* has dense"):
        try_backends(make_model(SMALL), attention, flash=True)


def test_a_default_that_fails_its_trial_is_left_out(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: Rows) -> torch.Tensor:
        return 2 * attend_dense(query, key, value, rows)

    backends = {"wrong": wrong, "right": attend_dense}
    monkeypatch.setattr(backend, "_triton_ops", lambda model, expected: None)
    monkeypatch.setattr(backend, "available_backends", lambda dtype, triton, flash: backends)
    model = make_model(SMALL)
    try_backends(model, "auto", flash=True)
    assert model.backend.attend is attend_dense
    assert "wrong is not used for attention: ValueError: its result is off by 100.0%" in caplog.text
