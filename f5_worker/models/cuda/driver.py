"""CUDA's driver, called without torch: the context of a GPU, and memory that it copies from."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

LIBRARY = "libcuda.so.1"
PORTABLE = 1  # CU_MEMHOSTALLOC_PORTABLE: the memory is pinned for the contexts of all GPUs


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

    def count_gpus(self) -> int:
        """Return the number of GPUs that CUDA_VISIBLE_DEVICES lets this process see."""
        n_gpus = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(n_gpus))
        return n_gpus.value

    def open_context(self, number: int) -> None:
        """Create a GPU's primary context, which torch uses too, and make it that of this thread.

        Raises:
            OSError: the GPU is not there, or has no room for one.
        """
        gpu, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(gpu), number)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), gpu)
        self._call("cuCtxSetCurrent", context)

    def allocate_pinned(self, n_bytes: int) -> ctypes.Array[ctypes.c_ubyte]:
        """Return memory that the GPU copies from by itself; it is freed with the last reference to it.

        Raises:
            OSError: there is no room for it, or this thread has no context.
        """
        pointer = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(n_bytes), PORTABLE)
        memory = (ctypes.c_ubyte * n_bytes).from_address(pointer.value or 0)
        weakref.finalize(memory, self._library.cuMemFreeHost, pointer).atexit = False
        return memory

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise OSError(code, f"{name} returned CUDA's error {code}")
