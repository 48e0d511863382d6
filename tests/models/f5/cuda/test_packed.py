"""Packed rows: no row influences another."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from f5_worker.models.f5.attention import attend_dense, attend_flash
from f5_worker.models.f5.cuda.packed import Rows, convolve_rows
from tests.flash_attn_schema import FORWARD_SCHEMA

CPU = torch.device("cpu")
RAGGED = (5, 1, 40, 40, 16)


def test_rows_have_their_bounds_and_positions() -> None:
    rows = Rows.from_lengths((2, 3), CPU)
    assert rows.cumulative.tolist() == [0, 2, 5]
    assert rows.cumulative.dtype == torch.int32
    assert rows.positions.tolist() == [0, 1, 0, 1, 2]
    assert rows.max_length == 3
    assert rows.bounds.tolist() == [[0, 0, 2, 2, 2], [2, 2, 5, 5, 5]]
    assert Rows.from_lengths((65, 5), CPU).blocks.tolist() == [[0, 0, 65], [64, 0, 65], [65, 65, 70]]
    assert Rows.from_lengths(RAGGED, CPU).runs() == [(1, 5), (1, 1), (2, 40), (1, 16)]


@pytest.mark.parametrize("lengths", [RAGGED, (40,), (7, 7, 7)])
def test_two_convolutions_with_a_bias_keep_rows_separate(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    first, second = (nn.Conv1d(32, 32, 31, groups=16, padding=15) for _ in range(2))
    rows = Rows.from_lengths(lengths, CPU)
    x = torch.randn(sum(lengths), 32)
    with torch.inference_mode():
        packed = convolve_rows(nn.functional.mish(convolve_rows(x, rows, first)), rows, second)
        for part, row in zip(packed.split(lengths), x.split(lengths), strict=True):
            alone = second(nn.functional.mish(first(row.T.unsqueeze(0)))).squeeze(0).T
            assert torch.allclose(part, alone, atol=1e-6)


def test_dense_attention_stays_within_each_row() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(sum(RAGGED), 2, 8) for _ in range(3))
    attended = attend_dense(query, key, value, Rows.from_lengths(RAGGED, CPU))
    begin = 0
    for length in RAGGED:
        q, k, v = (x[begin : begin + length].transpose(0, 1) for x in (query, key, value))
        weights = torch.softmax(q @ k.transpose(1, 2) / 8**0.5, dim=-1)
        assert torch.allclose(attended[begin : begin + length], (weights @ v).transpose(0, 1), atol=1e-5)
        begin += length


def test_flash_attention_gets_the_row_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument order of flash_attn 2.7 and 2.8, of the public function and of the forward that it calls:
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal.
    """
    passed: list[object] = []
    module, interface = ModuleType("flash_attn"), ModuleType("flash_attn.flash_attn_interface")
    module.flash_attn_varlen_func = lambda *values: passed.extend(values) or values[0]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    rows, x = Rows.from_lengths((2, 3), CPU), torch.zeros(5, 1, 4)
    assert attend_flash(x, x, x, rows) is x
    expected = [x, x, x, rows.cumulative, rows.cumulative, 3, 3, 0.0, 0.5, False]
    assert all(one is other or one == other for one, other in zip(passed, expected, strict=True))

    @torch.library.custom_op(
        "f5_test::flash_forward", mutates_args=(), device_types="cuda", schema=FORWARD_SCHEMA
    )  # as flash-attn does it
    def forward(
        q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int,
        dropout_p: float, softmax_scale: float, causal: bool, softcap: float = 0.0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        return q * max_q * softmax_scale, k

    interface._flash_attn_varlen_forward = forward  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn.flash_attn_interface", interface)
    passed.clear()
    assert torch.equal(attend_flash(x + 2, x, x, rows), x + 3.0)  # the operator itself would not run on a CPU
    assert passed == []
