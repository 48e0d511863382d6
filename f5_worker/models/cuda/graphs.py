"""CUDA graphs of a pass through a network for each size of a batch.

A pass through a small network takes longer to launch than to compute. Launched one by one, its several hundred
operations keep the device's thread for some 15 ms, and each gives other threads of Python a chance to keep it waiting.
A pass is captured for a size when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from f5_worker.log import logger
from f5_worker.models.cuda.capture import CaptureGraph, Replay
from f5_worker.models.cuda.errors import translate_cuda_error


class PassGraphs:
    """Captures and replays a computation for each size.

    Args:
        name: of the computation, for the log.
    """

    def __init__(self, device: torch.device, capture: CaptureGraph, name: str) -> None:
        self._device = device
        self._capture = capture
        self._name = name
        self._captured: dict[Hashable, tuple[list[Tensor], Replay, Tensor]] = {}
        self._can_capture = True
        self._too_large: set[Hashable] = set()

    def run(self, compute: Callable[..., Tensor], size: Hashable, batch: Sequence[Tensor]) -> Tensor | None:
        """Return the result of a batch of that size, on the host or the device; it stays until the next batch.

        None if passes cannot be captured here, or not this one, for want of memory.

        Args:
            compute: the same for all batches, of tensors on the device. It is not kept: the network would outlive its
                last user, who owns this.
        """
        if size not in self._captured and not self._try_capture(compute, size, batch):
            return None
        inputs, replay, result = self._captured[size]
        for x, static in zip(batch, inputs, strict=True):
            static.copy_(x.pin_memory() if x.device != static.device else x, non_blocking=True)
        replay()
        return result

    def _try_capture(self, compute: Callable[..., Tensor], size: Hashable, batch: Sequence[Tensor]) -> bool:
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
                kind = type(failure).__name__
                logger.warning("%s is not captured and takes longer: %s: %s", self._name, kind, failure)
        return False
