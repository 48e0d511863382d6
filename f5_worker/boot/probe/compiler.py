"""The CUDA compiler of this container."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from f5_worker import process

NVCC_TIMEOUT_S = 10.0


def nvcc() -> tuple[str | None, str | None]:
    """Return the release of the CUDA compiler (`12.4`) and its CUDA_HOME, searched like torch's cpp_extension does."""
    for home in _cuda_homes():
        done = process.run([home / "bin" / "nvcc", "--version"], timeout_s=NVCC_TIMEOUT_S)
        if done.ok and (match := re.search(r"release (\d+\.\d+)", done.output)):
            return match[1], str(home)
    return None, None


def _cuda_homes() -> Iterator[Path]:
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if home := os.environ.get(name):
            yield Path(home)
    if found := shutil.which("nvcc"):
        yield Path(found).parent.parent
    yield Path("/usr/local/cuda")
