"""Loading of checkpoints with the engine that F5_ENGINE asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from f5_worker.engine.engine import FORWARDS_ON_DEVICE
from f5_worker.log import logger
from f5_worker.models.config import find_model, read_config
from f5_worker.models.cuda import memory
from f5_worker.models.cuda.cudnn import disable_cudnn
from f5_worker.models.f5 import runner as own
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, unsupported
from f5_worker.models.placement import Device, limit_threads
from f5_worker.models.upstream import runner as upstream
from f5_worker.settings import Settings

Runner = own.F5Runner | upstream.UpstreamRunner


def load_default(settings: Settings, devices: Sequence[Device]) -> Runner:
    """Load the checkpoint that the settings name, as `load`."""
    limit_threads(settings)
    return load(Path(settings.model).name, settings.model_dir or find_model(settings), settings, devices)


def load(name: str, directory: Path, settings: Settings, devices: Sequence[Device]) -> Runner:
    """Load the checkpoint in `directory` onto each device; any thread may call this.

    Returns:
        What runs it on the first device, with its replicas on the others.

    Raises:
        ModelUnavailable: files are missing or do not belong together, or f5-tts, which it needs, is not installed.
        HostUnfit: the attention that the settings ask for does not work there.
        OutOfMemory: a device has no room for it.
    """
    first, *others = devices
    runner = _load(name, directory, settings, first)
    if others and isinstance(runner, own.F5Runner):
        disable_cudnn()
        runner.replicas = tuple(own.load_checkpoint(name, directory, settings, device) for device in others)
    elif others:
        logger.warning("%s uses the first of %d GPUs: f5-tts cannot share their work", name, len(devices))
    return runner


def warm_up(runner: Runner, devices: Sequence[Device]) -> None:
    """Run each kernel once on each device, because the first run is slow."""
    for one, device in zip((runner, *runner.replicas), devices, strict=False):
        one.warm_up(device.run)


def bound_memory(runner: Runner, devices: Sequence[Device], settings: Settings) -> None:
    """Keep to F5_GPU_MEMORY_MB on each GPU; what is loaded by now counts. Nothing else may use the GPUs meanwhile.

    Raises:
        SettingsInvalid: it is less than the model needs, with what was measured.
    """
    if settings.gpu_memory_mb is None or not devices[0].is_gpu:
        return
    longest = own.warm_up_segment(MAX_SEGMENT_FRAMES, nfe=1)
    n_segments = 1 if runner.whole_segments else max(1, settings.batch_frames // longest.forward_frames)
    n_batches = FORWARDS_ON_DEVICE * settings.batch_frames / (n_segments * longest.forward_frames)
    for one, device in zip((runner, *runner.replicas), devices, strict=False):
        device.run(partial(memory.bound_memory, one, [longest] * n_segments, n_batches, settings.gpu_memory_mb))


def _load(name: str, directory: Path, settings: Settings, device: Device) -> Runner:
    reason = unsupported(read_config(directory)) if settings.engine == "auto" else None
    if settings.engine == "upstream" or reason:
        logger.info("%s is run by f5-tts: %s", name, f"it has {reason}" if reason else "F5_ENGINE=upstream")
        return upstream.load_checkpoint(name, directory, settings, device)
    return own.load_checkpoint(name, directory, settings, device)
