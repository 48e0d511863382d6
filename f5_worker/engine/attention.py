"""Self-attention with rotary positions, in F5's flavour.

Legend: b batch, h heads, n frames, d width of one head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotary_tables(
    n: int, dim_head: int, device: torch.device, dtype: torch.dtype, base: float = 10_000.0
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of positions 0..n-1, each `[n, d]`, in interleaved pairs as in GPT-J.

    Angles are computed in fp32 whatever the model's precision: fp16 loses whole frames above 2048.
    (x_transformers `RotaryEmbedding`; upstream rounds its frequencies with the weights.)
    """
    frequency = 1.0 / base ** (torch.arange(0, dim_head, 2, device=device).float() / dim_head)
    positions = torch.arange(n, device=device, dtype=torch.float32)
    angles = torch.outer(positions, frequency).repeat_interleave(2, dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x0, x1) of `x [b, h, n, d]` by its position's angle."""
    pairs = x.view(*x.shape[:-1], -1, 2)
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return x * cos + turned * sin


class Attention(nn.Module):
    """Attention over all frames of a segment; parameter names are upstream's.

    `rotary_heads`: number of leading heads that see positions, None for all (`pe_attn_head`;
    the first F5 release turned only one head).
    """

    def __init__(self, dim: int, heads: int, dim_head: int, qk_norm: bool, rotary_heads: int | None) -> None:
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.rotary_heads = rotary_heads
        self.to_q = nn.Linear(dim, inner)
        self.to_k = nn.Linear(dim, inner)
        self.to_v = nn.Linear(dim, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, dim)])  # a list, as upstream's has a dropout behind it
        self.q_norm = nn.RMSNorm(dim_head, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(dim_head, eps=1e-6) if qk_norm else nn.Identity()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`x [b, n, dim]` -> `[b, n, dim]`; every row of the batch has its full length."""
        query = self._position(self.q_norm(self._heads(self.to_q(x))), cos, sin)
        key = self._position(self.k_norm(self._heads(self.to_k(x))), cos, sin)
        value = self._heads(self.to_v(x))
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def _position(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.rotary_heads is None:
            return rotate(x, cos, sin)
        seeing, blind = x[:, : self.rotary_heads], x[:, self.rotary_heads :]
        return torch.cat((rotate(seeing, cos, sin), blind), dim=1)
