"""CUDA graphs of alignment: a pass through a small network takes longer to launch than to compute.

Launched one by one, its several hundred operations keep the device's thread for some 15 ms, and each gives other
threads of Python a chance to keep it waiting. A pass is captured for each of some sizes, when it is first needed; a
batch takes the smallest one that has room for it. Larger batches, and texts with very many tokens, run without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from f5_worker.models.f5.cuda.step_graphs import GraphCapturer
from f5_worker.models.whisper.config import MAX_FRAMES

ROWS = (1, 2, 4, 8)
FRAMES = (512, 768, 1_024, 1_536, 2_048, MAX_FRAMES)
FRAMES_PER_TOKEN = 10  # ten tokens a second: English has about four
MAX_GRAPH_FRAMES = 12_288  # of all rows


class BatchSize(NamedTuple):
    """Rows of a batch, and mel frames and tokens of each of them."""

    rows: int
    frames: int
    tokens: int


SIZES = tuple(
    BatchSize(rows, frames, frames // FRAMES_PER_TOKEN)
    for frames in FRAMES
    for rows in ROWS
    if rows * frames <= MAX_GRAPH_FRAMES
)


def graph_size(batch: BatchSize) -> BatchSize | None:
    """Return the size with the fewest frames in all that has room for a batch; None if there is none."""
    fitting = [size for size in SIZES if all(room >= needed for room, needed in zip(size, batch, strict=True))]
    return min(fitting, key=lambda size: size.rows * size.frames, default=None)


class AlignmentGraphs:
    """Captures and replays `compute(waves, numbers, tokens)` for each size."""

    def __init__(self, compute: Callable[[Tensor, Tensor, Tensor], Tensor], device: torch.device) -> None:
        self._compute = compute
        self._device = device
        self._capture = GraphCapturer()
        self._captured: dict[BatchSize, tuple[list[Tensor], Callable[[], None], Tensor]] = {}

    def run(self, size: BatchSize, batch: Sequence[Tensor]) -> Tensor:
        """Return the result of a batch of that size, which is on the host; it stays until the next batch."""
        if size not in self._captured:
            inputs = [x.to(self._device) for x in batch]
            self._captured[size] = (inputs, *self._capture(lambda: self._compute(*inputs)))
        inputs, replay, result = self._captured[size]
        for x, static in zip(batch, inputs, strict=True):
            static.copy_(x.pin_memory(), non_blocking=True)
        replay()
        return result
