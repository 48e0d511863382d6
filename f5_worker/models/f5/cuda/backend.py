"""Choice of the backend that a model computes with: the fastest that works on this device and is correct there."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from f5_worker.errors import GpuLost, HostUnfit, OutOfMemory
from f5_worker.log import logger
from f5_worker.models.cuda.cudnn import without_cudnn
from f5_worker.models.cuda.errors import translate_cuda_errors
from f5_worker.models.f5.attention import Attend, attend_dense
from f5_worker.models.f5.cpu import Bf16Ops, ProductAttention
from f5_worker.models.f5.cuda.attention_choice import (
    AttentionName,
    AttentionShape,
    ChosenAttention,
    available_backends,
    check_attention,
    restrict,
)
from f5_worker.models.f5.cuda.ops import Ops, TorchOps
from f5_worker.models.f5.network import Backend, DiT
from f5_worker.models.f5.sampler import draw_noise, sample, time_points
from f5_worker.models.placement import cpu_flags, fastest_precision

TRIAL_FRAMES = 200  # more than one block of the attention kernel, and not a multiple of one
TRIAL_ROWS = (200, 200, 67)
TOLERANCE = 3e-2  # relative; what half precision and three steps of a model with random weights may add up to


def choose_backend(model: DiT, attention: AttentionName, *, flash: bool) -> None:
    """Give a model on CUDA Triton's operations if they pass a trial, and the attention that the settings ask for.

    A model in bf16 on a CPU that multiplies in it has what is in cpu.py; elsewhere it has torch's operations. Triton
    needs a C compiler for the code that launches its kernels, and a GPU that its compiler supports. Where several
    backends can compute attention, the model has a `ChosenAttention`.

    Args:
        flash: flash-attn may be used where it is installed.

    Raises:
        HostUnfit: the attention that is asked for is not available.
        OutOfMemory, GpuLost: errors of the device itself.
    """
    model.backend = Backend()
    if model.device.type == "cuda":
        try_backends(model, attention, flash=flash)
    elif model.dtype == torch.bfloat16 and fastest_precision("cpu") == "bf16":
        # With AMX torch's own attention takes 0.7 of the time of two products (Xeon, two threads).
        model.backend = Backend(Bf16Ops(), attend_dense if "amx_bf16" in cpu_flags() else ProductAttention())


def prepare_kernels() -> None:
    """Compute the hash of Triton's files that is in the cache keys of its kernels: 400 MB, 0.4 s, once in a process."""
    with suppress(ImportError):  # told where it is used
        import triton

        is_new = hasattr(triton.runtime.cache, "triton_key")  # moved there after 3.0
        (triton.runtime.cache if is_new else triton.compiler.compiler).triton_key()


def try_backends(model: DiT, attention: AttentionName, *, flash: bool) -> None:
    """Do what `choose_backend` does on CUDA. The reference is what the model has: torch's plain operations."""
    expected = _run_trial(model)
    ops = _triton_ops(model, expected)
    model.backend = Backend(ops or TorchOps())
    available = available_backends(model.dtype, triton=ops is not None, flash=flash)
    backends = restrict(available, attention)
    for name, attend in list(backends.items()):  # the first that works stands until all were measured
        if _works(attend, name, model):
            model.backend = Backend(model.backend.ops, ChosenAttention(backends) if len(backends) > 1 else attend)
            return
        del backends[name]
    if attention != "auto":
        raise HostUnfit(
            f"F5_ATTENTION={attention} does not work here (the log says more); in {model.dtype} this machine has "
            f"{', '.join(available)}; install what is missing, or set F5_ATTENTION=auto"
        )


def _triton_ops(model: DiT, expected: Tensor) -> Ops | None:
    """Return Triton's operations if their results agree with those of torch's."""
    try:
        from f5_worker.models.f5.cuda.kernels import TritonOps
    except ImportError as error:
        logger.warning("Triton is not used, and the model runs slower: %s", error)
        return None
    ops = TritonOps()
    return ops if _agrees(model, ops, expected) else None


def _agrees(model: DiT, ops: Ops, expected: Tensor) -> bool:
    """Return whether operations work and have the expected results; the log says why not."""
    before, model.backend = model.backend, Backend(ops)
    try:
        error = float((_run_trial(model) - expected).norm() / expected.norm())
    except (OutOfMemory, GpuLost):
        raise
    except Exception as failure:  # noqa: BLE001 - of a compiler or a driver; torch works without them
        reason = f"{type(failure).__name__}: {failure}"
    else:
        if error <= TOLERANCE:
            return True
        reason = f"its kernels are off by {error:.1%}"
    finally:
        model.backend = before
    logger.warning("Triton is not used, and the model runs slower: %s", reason)
    return False


def _works(attend: Attend, name: str, model: DiT) -> bool:
    """Return whether attention works and agrees with torch's dense one; the log says why not."""
    try:
        with translate_cuda_errors(), torch.inference_mode():
            check_attention(attend, TRIAL_ROWS, AttentionShape.of(model), model.device)
    except (OutOfMemory, GpuLost):
        raise
    except Exception as failure:  # noqa: BLE001 - of an import, a compiler or a driver; there is another one
        logger.warning("%s is not used for attention: %s: %s", name, type(failure).__name__, failure)
        return False
    return True


def _run_trial(model: DiT) -> Tensor:
    """Return the target mel of a short segment of noise, sampled in three steps."""
    with translate_cuda_errors(), torch.inference_mode(), without_cudnn():
        noise = draw_noise(0, TRIAL_FRAMES).to(model.device)
        tokens = torch.arange(20, device=model.device) % 20
        return sample(model, noise[: TRIAL_FRAMES // 3], tokens, noise, time_points(3, -1.0), 2.0)[TRIAL_FRAMES // 3 :]
