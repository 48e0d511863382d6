"""What a failure of the device means for the job and for the process."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from f5_worker.errors import GpuLost, OutOfMemory, WorkerError


@contextmanager
def translate_cuda_errors() -> Iterator[None]:
    """Failures of the device leave as what they mean; any other error as it is."""
    try:
        yield
    except RuntimeError as error:
        fault = translated(error)
        if fault is None:
            raise
        raise fault from error


def translated(error: RuntimeError) -> WorkerError | None:
    """What a failure of the device means for the job and for the process; None if it is none."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        traceback.clear_frames(error.__traceback__)  # what was computed until then would live as long as the error
        torch.cuda.empty_cache()
        return OutOfMemory("the GPU has no room for this job now; send it again, or send a shorter text")
    if "CUDA error" in str(error):  # sticky: every later call in this process fails as well
        return GpuLost("the GPU stopped working; this worker restarts, send the job again")
    return None
