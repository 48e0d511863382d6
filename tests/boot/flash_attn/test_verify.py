"""The verification, with torch's own attention in place of flash-attn: right passes, wrong does not."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from f5_worker.boot.flash_attn import verify, verify_child
from tests.flash_attn_schema import FORWARD_SCHEMA

Attention = Callable[..., torch.Tensor]


def right(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: Any) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def package(attend: Attention, version: str = "2.8.3", broken_varlen: bool = False) -> dict[str, ModuleType]:
    def varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_q: Any, cu_k: Any, *_: int) -> torch.Tensor:
        bounds = cu_q.tolist()
        spans = [(0, bounds[-1])] if broken_varlen else list(itertools.pairwise(bounds))
        return torch.cat([attend(q[None, a:b], k[None, a:b], v[None, a:b])[0] for a, b in spans])

    def unpad(x: torch.Tensor, mask: torch.Tensor) -> tuple[Any, ...]:
        lengths = mask.sum(1)
        cu = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
        return x[mask], mask.flatten().nonzero().flatten(), cu, int(lengths.max()), lengths

    def pad(x: torch.Tensor, indices: torch.Tensor, b: int, n: int) -> torch.Tensor:
        out = x.new_zeros(b * n, *x.shape[1:])
        out[indices] = x
        return out.view(b, n, *x.shape[1:])

    module, padding = ModuleType("flash_attn"), ModuleType("flash_attn.bert_padding")
    module.__dict__.update(__version__=version, flash_attn_func=attend, flash_attn_varlen_func=varlen)
    padding.__dict__.update(pad_input=pad, unpad_input=unpad)
    return {"flash_attn": module, "flash_attn.bert_padding": padding}


def check(monkeypatch: pytest.MonkeyPatch, modules: dict[str, ModuleType], device: str = "cpu") -> dict[str, Any]:
    absent = {"flash_attn.flash_attn_interface": None}  # that of a flash-attn which is installed here
    for name, module in (absent | modules).items():
        monkeypatch.setitem(sys.modules, name, module)
    return verify_child.check(device)


def test_right_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = check(monkeypatch, package(right))
    assert answer["version"] == "2.8.3"
    assert sorted(answer["max_error"]) == ["dense_bfloat16", "dense_float16", "varlen_bfloat16", "varlen_float16"]


def with_operator(factor: float) -> dict[str, ModuleType]:
    """The package as flash-attn 2.7 and 2.8 have it, whose public functions call an operator of torch.library."""

    def public(*_: Any, **__: Any) -> torch.Tensor:
        raise AssertionError("imports torch's compiler")

    name = f"f5_test::forward_{int(factor)}"

    @torch.library.custom_op(name, mutates_args=(), device_types="cuda", schema=FORWARD_SCHEMA)
    def forward(
        q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int,
        dropout_p: float, softmax_scale: float, causal: bool, softcap: float = 0.0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        attend = package(right)["flash_attn"].flash_attn_varlen_func
        return factor * attend(q, k, v, cu_q, cu_k, max_q, max_k), k

    interface = ModuleType("flash_attn.flash_attn_interface")
    interface._flash_attn_varlen_forward = forward  # type: ignore[attr-defined]
    return package(public) | {"flash_attn.flash_attn_interface": interface}


def test_what_the_worker_calls_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(check(monkeypatch, with_operator(1.0))["max_error"]) == 4
    with pytest.raises(verify_child.Failed, match="dense float16 is off by"):
        check(monkeypatch, with_operator(2.0))


def _no_scale(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: Any) -> torch.Tensor:
    return right(q * 1.05, k, v)


def _nan(q: torch.Tensor, *_: torch.Tensor, **__: Any) -> torch.Tensor:
    return torch.full_like(q, float("nan"))


def _short(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: Any) -> torch.Tensor:
    return right(q, k, v)[:, :-1]


def _no_kernel(*_: Any, **__: Any) -> torch.Tensor:
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")


@pytest.mark.parametrize(
    ("modules", "stage", "error"),
    [
        (package(_no_scale), "compare", "dense float16 is off by"),
        (package(_nan), "compare", "off by inf"),
        (package(_short), "compare", "shape"),
        (package(right, broken_varlen=True), "compare", "varlen float16 is off by"),
        (package(right, version="2.6.3"), "version", "unpad_input returns 4 values"),
        (package(_no_kernel), "forward", "dense float16: RuntimeError: CUDA error: no kernel image is available"),
        ({"flash_attn": ModuleType("flash_attn")}, "import", "cannot import name 'flash_attn_func'"),
    ],
)
def test_wrong_does_not(
    monkeypatch: pytest.MonkeyPatch, modules: dict[str, ModuleType], stage: str, error: str
) -> None:
    with pytest.raises(verify_child.Failed) as failed:
        check(monkeypatch, modules)
    assert failed.value.stage == stage
    assert error in str(failed.value)


@pytest.mark.parametrize(
    ("program", "ok", "blame"),
    [
        ('print(\'{"ok": true, "version": "2.8.3"}\')', True, None),
        ('print(\'{"ok": false, "stage": "forward", "error": "no kernel image is available"}\')', False, "build"),
        ('print(\'{"ok": false, "stage": "forward", "error": "unspecified launch failure"}\')', False, "host"),
        ('print(\'{"ok": false, "stage": "version", "error": "old"}\')', False, "old"),
        ('print(\'{"ok": false, "stage": "import", "error": "No module named einops"}\')', False, "host"),
        ('print(\'{"ok": false, "stage": "import", "error": "undefined symbol: _Z"}\')', False, "build"),
        ("import os; os.abort()", False, "build"),
        ("import os; os.kill(os.getpid(), 9)", False, "host"),
        ("import time; time.sleep(60)", False, "host"),
        ("print('ok')", False, "build"),
    ],
)
def test_blame(tmp_path: Path, program: str, ok: bool, blame: str | None) -> None:
    path = tmp_path / "program.py"
    path.write_text(program)
    verification = verify.verify(program=path, timeout_s=0.5)
    assert (verification.ok, verification.blame) == (ok, blame)
    assert (verification.error is None) == ok


@pytest.mark.gpu
def test_torchs_kernels_pass_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tolerances hold for a correct flash kernel."""
    assert check(monkeypatch, package(right), "cuda")["max_error"]


@pytest.mark.gpu
@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="flash-attn is not installed")
def test_installed_flash_attn_passes() -> None:
    verification = verify.verify()
    assert verification.ok, SimpleNamespace(error=verification.error, log=verification.log)
