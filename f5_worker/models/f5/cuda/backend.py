"""Which of its ways of computing a model takes: the fastest that works here and gives the right numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from f5_worker.models.f5.attention import attend_dense, choose_attention
from f5_worker.models.f5.cuda.errors import translate_cuda_errors
from f5_worker.models.f5.network import Backend, DiT
from f5_worker.models.f5.sampler import draw_noise, sample, time_points
from f5_worker.errors import GpuLost, OutOfMemory
from f5_worker.log import logger

TRIAL_FRAMES = 200  # more than one block of attention's, and not a whole number of them
TOLERANCE = 3e-2  # relative; what half precision and three steps of a model with random weights may add up to


def choose_backend(model: DiT, *, flash: bool) -> None:
    """Triton's kernels on CUDA, once they have spoken as torch's operations do; those otherwise, and elsewhere.

    Triton needs a C compiler for what launches its kernels, and a GPU that its compiler knows.

    Args:
        flash: flash-attn may be used, where Triton cannot and it is installed.

    Raises:
        OutOfMemory, GpuLost: the device's own faults.
    """
    if model.device.type == "cuda" and not takes_triton(model):
        model.backend = Backend(attend=choose_attention(model.device, model.dtype, flash=flash))


def takes_triton(model: DiT) -> bool:
    """Have the model take Triton's kernels, if they give the numbers of torch's plain operations.

    Those are the ones to compare with because torch's attention for rows of any length imports its compiler: 4 s.
    """
    model.backend = Backend()
    expected = _trial(model)
    try:
        from f5_worker.models.f5.cuda.kernels import TritonOps, attend_triton

        model.backend = Backend(TritonOps(), attend_dense if model.dtype is torch.float32 else attend_triton)
        off = float((_trial(model) - expected).norm() / expected.norm())
    except (OutOfMemory, GpuLost):
        raise
    except Exception as error:  # noqa: BLE001 - an import's, a compiler's or a driver's; torch does without
        problem = f"{type(error).__name__}: {error}"
    else:
        if off <= TOLERANCE:
            return True
        problem = f"its kernels are off by {off:.1%}"
    model.backend = Backend()
    logger.warning("Triton is not used, and the model runs slower: %s", problem)
    return False


def _trial(model: DiT) -> Tensor:
    """A short segment of noise, in three steps."""
    with translate_cuda_errors(), torch.inference_mode():
        noise = draw_noise(0, TRIAL_FRAMES).to(model.device)
        tokens = torch.arange(20, device=model.device) % 20
        return sample(model, noise[: TRIAL_FRAMES // 3], tokens, noise, time_points(3, -1.0), 2.0)[TRIAL_FRAMES // 3 :]
