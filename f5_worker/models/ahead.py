"""Preparations of a start on a GPU while torch is imported: the GPU's context, and the weights in the file cache.

The import takes seconds and holds Python's lock for most of them; single calls of the system and the driver do not need
it. Nothing relies on them: what could not be done, torch does later, and its errors say why. Reading into pinned
memory, which the GPU copies from by itself, slows the import by more than the copy gains: a start takes 7.9 s with it,
6.6 s without (an H100, the context opened in both).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from f5_worker.errors import ModelUnavailable
from f5_worker.log import logger, timed
from f5_worker.models.config import find_model
from f5_worker.models.cuda.driver import Driver
from f5_worker.settings import Settings

FILES = ("model.safetensors", "vocoder.safetensors")


def begin(settings: Settings, open_driver: Callable[[], Driver] = Driver) -> dict[str, float]:
    """Open the contexts of the GPUs that the settings name, and read the model's files into the cache, in a thread.

    Returns:
        How long each took, in ms, once it is done.
    """
    phases_ms: dict[str, float] = {}
    if settings.device == "cpu":
        return phases_ms
    try:
        directory = settings.model_dir or find_model(settings)
    except ModelUnavailable:  # raised again when it is loaded
        return phases_ms

    def work() -> None:
        try:
            with timed(phases_ms, "context"):
                driver = open_driver()
                for number in _gpus(settings.device, driver):
                    driver.open_context(number)
            with timed(phases_ms, "read_ahead"):
                for name in FILES:
                    read_into_cache(directory / name)
        except (OSError, AttributeError) as error:  # no driver, no GPU, no file; or a driver that lacks a call
            logger.debug("preparing the GPU or the weights failed: %s", error)

    threading.Thread(target=work, name="ahead", daemon=True).start()
    return phases_ms


def read_into_cache(path: Path) -> None:
    """Read a file into the system's cache, where it stays as long as there is memory for it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file, open(os.devnull, "wb") as nowhere:
        n_read, n_bytes = 0, path.stat().st_size
        while n_read < n_bytes and (n := os.sendfile(nowhere.fileno(), file.fileno(), n_read, n_bytes - n_read)):
            n_read += n


def _gpus(device: str, driver: Driver) -> Sequence[int]:
    if device == "cuda:all":
        return range(driver.count_gpus())
    return (int(device.partition(":")[2] or 0),)
