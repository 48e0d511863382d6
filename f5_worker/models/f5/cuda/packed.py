"""Sequences of different lengths side by side in one tensor, without padding between them.

Legend: r rows (sequences), n frames of all rows together, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.f5.cuda.upload import upload

BLOCK = 64  # queries that attention takes at a time


@dataclass(frozen=True)
class Rows:
    """Where each row lies in a packed tensor `[n, ...]`.

    lengths: frames of each row. cumulative: `[r + 1]` int32, as variable-length attention takes it.
    positions: `[n]`, each frame's place in its own row. bounds: `[2, n]` int32, where the row of each frame begins
    and ends. blocks: `[b, 3]` int32, the rows cut into pieces of at most BLOCK frames: where each begins, and where
    its row begins and ends.
    """

    lengths: tuple[int, ...]
    cumulative: Tensor
    positions: Tensor
    bounds: Tensor
    blocks: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Rows:
        edges = np.cumsum([0, *lengths], dtype=np.int32)  # numpy is quicker than torch with so little
        n = int(edges[-1])
        bounds = np.stack((edges[:-1], edges[1:])).repeat(lengths, axis=1)
        frames = np.arange(n, dtype=np.int32)
        positions = (frames - bounds[0]).astype(np.int64)
        blocks = np.stack((frames, *bounds))[:, positions % BLOCK == 0].T.copy()
        # Ends begin at a whole 16 bytes as well: Triton would compile a second kernel for those that do not.
        bounds = np.pad(bounds, ((0, 0), (0, -n % 4)))
        given = (upload(torch.from_numpy(array), device) for array in (edges, positions, bounds, blocks))
        cumulative, places, edged, cut = given
        return cls(tuple(lengths), cumulative, places, edged[:, :n], cut)

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def runs(self) -> list[tuple[int, int]]:
        """`(rows, length)` of neighbours of equal length, in order: each run is a dense batch without a copy."""
        return [(len(list(run)), length) for length, run in groupby(self.lengths)]


@dataclass(frozen=True)
class Packed:
    """What stays the same over the steps of the segments that go through a forward together.

    First come the rows that are conditioned on reference and text, one a segment: f frames. Then the unconditional
    ones of the segments with guidance, which come first among the segments.

    fixed: `[n, d]`, the part of the input projection that does not depend on the noisy mel.
    cos, sin: `[n, dim_head / 2]`, of each frame's place in its row.
    segment: `[n]`, the segment that each frame is of. source: `[n]`, the frame of the noisy mel that each stands for.
    twin: `[f]`, the unconditional frame of each conditioned one; itself where there is none.
    strength: `[f, 1]` of guidance, 0 where there is none.
    """

    rows: Rows
    fixed: Tensor
    cos: Tensor
    sin: Tensor
    segment: Tensor
    source: Tensor
    twin: Tensor
    strength: Tensor


def convolve_apart(x: Tensor, rows: Rows, convolution: nn.Conv1d) -> Tensor:
    """A convolution along the frames that sees nothing beyond a row's ends, `[n, d]` -> `[n, d]`.

    The rows are set apart by as many zeros as the kernel reaches, so that one launch does all of them. The zeros
    are set anew for each convolution: a bias, and what reached in from both sides, would fill them.
    """
    if len(runs := rows.runs()) == 1:  # a dense batch: the convolution's own padding does it
        together = x.view(*runs[0], -1).transpose(1, 2)
        mixed: Tensor = convolution(together)
        return mixed.transpose(1, 2).reshape(len(x), -1)
    (gap,) = (size // 2 for size in convolution.kernel_size)
    apart = torch.cat([F.pad(row, (0, 0, 0, gap)) for row in x.split_with_sizes(rows.lengths)])
    mixed = convolution(apart.T.unsqueeze(0)).squeeze(0).T
    kept = mixed.split_with_sizes([size for length in rows.lengths for size in (length, gap)])
    return torch.cat(kept[::2])
