"""CUDA's driver, called without torch: its GPUs, and the context of one."""

from __future__ import annotations

import ctypes
import os
from typing import Any, NamedTuple

LIBRARY = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...


class GpuProperties(NamedTuple):
    """Properties of a GPU, with the values that torch reports."""

    name: str
    capability: str
    total_bytes: int


class Driver:
    """The driver of this machine. A call gives Python's lock back while it lasts."""

    def __init__(self, library: str = LIBRARY) -> None:
        """
        Raises:
            OSError: there is none, or it sees no GPU.
        """
        os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  # as torch does, before the driver reads it
        self._library: Any = ctypes.CDLL(library)
        self._call("cuInit", 0)

    def newest_cuda(self) -> tuple[int, int]:
        """Return the newest CUDA that the driver supports, such as (12, 4)."""
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return version.value // 1000, version.value % 1000 // 10

    def count_gpus(self) -> int:
        """Return the number of GPUs that CUDA_VISIBLE_DEVICES lets this process see."""
        n_gpus = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(n_gpus))
        return n_gpus.value

    def describe_gpu(self, number: int) -> GpuProperties:
        """Return a GPU's properties."""
        gpu, total, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(gpu), number)
        self._call("cuDeviceGetName", name, len(name), gpu)
        self._call("cuDeviceGetAttribute", ctypes.byref(major), CAPABILITY_MAJOR, gpu)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), CAPABILITY_MINOR, gpu)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(total), gpu)
        return GpuProperties(name.value.decode("utf-8", "replace"), f"{major.value}.{minor.value}", total.value)

    def open_context(self, number: int) -> None:
        """Create a GPU's primary context, which torch uses too, and make it that of this thread.

        Raises:
            OSError: the GPU is not there, or has no room for one.
        """
        gpu, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(gpu), number)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), gpu)
        self._call("cuCtxSetCurrent", context)

    def free_bytes(self) -> int:
        """Return the free memory of the GPU whose context this thread has."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise OSError(code, f"{name} returned CUDA's error {code}")
