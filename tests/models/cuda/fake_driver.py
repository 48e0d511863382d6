"""A library in place of CUDA's driver, compiled for the test."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from f5_worker.models.cuda.driver import Driver

SOURCE = Path(__file__).with_suffix(".c")


class FakeDriver:
    """The library, and what was called of it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._library = ctypes.CDLL(self.path)

    def open(self) -> Driver:
        return Driver(self.path)

    def fail_at(self, call: str) -> None:
        self._name = call.encode()
        ctypes.c_char_p.in_dll(self._library, "failing").value = self._name

    @property
    def opened(self) -> list[int]:
        n_opened = ctypes.c_int.in_dll(self._library, "n_opened").value
        return list((ctypes.c_int * 8).in_dll(self._library, "opened"))[:n_opened]


def compile_driver(directory: Path, *, version: int = 12_040, failing: str = "") -> FakeDriver:
    """Compile the library, for CUDA 12.4 and without faults if not told otherwise; skip where there is no compiler."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    path = directory / "libcuda.so.1"
    defined = (f"-DVERSION={version}", f'-DFAILING="{failing}"')
    subprocess.run([compiler, "-shared", "-fPIC", *defined, "-o", path, SOURCE], check=True)
    return FakeDriver(path)
