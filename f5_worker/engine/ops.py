"""The small operations between the model's matrix products, as torch has them: everywhere, in every precision.

What a GPU gains from doing each in one launch is in kernels.py, with the same signatures.

Legend: n frames of all rows together, d model width, t times that meet in one forward, h heads, w width of one head.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.engine.packed import Rows, convolve_apart

NORM_EPS = 1e-6


class Gated(NamedTuple):
    """What a branch adds to the residual stream: `gate [t, d]`, each frame's own, times `branch [n, d]`."""

    branch: Tensor
    gate: Tensor


class Ops(Protocol):
    """`times [n]` says which of t each frame is at; None where t is 1."""

    def norm(
        self, x: Tensor, added: Gated | None, shift: Tensor, scale: Tensor, times: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """`x [n, d]` with what a branch adds to it; and its layer norm, scaled and shifted (`[t, d]`) by time."""
        ...

    def rotate(self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value `[n, h, w]` of `qkv [n, 3, h, w]`, which may be overwritten.

        Each pair (x0, x1) of the first `heads` queries and keys is turned by its position's angle, whose `cos` and
        `sin` `[n, w]` stand in interleaved pairs, as in GPT-J.
        """
        ...

    def widen(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Tanh-GELU of a linear layer, `[n, d]` -> `[n, wide]`."""
        ...

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        """Mish of a convolution that sees nothing beyond a row's ends, `[n, d]` -> `[n, d]`."""
        ...


class TorchOps:
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

    def widen(self, x: Tensor, layer: nn.Linear) -> Tensor:
        return F.gelu(layer(x), approximate="tanh")

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        return F.mish(convolve_apart(x, rows, layer))


def _each(table: Tensor, times: Tensor | None) -> Tensor:
    return table if times is None else table[times]


def _turned(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    if heads < x.shape[1]:
        return torch.cat((_turned(x[:, :heads], cos, sin, heads), x[:, heads:]), dim=1)
    pairs = x.view(*x.shape[:-1], -1, 2)
    across = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return x * cos.unsqueeze(1) + across * sin.unsqueeze(1)
