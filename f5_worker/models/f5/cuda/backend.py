"""Choice of the backend that a model computes with: the fastest that works on this device and is correct there."""

from __future__ import annotations

import torch
from torch import Tensor

from f5_worker.errors import GpuLost, OutOfMemory
from f5_worker.log import logger
from f5_worker.models.f5.attention import attend_dense, choose_attention
from f5_worker.models.f5.cuda.errors import translate_cuda_errors
from f5_worker.models.f5.network import Backend, DiT
from f5_worker.models.f5.sampler import draw_noise, sample, time_points

TRIAL_FRAMES = 200  # more than one block of the attention kernel, and not a multiple of one
TOLERANCE = 3e-2  # relative; what half precision and three steps of a model with random weights may add up to


def choose_backend(model: DiT, *, flash: bool) -> None:
    """Give a model on CUDA the Triton kernels if they pass a trial; otherwise, and elsewhere, torch's operations.

    Triton needs a C compiler for the code that launches its kernels, and a GPU that its compiler supports.

    Args:
        flash: flash-attn may be used, where Triton cannot and it is installed.

    Raises:
        OutOfMemory, GpuLost: errors of the device itself.
    """
    if model.device.type == "cuda" and not try_triton(model):
        model.backend = Backend(attend=choose_attention(model.device, model.dtype, flash=flash))


def try_triton(model: DiT) -> bool:
    """Set the Triton backend if its results agree with those of torch's plain operations; return whether it is set.

    The plain operations are the reference because torch's attention for rows of any length imports its compiler: 4 s.
    """
    model.backend = Backend()
    expected = _run_trial(model)
    try:
        from f5_worker.models.f5.cuda.kernels import TritonOps, attend_triton

        model.backend = Backend(TritonOps(), attend_dense if model.dtype is torch.float32 else attend_triton)
        error = float((_run_trial(model) - expected).norm() / expected.norm())
    except (OutOfMemory, GpuLost):
        raise
    except Exception as failure:  # noqa: BLE001 - of an import, a compiler or a driver; torch works without them
        reason = f"{type(failure).__name__}: {failure}"
    else:
        if error <= TOLERANCE:
            return True
        reason = f"its kernels are off by {error:.1%}"
    model.backend = Backend()
    logger.warning("Triton is not used, and the model runs slower: %s", reason)
    return False


def _run_trial(model: DiT) -> Tensor:
    """Return the target mel of a short segment of noise, sampled in three steps."""
    with translate_cuda_errors(), torch.inference_mode():
        noise = draw_noise(0, TRIAL_FRAMES).to(model.device)
        tokens = torch.arange(20, device=model.device) % 20
        return sample(model, noise[: TRIAL_FRAMES // 3], tokens, noise, time_points(3, -1.0), 2.0)[TRIAL_FRAMES // 3 :]
