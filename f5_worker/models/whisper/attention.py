"""From the cross-attention of chosen heads to the steps at which it moves from token to token.

As in openai/whisper's `timing.py`: attention is normalised over the tokens of each head, smoothed by a median along
the sound, and averaged; dynamic time warping finds the way through it.

Legend: b rows, h heads, t tokens, n encoder steps, d width of a head.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEDIAN_STEPS = 7
MAX_ELEMENTS = 8_000_000  # of the attention that is in memory at once
# Exchanges after which the middle one of seven values is the median: N. Devillard, "Fast median search".
_MEDIAN_OF_7 = ((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4))


def attention_matrix(queries: Tensor, keys: Tensor, tokens: Tensor, steps: Tensor) -> Tensor:
    """Return the attention `[b, t, n]` fp32 of all heads together, normalised and smoothed.

    Args:
        queries: `[b, h, t, d]` of the chosen heads.
        keys: `[b, h, n, d]`.
        tokens, steps: `[b]`, how many each row has.
    """
    rows, heads, n_tokens, _ = queries.shape
    n_heads = max(1, MAX_ELEMENTS // (rows * n_tokens * keys.shape[2]))
    parts = zip(torch.split(queries, n_heads, 1), torch.split(keys, n_heads, 1), strict=True)
    total = sum(_smoothed(*part, tokens, steps).sum(1) for part in parts)
    assert isinstance(total, Tensor)  # noqa: S101 - there is a head
    return total / heads


def _smoothed(queries: Tensor, keys: Tensor, tokens: Tensor, steps: Tensor) -> Tensor:
    scores = queries.float() @ keys.float().transpose(-1, -2) * queries.shape[-1] ** -0.5
    columns = torch.arange(scores.shape[-1], device=scores.device)
    scores = scores.masked_fill((columns >= steps[:, None])[:, None, None], -torch.inf)
    weights = scores.softmax(-1)
    is_token = (torch.arange(scores.shape[2], device=scores.device) < tokens[:, None])[:, None, :, None]
    counts = tokens[:, None, None, None]
    mean = (weights * is_token).sum(2, keepdim=True) / counts
    centred = (weights - mean) * is_token
    deviation = (centred.square().sum(2, keepdim=True) / counts).sqrt()
    return _median_along_steps(centred / deviation.clamp(min=1e-12), steps)


def _median_along_steps(x: Tensor, steps: Tensor) -> Tensor:
    """Return the median over MEDIAN_STEPS steps around each; a row is mirrored at its ends."""
    around = MEDIAN_STEPS // 2
    last = (steps - 1)[:, None]
    positions = torch.arange(-around, x.shape[-1] + around, device=x.device).abs()
    positions = torch.where(positions > last, 2 * last - positions, positions).clamp(min=0)
    padded = x.gather(-1, positions[:, None, None].expand(*x.shape[:-1], -1))
    values = [padded[..., i : i + x.shape[-1]] for i in range(MEDIAN_STEPS)]
    for low, high in _MEDIAN_OF_7:
        values[low], values[high] = torch.minimum(values[low], values[high]), torch.maximum(values[low], values[high])
    return values[around]


def token_starts(matrix: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the step at which attention moves to each token: dynamic time warping through `matrix [t, n]`.

    The path takes one step of the sound, one token, or both at once, and its sum is the largest. All steps of one token
    are computed together: with c the cost and C its sum along the steps,

        D[i, j] = c[j] + min(D[i-1, j-1], D[i-1, j], D[i, j-1])
                = C[j] + min over k <= j of (min(D[i-1, k-1], D[i-1, k]) - C[k-1])

    and the best k is the step at which the path comes to token i.
    """
    costs = -matrix.astype(np.float64)
    n_tokens, n_steps = costs.shape
    sums = np.cumsum(costs, axis=1)
    entries = np.zeros((n_tokens, n_steps), np.int64)
    moves_both = np.zeros((n_tokens, n_steps), np.bool_)
    indices = np.arange(n_steps)
    total = sums[0]
    diagonal = np.full(n_steps, np.inf)
    for token in range(1, n_tokens):
        diagonal[1:] = total[:-1]
        moves_both[token] = diagonal < total
        entering = np.minimum(diagonal, total) - sums[token] + costs[token]
        best = np.minimum.accumulate(entering)
        entries[token] = np.maximum.accumulate(np.where(entering <= best, indices, 0))
        total = best + sums[token]
    starts = np.zeros(n_tokens, np.int64)
    at = n_steps - 1
    for token in range(n_tokens - 1, 0, -1):
        at = int(entries[token, at])
        starts[token] = at
        at -= int(moves_both[token, at])
    return starts
