"""Errors of CUDA translated into the worker's own."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from f5_worker.errors import GpuLost, HostUnfit, OutOfMemory, WorkerError


@contextmanager
def translate_cuda_errors() -> Iterator[None]:
    """Raise errors of the device as OutOfMemory, HostUnfit or GpuLost; let any other error pass unchanged."""
    try:
        yield
    except RuntimeError as error:
        translated = translate_cuda_error(error)
        if translated is None:
            raise
        raise translated from error


def translate_cuda_error(error: RuntimeError) -> WorkerError | None:
    """Return what an error of the device means for the job and for the process; None for any other error."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        traceback.clear_frames(error.__traceback__)  # tensors computed until then would live as long as the error
        torch.cuda.empty_cache()
        return OutOfMemory("the GPU has no room for this job now; send it again, or send a shorter text")
    if "no kernel image is available" in str(error):
        major, minor = torch.cuda.get_device_capability()
        return HostUnfit(
            f"there are no kernels for this GPU, whose compute capability is {major}.{minor}; torch "
            f"{torch.__version__} has them for {', '.join(torch.cuda.get_arch_list())}: choose another type of GPU, or "
            "an image with another torch"
        )
    if "CUDA error" in str(error):  # sticky: every later call in this process fails too
        return GpuLost("the GPU stopped working; this worker restarts, send the job again")
    return None
