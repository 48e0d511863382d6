"""The small operations between the model's matrix products, as torch has them: everywhere, in every precision.

What a GPU gains from doing each in one launch is in kernels.py, with the same signatures.

Legend: n frames of all rows together, f of the conditioned ones, m mel bands, d model width, t times that meet in one
forward, s segments, h heads, w width of one head.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.f5.cuda.packed import Packed, Rows, convolve_apart

NORM_EPS = 1e-6


class Gated(NamedTuple):
    """What a branch adds to the residual stream: `gate [t, d]`, each frame's own, times `branch [n, d]`."""

    branch: Tensor
    gate: Tensor


class Ops(Protocol):
    """`times [n]` says which of t each frame is at; None where t is 1."""

    def project(self, x: Tensor, weight: Tensor, packed: Packed) -> Tensor:
        """Noisy mel `x [f, m]` fp32 times `weight [d, m]`, for all rows that show it, plus what is fixed, `[n, d]`."""
        ...

    def norm(
        self, x: Tensor, added: Gated | None, shift: Tensor, scale: Tensor, times: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`x [n, d]` with what a branch adds to it; and its layer norm, scaled and shifted (`[t, d]`) by time."""
        ...

    def rotate(self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value `[n, h, w]` of `qkv [n, 3, h, w]`, which may be overwritten.

        Each pair (x0, x1) of the first `heads` queries and keys is turned by its position's angle, as in GPT-J;
        `cos` and `sin` `[n, w / 2]`.
        """
        ...

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Tanh-GELU of a linear layer, `[n, d]` -> `[n, wide]`."""
        ...

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        """Mish of a convolution that sees nothing beyond a row's ends, `[n, d]` -> `[n, d]`."""
        ...

    def output_linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """A linear layer to few features, `[n, d]` -> `[n, m]`; the frames may lie further apart than m."""
        ...

    def euler(self, x: Tensor, velocity: Tensor, packed: Packed, widths: Tensor) -> Tensor:
        """`x [f, m]` fp32, each segment moved by its part of `widths [s]` along the guided `velocity [n, m]`."""
        ...


class TorchOps:
    def project(self, x: Tensor, weight: Tensor, packed: Packed) -> Tensor:
        return F.linear(x.to(weight.dtype), weight)[packed.source] + packed.fixed

    def norm(
        self, x: Tensor, added: Gated | None, shift: Tensor, scale: Tensor, times: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if added is not None:
            x = x + _each(added.gate, times) * added.branch
        normed = F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)
        return x, normed * (1 + _each(scale, times)) + _each(shift, times)

    def rotate(self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = qkv.unbind(1)
        return _turned(query, cos, sin, heads), _turned(key, cos, sin, heads), value

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        return F.gelu(layer(x), approximate="tanh")

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        return F.mish(convolve_apart(x, rows, layer))

    def output_linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        out: Tensor = layer(x)
        return out

    def euler(self, x: Tensor, velocity: Tensor, packed: Packed, widths: Tensor) -> Tensor:
        f, velocity = len(x), velocity.float()
        guided = velocity[:f] + (velocity[:f] - velocity[packed.twin]) * packed.strength
        return x + widths[packed.segment[:f]].unsqueeze(1) * guided


def _each(table: Tensor, times: Tensor | None) -> Tensor:
    return table if times is None else table[times]


def _turned(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    if heads < x.shape[1]:
        return torch.cat((_turned(x[:, :heads], cos, sin, heads), x[:, heads:]), dim=1)
    first, second = x.view(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-1).flatten(-2)
