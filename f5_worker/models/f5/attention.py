"""Self-attention with rotary positions, as F5 has it, over packed rows of different lengths.

Legend: n frames of all rows together, h heads, d width of one head.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.f5.cuda.ops import Ops, QueryKeyNorms
from f5_worker.models.f5.cuda.packed import Rows

Attend = Callable[[Tensor, Tensor, Tensor, Rows], Tensor]
"""Attention of query, key, value `[n, h, d]` within each row -> `[n, h, d]`."""


def attend_dense(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """Attend with torch's own kernel for each run of rows of one length: everywhere, in every precision, exact."""
    outputs, begin = [], 0
    for run in rows.runs():
        end = begin + run[0] * run[1]
        q, k, v = (x[begin:end].view(*run, *x.shape[1:]).transpose(1, 2) for x in (query, key, value))
        outputs.append(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1))
        begin = end
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def attend_flash(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """Attend with flash-attn, where boot left it installed because it passed its test on this GPU.

    (boot/flash_attn/verify_child.py) Its forward is called as it was defined, where that can be had: the first call of
    the operator that torch.library makes of it imports torch's compiler, 4 s. Both take these arguments.
    """
    from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found, unused-ignore]

    operator = getattr(sys.modules.get("flash_attn.flash_attn_interface"), "_flash_attn_varlen_forward", None)
    forward = getattr(operator, "_init_fn", None) or flash_attn_varlen_func
    cumulative, max_length, scale = rows.cumulative, rows.max_length, query.shape[-1] ** -0.5
    out = forward(query, key, value, cumulative, cumulative, max_length, max_length, 0.0, scale, False)
    return cast(Tensor, out[0] if isinstance(out, tuple) else out)


def attend_flash_3(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """Attend with FlashAttention-3, which an image for Hopper may bring along."""
    from flash_attn_interface import flash_attn_varlen_func  # type: ignore[import-not-found, unused-ignore]

    cumulative, max_length = rows.cumulative, rows.max_length
    out = flash_attn_varlen_func(query, key, value, cumulative, cumulative, max_length, max_length)
    return cast(Tensor, out[0] if isinstance(out, tuple) else out)  # some releases return the log-sum-exp, too


def attend_torch(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """Attend with the FlashAttention-2 that is part of torch.

    Called as torch.nn.attention.varlen does, whose wrapper is there from torch 2.10 on and imports torch's compiler at
    its first call: 4 s.
    """
    cumulative, max_length = rows.cumulative, rows.max_length
    out, *_ = torch.ops.aten._flash_attention_forward(
        query, key, value, cumulative, cumulative, max_length, max_length, 0.0, False, return_debug_mask=False
    )
    return cast(Tensor, out)


def rotary_tables(n: int, dim_head: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of positions 0..n-1, each `[n, d / 2]` fp32: one for each pair (x0, x1), as in GPT-J.

    Angles are computed in fp32 whatever the model's precision: fp16 is off by whole frames above 2048.
    (x_transformers `RotaryEmbedding`; upstream rounds its frequencies with the weights.)
    """
    frequency = 1.0 / base ** (torch.arange(0, dim_head, 2).float() / dim_head)
    angles = torch.outer(torch.arange(n, dtype=torch.float32), frequency)
    return angles.cos(), angles.sin()


class Attention(nn.Module):
    """Attention of each frame to all frames of its row; parameter names are upstream's except for `to_qkv`.

    Args:
        rotary_heads: number of leading heads with rotary positions, None for all (`pe_attn_head`; the first F5 release
            rotates only one head).
    """

    def __init__(self, dim: int, heads: int, dim_head: int, qk_norm: bool, rotary_heads: int | None) -> None:
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.rotary_heads = heads if rotary_heads is None else rotary_heads
        self.to_qkv = nn.Linear(dim, 3 * inner)  # upstream's to_q, to_k and to_v, concatenated
        self.to_out = nn.ModuleList([nn.Linear(inner, dim)])  # a list as upstream's, which also holds a dropout
        self.qk_norm = qk_norm
        if qk_norm:
            self.q_norm = nn.RMSNorm(dim_head, eps=1e-6)
            self.k_norm = nn.RMSNorm(dim_head, eps=1e-6)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, rows: Rows, ops: Ops, attend: Attend) -> Tensor:
        """Attend within each row, `x [n, dim]` -> `[n, dim]`."""
        qkv = self.to_qkv(x).view(len(x), 3, self.heads, -1)
        norms = QueryKeyNorms(self.q_norm.weight, self.k_norm.weight) if self.qk_norm else None
        attended = attend(*ops.rotate(qkv, cos, sin, self.rotary_heads, norms), rows)
        out: Tensor = self.to_out[0](attended.flatten(1))
        return out
