"""Copies from the device's memory to the host's."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f5_worker.models.cuda.errors import translate_cuda_errors


class PendingDownload:
    """A copy from the device that goes on while the host does something else."""

    def __init__(self, values: NDArray[np.float32], done: torch.cuda.Event | None) -> None:
        self._values = values
        self._done = done

    @classmethod
    def begin(cls, x: Tensor) -> PendingDownload:
        """Queue the copy behind the work of the device."""
        if x.device.type != "cuda":
            return cls(x.numpy(), None)
        copy = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        copy.copy_(x, non_blocking=True)
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        return cls(copy.numpy(), done)

    def wait(self) -> NDArray[np.float32]:
        """Return the values once they are there."""
        if self._done is not None:
            with translate_cuda_errors():
                self._done.synchronize()
        return self._values
