"""What the model computes with on a CPU that multiplies in bf16, where torch's usual kernels do not keep up with that.

Legend: n frames of all rows together, h heads, w width of one head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from f5_worker.models.f5.cuda.ops import TorchOps
from f5_worker.models.f5.cuda.packed import Rows

MAX_SCORES = 2**22  # of a block of queries


class Bf16Ops(TorchOps):
    """`Ops` of torch and oneDNN."""

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Implement `Ops.linear_gelu` with the GELU in the product's own pass over the memory."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "tanh")
        return out


class ProductAttention:
    """Attention by two matrix products with a softmax between them: torch's own kernel takes 2.4 times as long.

    It takes a block of queries at a time, so that their scores stay in the cache. The memory of the scores is kept:
    the pages of a new allocation would take longer than a product.
    """

    def __init__(self) -> None:
        self._scores = torch.empty(MAX_SCORES, dtype=torch.bfloat16)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
        """Attend as an `Attend` does, `[n, h, w]` -> `[n, h, w]`; only one thread at a time may call this."""
        n, h, w = value.shape
        out = value.new_empty(n, h, w)
        by_row = (x.transpose(0, 1).split_with_sizes(rows.lengths, dim=1) for x in (query, key, value, out))
        for q, k, v, o in zip(*by_row, strict=True):
            keys, block = k.transpose(1, 2), MAX_SCORES // (h * k.shape[1])
            for queries, attended in zip(q.split(block, dim=1), o.split(block, dim=1), strict=True):
                shape = (h, queries.shape[1], keys.shape[2])
                scores = self._scores[: math.prod(shape)].view(shape)
                torch.baddbmm(scores, queries, keys, beta=0, alpha=w**-0.5, out=scores)
                torch.bmm(torch.softmax(scores, dim=-1, out=scores), v, out=attended)
        return out
