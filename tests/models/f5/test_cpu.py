"""What a CPU that multiplies in bf16 computes with has the results of torch's plain operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models import placement
from f5_worker.models.f5 import cpu
from f5_worker.models.f5.attention import attend_dense
from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.cpu import Bf16Ops, ProductAttention
from f5_worker.models.f5.cuda import backend
from f5_worker.models.f5.cuda.backend import choose_backend
from f5_worker.models.f5.cuda.packed import Rows
from f5_worker.models.f5.network import DiT
from f5_worker.models.placement import fastest_precision
from tests.models.f5.conftest import SMALL

LENGTHS = (70, 70, 33)
HEADS = 2

needs_bf16 = pytest.mark.skipif(fastest_precision("cpu") != "bf16", reason="oneDNN takes bf16 only where it is native")


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).bfloat16()


def difference(ours: Tensor, expected: Tensor) -> float:
    return float((ours.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("queries", [1, 32, 100])  # of the longest row in a block
def test_attention_by_products(queries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "MAX_SCORES", queries * HEADS * max(LENGTHS))
    rows = Rows.from_lengths(LENGTHS, torch.device("cpu"))
    query, key, value = drawn(sum(LENGTHS), 3, HEADS, 64).unbind(1)
    attend = ProductAttention()
    for scale in (1.0, 4.0):  # the second call has the scores of the first in its memory
        expected = attend_dense(query.float() * scale, key.float(), value.float(), rows)
        assert difference(attend(query * scale, key, value, rows), expected) < 2e-2


@needs_bf16
def test_a_gelu_within_the_product() -> None:
    layer, x = nn.Linear(64, 96).bfloat16(), drawn(50, 64)
    expected = F.gelu(F.linear(x.float(), layer.weight.float(), layer.bias.float()), approximate="tanh")
    assert difference(Bf16Ops().linear_gelu(x, layer), expected) < 1e-2


@pytest.mark.parametrize(
    ("dtype", "flags", "ops", "attention"),
    [
        (torch.bfloat16, {"avx512_bf16"}, True, True),
        (torch.bfloat16, {"avx512_bf16", "amx_bf16"}, True, False),
        (torch.bfloat16, {"avx2"}, False, False),
        (torch.float32, {"avx512_bf16"}, False, False),
    ],
)
def test_they_are_used_in_native_bf16_only(
    dtype: torch.dtype,
    flags: set[str],
    ops: bool,
    attention: bool,
    make_model: Callable[[Arch], DiT],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (backend, placement):
        monkeypatch.setattr(module, "cpu_flags", lambda: flags)
    model = make_model(SMALL).to(dtype)
    choose_backend(model, "auto", flash=False)
    assert isinstance(model.backend.ops, Bf16Ops) == ops
    assert isinstance(model.backend.attend, ProductAttention) == attention
