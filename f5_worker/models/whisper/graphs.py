"""The sizes of batches whose pass is captured as a CUDA graph; larger ones, and very long texts, run without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from f5_worker.models.whisper.config import MAX_FRAMES

ROWS = (1, 2, 4, 8)
TEXTS = (4, 8, 16)  # of one clip
FRAMES = (512, 768, 1_024, 1_536, 2_048, MAX_FRAMES)
FRAMES_PER_TOKEN = 10  # ten tokens a second: English has about four
MAX_GRAPH_FRAMES = 12_288  # of all rows


class BatchSize(NamedTuple):
    """Rows of a batch, and mel frames and tokens of each of them; the texts of one clip share its frames."""

    rows: int
    frames: int
    tokens: int


SIZES = tuple(
    BatchSize(rows, frames, frames // FRAMES_PER_TOKEN)
    for frames in FRAMES
    for rows in ROWS
    if rows * frames <= MAX_GRAPH_FRAMES
)
SIZES_OF_ONE_CLIP = tuple(BatchSize(rows, frames, frames // FRAMES_PER_TOKEN) for frames in FRAMES for rows in TEXTS)


def graph_size(batch: BatchSize, sizes: Sequence[BatchSize] = SIZES) -> BatchSize | None:
    """Return the size with the fewest frames in all that has room for a batch; None if there is none."""
    fitting = [size for size in sizes if all(room >= needed for room, needed in zip(size, batch, strict=True))]
    return min(fitting, key=lambda size: size.rows * size.frames, default=None)
