"""CUDA graphs of alignment: a pass through a small network takes longer to launch than to compute.

Launched one by one, its several hundred operations keep the device's thread for some 15 ms, and each gives other
threads of Python a chance to keep it waiting. A pass is captured for each of some sizes, when it is first needed; a
batch takes the smallest one that has room for it. Larger batches, and texts with very many tokens, run without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from f5_worker.log import logger
from f5_worker.models.cuda.capture import CaptureGraph, Replay
from f5_worker.models.cuda.errors import translate_cuda_error
from f5_worker.models.whisper.config import MAX_FRAMES

Compute: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of waves, numbers and tokens."""

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
    """Captures and replays a computation for each size."""

    def __init__(self, device: torch.device, capture: CaptureGraph) -> None:
        self._device = device
        self._capture = capture
        self._captured: dict[BatchSize, tuple[list[Tensor], Replay, Tensor]] = {}
        self._can_capture = True
        self._too_large: set[BatchSize] = set()

    def run(self, compute: Compute, size: BatchSize, batch: Sequence[Tensor]) -> Tensor | None:
        """Return the result of a batch of that size, which is on the host; it stays until the next batch.

        None if passes cannot be captured here, or not this one, for want of memory.

        Args:
            compute: the same for all batches. It is not kept: the network would outlive its last user, who owns this.
        """
        if size not in self._captured and not self._try_capture(compute, size, batch):
            return None
        inputs, replay, result = self._captured[size]
        for x, static in zip(batch, inputs, strict=True):
            static.copy_(x.pin_memory() if self._device.type == "cuda" else x, non_blocking=True)
        replay()
        return result

    def _try_capture(self, compute: Compute, size: BatchSize, batch: Sequence[Tensor]) -> bool:
        if self._can_capture and size not in self._too_large:
            inputs = [x.to(self._device, copy=True) for x in batch]
            try:
                self._captured[size] = (inputs, *self._capture(lambda: compute(*inputs)))
                return True
            except torch.cuda.OutOfMemoryError as error:  # one by one it takes less: a graph keeps its memory
                self._too_large.add(size)
                translate_cuda_error(error)  # frees what the attempt took
            except Exception as failure:  # noqa: BLE001 - of a driver or an operation; one by one they work too
                self._can_capture = False
                logger.warning("alignment is not captured and takes longer: %s: %s", type(failure).__name__, failure)
        return False
