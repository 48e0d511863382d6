"""Measurements on this GPU, and the files that keep what they chose for the next start."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from f5_worker import __version__
from f5_worker.log import logger
from f5_worker.models.cuda.capture import GraphCapturer
from f5_worker.storage import files

Work = Callable[[], None]
Call = Callable[[], Tensor]
TimeUs = Callable[[Call], float]
"""Returns the microseconds that the device takes for a call."""

DRIVER = Path("/proc/driver/nvidia/version")
N_CALLS, N_ROUNDS = 10, 3  # the fastest round is the measurement


def cuda_time_us(call: Call) -> float:
    """Return the microseconds that the device takes for a call, the least of several rounds.

    The calls are replayed as a CUDA graph: launching one may take longer than computing it.
    """
    replay, _ = GraphCapturer(is_brief=True)(lambda: [call() for _ in range(N_CALLS)][-1])
    times = []
    for _ in range(N_ROUNDS):
        begin: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call, unused-ignore]
        end: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call, unused-ignore]
        begin.record()
        replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / N_CALLS)
    return float(min(times))


def tuning_file(name: str, key: Mapping[str, object]) -> Path | None:
    """Return where a choice of this GPU and these packages is kept, beside the compiled kernels; None if nowhere.

    Args:
        key: what else the choice depends on.
    """
    directory = os.environ.get("TRITON_CACHE_DIR")
    if not directory:
        return None
    here = {
        "gpu": torch.cuda.get_device_name(),
        "driver": _driver(),
        "packages": {package: _version(package) for package in ("torch", "triton", "flash-attn", "flash-attn-3")},
        "worker": __version__,
    }
    digest = hashlib.sha256(json.dumps(here | dict(key), sort_keys=True).encode()).hexdigest()[:16]
    return Path(directory) / f"f5-{name}-{digest}.json"


def read_choice(path: Path) -> Any:
    """Return what a file keeps, None if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_choice(path: Path, choice: object) -> None:
    """Keep a choice for the next start; one that cannot be kept is measured again."""
    try:
        files.write(path, json.dumps(choice).encode())
    except OSError as error:
        logger.info("%s is measured again at the next start: %s", path.stem, files.explain(error))


def _driver() -> str:
    try:
        return DRIVER.read_text("utf-8", "replace")
    except OSError:
        return ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
