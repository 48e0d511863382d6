"""Loading of checkpoints with the engine that F5_ENGINE asks for."""

from __future__ import annotations

from pathlib import Path

import torch

from f5_worker.log import logger
from f5_worker.models.config import read_config
from f5_worker.models.f5 import runner as own
from f5_worker.models.f5.checkpoint import find_model
from f5_worker.models.f5.config import unsupported
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.upstream import runner as upstream
from f5_worker.settings import Settings

Runner = own.F5Runner | upstream.UpstreamRunner


def load_default(settings: Settings) -> Runner:
    """Load the checkpoint that the settings name onto their device.

    Raises:
        ModelUnavailable: files are missing or do not belong together, or f5-tts, which it needs, is not installed.
        HostUnfit: this machine does not have the device.
    """
    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    return load(Path(settings.model).name, settings.model_dir or find_model(settings), settings)


def load(name: str, directory: Path, settings: Settings, run_on_device: RunOnDevice = lambda work: work()) -> Runner:
    """Load the checkpoint in `directory`; any thread may call this.

    Args:
        run_on_device: runs the part that uses the device; `Engine.run` while jobs run.

    Raises:
        ModelUnavailable, HostUnfit: as `load_default`.
        OutOfMemory: the device has no room for it.
    """
    reason = unsupported(read_config(directory)) if settings.engine == "auto" else None
    if settings.engine == "upstream" or reason:
        logger.info("%s is run by f5-tts: %s", name, f"it has {reason}" if reason else "F5_ENGINE=upstream")
        return upstream.load_checkpoint(name, directory, settings, run_on_device)
    return own.load_checkpoint(name, directory, settings, run_on_device)
