"""Sequences of different lengths packed into one tensor, one after another, without padding between them.

Legend: r rows (sequences), n frames of all rows together, f of the conditional ones, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from f5_worker.models.cuda.upload import upload

QUERY_BLOCK = 64  # queries that one program of the attention kernel takes


@dataclass(frozen=True)
class Rows:
    """Where each row is in a packed tensor `[n, ...]`.

    Attributes:
        lengths: frames of each row.
        cumulative: `[r + 1]` int32, row boundaries as variable-length attention takes them (cu_seqlens).
        positions: `[n]`, each frame's position in its own row.
        bounds: `[2, n]` int32, where the row of each frame begins and ends.
        blocks: `[b, 3]` int32, the rows cut into blocks of at most QUERY_BLOCK frames: where each block begins, and
            where its row begins and ends.
    """

    lengths: tuple[int, ...]
    cumulative: Tensor
    positions: Tensor
    bounds: Tensor
    blocks: Tensor

    @classmethod
    def from_lengths(cls, lengths: Sequence[int], device: torch.device) -> Rows:
        """Return the rows of the given lengths, their tensors on `device`."""
        boundaries = np.cumsum([0, *lengths], dtype=np.int32)  # numpy is quicker than torch with so little
        n = int(boundaries[-1])
        bounds = np.stack((boundaries[:-1], boundaries[1:])).repeat(lengths, axis=1)
        frames = np.arange(n, dtype=np.int32)
        positions = (frames - bounds[0]).astype(np.int64)
        blocks = np.stack((frames, *bounds))[:, positions % QUERY_BLOCK == 0].T.copy()
        # bounds[1] begins at a multiple of 16 bytes like bounds[0]; otherwise Triton would compile a second kernel.
        bounds = np.pad(bounds, ((0, 0), (0, -n % 4)))

        def tensor(array: NDArray[Any]) -> Tensor:
            return upload(torch.from_numpy(array), device)

        return cls(tuple(lengths), tensor(boundaries), tensor(positions), tensor(bounds)[:, :n], tensor(blocks))

    @property
    def max_length(self) -> int:
        """Return the frames of the longest row."""
        return max(self.lengths)

    def runs(self) -> list[tuple[int, int]]:
        """Return `(rows, length)` of adjacent rows of equal length, in order; each run is a dense batch, uncopied."""
        return [(len(list(run)), length) for length, run in groupby(self.lengths)]


@dataclass(frozen=True)
class PackedBatch:
    """Inputs of a forward that stay the same over the steps of its segments.

    The conditional rows, with reference and text, come first, one a segment: f frames. The unconditional rows of the
    segments with guidance follow; those segments come first among the segments.

    Attributes:
        rows: where each row is.
        condition: `[n, d]`, the part of the input projection that does not depend on the noisy mel.
        cos, sin: `[n, dim_head / 2]`, rotary tables at each frame's position in its row.
        segment_index: `[n]`, the segment of each frame.
        source_frame: `[n]`, the frame of the noisy mel that each frame reads.
        unconditional_frame: `[f]`, the unconditional frame of each conditional one; itself where there is none.
        guidance_scale: `[f, 1]`, 0 where there is no guidance.
    """

    rows: Rows
    condition: Tensor
    cos: Tensor
    sin: Tensor
    segment_index: Tensor
    source_frame: Tensor
    unconditional_frame: Tensor
    guidance_scale: Tensor


def convolve_rows(x: Tensor, rows: Rows, convolution: nn.Conv1d) -> Tensor:
    """Convolve along the frames of each row separately, `[n, d]` -> `[n, d]`.

    The rows are separated by as many zeros as the kernel reaches, so that one launch does all of them. The zeros are
    set again for each convolution, whose bias and neighbouring frames have overwritten them.
    """
    if len(runs := rows.runs()) == 1:  # a dense batch: the convolution's own padding does it
        dense = x.view(*runs[0], -1).transpose(1, 2)
        out: Tensor = convolution(dense)
        return out.transpose(1, 2).reshape(len(x), -1)
    (gap,) = (size // 2 for size in convolution.kernel_size)
    separated = torch.cat([F.pad(row, (0, 0, 0, gap)) for row in x.split_with_sizes(rows.lengths)])
    out = convolution(separated.T.unsqueeze(0)).squeeze(0).T
    rows_and_gaps = out.split_with_sizes([size for length in rows.lengths for size in (length, gap)])
    return torch.cat(rows_and_gaps[::2])
