"""Where a model runs, and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from f5_worker.errors import HostUnfit
from f5_worker.settings import Settings

Precision = Literal["fp32", "fp16", "bf16"]
RunOnDevice = Callable[[Callable[[], Any]], Any]
"""Calls a function in the thread that owns the device, and returns its result."""

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


def choose_device(settings: Settings) -> str:
    """Return `cuda` or `cpu`.

    Raises:
        HostUnfit: this machine does not have the device that the settings name.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise HostUnfit("F5_DEVICE=cuda, but torch sees no GPU; give the container one, or set F5_DEVICE=cpu")
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def fastest_precision(device: str) -> Precision:
    """Return fp16 on CUDA, bf16 on a CPU with native bf16, where it takes 0.7 of the time of fp32, and else fp32."""
    if device == "cuda":
        return "fp16"
    try:
        flags = CPU_INFO.read_text("ascii", "replace").split()
    except OSError:  # not Linux
        return "fp32"
    return "fp32" if BF16_FLAGS.isdisjoint(flags) else "bf16"


def name_device(device: torch.device) -> str:
    """Return the name of a device, such as `cpu` or `NVIDIA L4`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def count_bytes(*modules: nn.Module) -> int:
    """Return the memory that the parameters and buffers of modules take."""
    return sum(tensor.nbytes for module in modules for tensor in chain(module.parameters(), module.buffers()))


def device_bytes(device: torch.device) -> tuple[int, int] | None:
    """Return the memory of a device that this process has reserved, and all of it; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.memory_reserved(device), torch.cuda.get_device_properties(device).total_memory


def name_precision(dtype: torch.dtype) -> str:
    """Return `fp32`, `fp16` or `bf16`."""
    return next(name for name, known in DTYPES.items() if known == dtype)
