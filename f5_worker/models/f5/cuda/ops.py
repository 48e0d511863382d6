"""The small operations between the model's matrix products, in plain torch: everywhere, in every precision.

kernels.py has the same operations for a GPU, each in one launch, with the same signatures.

Legend: n frames of all rows together, f of the conditional ones, m mel bands, d model width, t distinct times in one
forward, s segments, h heads, w width of one head.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.f5.cuda.packed import PackedBatch, Rows, convolve_rows

NORM_EPS = 1e-6


class GatedBranch(NamedTuple):
    """What a branch adds to the residual stream: `output [n, d]`, times `gate [t, d]` at each frame's own time."""

    output: Tensor
    gate: Tensor


class QueryKeyNorms(NamedTuple):
    """The weights `[w]` of the root-mean-square norms of queries and keys."""

    query: Tensor
    key: Tensor


class Ops(Protocol):
    """The operations. `time_index [n]` says which of t times each frame is at; it is None where t is 1."""

    def project(self, x: Tensor, weight: Tensor, packed: PackedBatch) -> Tensor:
        """Project noisy mel `x [f, m]` fp32 by `weight [d, m]` into all rows, and add `condition`: `[n, d]`."""
        ...

    def norm(
        self, x: Tensor, branch: GatedBranch | None, shift: Tensor, scale: Tensor, time_index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add a branch to `x [n, d]`; return the sum, and its layer norm scaled and shifted (`[t, d]`) by time."""
        ...

    def rotate(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, norms: QueryKeyNorms | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value `[n, h, w]` of `qkv [n, 3, h, w]`, which may be overwritten.

        Each is first divided by its root mean square and multiplied by the weight of its norm, if there are norms. Then
        each pair (x0, x1) of the first `heads` queries and keys is rotated by the angle of its position, as in GPT-J;
        `cos` and `sin` are `[n, w / 2]`.
        """
        ...

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Apply a linear layer and tanh-GELU, `[n, d]` -> `[n, ff_mult * d]`."""
        ...

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        """Convolve along the frames of each row separately and apply Mish, `[n, d]` -> `[n, d]`."""
        ...

    def output_linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Apply a linear layer to few features, `[n, d]` -> `[n, m]`, whose row stride may be larger than m."""
        ...

    def euler(self, x: Tensor, velocity: Tensor, packed: PackedBatch, dt: Tensor) -> Tensor:
        """Return `x [f, m]` fp32, each segment moved by its own `dt [s]` along the guided `velocity [n, m]`."""
        ...


class TorchOps:
    """`Ops` in plain torch."""

    def project(self, x: Tensor, weight: Tensor, packed: PackedBatch) -> Tensor:
        """Implement `Ops.project`."""
        return F.linear(x.to(weight.dtype), weight)[packed.source_frame] + packed.condition

    def norm(
        self, x: Tensor, branch: GatedBranch | None, shift: Tensor, scale: Tensor, time_index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Implement `Ops.norm`."""
        if branch is not None:
            x = torch.addcmul(x, _per_frame(branch.gate, time_index), branch.output)
        if time_index is None:
            return x, F.layer_norm(x, x.shape[-1:], 1 + scale[0], shift[0], NORM_EPS)
        normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
        return x, torch.addcmul(shift[time_index], normed, (1 + scale)[time_index])

    def rotate(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, norms: QueryKeyNorms | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Implement `Ops.rotate` in fp32, with the pairs as complex numbers: few passes over the memory."""
        n, _, _, w = qkv.shape
        query_key = qkv[:, :2].float()
        if norms is not None:
            length = torch.linalg.vector_norm(query_key, dim=-1, keepdim=True)
            query_key.mul_(torch.rsqrt(length.square() / w + NORM_EPS)).mul_(torch.stack(norms).unsqueeze(1))
        pairs = torch.view_as_complex(query_key[:, :, :heads].view(n, 2, heads, w // 2, 2))
        pairs.mul_(torch.complex(cos.float(), sin.float())[:, None, None])
        query, key = query_key.to(qkv.dtype).unbind(1)
        return query, key, qkv[:, 2]

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Implement `Ops.linear_gelu`."""
        return F.gelu(layer(x), approximate="tanh")

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        """Implement `Ops.convolve`."""
        return F.mish(convolve_rows(x, rows, layer))

    def output_linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Implement `Ops.output_linear`."""
        out: Tensor = layer(x)
        return out

    def euler(self, x: Tensor, velocity: Tensor, packed: PackedBatch, dt: Tensor) -> Tensor:
        """Implement `Ops.euler`."""
        f, velocity = len(x), velocity.float()
        guided = velocity[:f] + (velocity[:f] - velocity[packed.unconditional_frame]) * packed.guidance_scale
        return x + dt[packed.segment_index[:f]].unsqueeze(1) * guided


def _per_frame(table: Tensor, time_index: Tensor | None) -> Tensor:
    return table if time_index is None else table[time_index]
