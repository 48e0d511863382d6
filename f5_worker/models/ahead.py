"""What a start on a GPU needs beside torch, done while torch is imported: the context, and reading the weights.

The import takes seconds and holds Python's lock for most of them; what is done here is done by calls of C, which do not
need it. Nothing relies on them: what could not be done, torch does later, and its errors say why.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from f5_worker.errors import ModelUnavailable
from f5_worker.log import logger, timed
from f5_worker.models.config import find_model
from f5_worker.models.cuda.driver import Driver
from f5_worker.settings import Settings

Pinned = ctypes.Array[ctypes.c_ubyte]

FILES = ("model.safetensors", "vocoder.safetensors")

_files: dict[Path, Future[Pinned | None]] = {}


def begin(settings: Settings, open_driver: Callable[[], Driver] = Driver) -> dict[str, float]:
    """Open the contexts of the GPUs that the settings name, and read the model's files, in a thread.

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
    files = {directory / name: Future[Pinned | None]() for name in FILES}
    _files.update(files)

    def work() -> None:
        try:
            with timed(phases_ms, "context"):
                driver = open_driver()
                for number in _gpus(settings.device, driver):
                    driver.open_context(number)
            with timed(phases_ms, "read_ahead"):
                read = [_read(path, driver) for path in files]
            for file, memory in zip(files.values(), read, strict=True):
                file.set_result(memory)
        except (OSError, AttributeError) as error:  # no driver, no GPU, no room, no file; or a driver that lacks a call
            logger.debug("the weights are not read ahead: %s", error)
        finally:
            for file in files.values():
                if not file.done():
                    file.set_result(None)

    threading.Thread(target=work, name="ahead", daemon=True).start()
    return phases_ms


def take(path: Path) -> Pinned | None:
    """Return the content of a file that is being read ahead, once; None for any other."""
    file = _files.pop(path, None)
    return None if file is None else file.result()


def _gpus(device: str, driver: Driver) -> Sequence[int]:
    if device == "cuda:all":
        return range(driver.count_gpus())
    return (int(device.partition(":")[2] or 0),)


def _read(path: Path, driver: Driver) -> Pinned | None:
    """Return a file's content; None if it ends early."""
    n_bytes, n_read = path.stat().st_size, 0
    memory = driver.allocate_pinned(n_bytes)
    with path.open("rb", buffering=0) as file, memoryview(memory).cast("B") as view:
        while n := file.readinto(view[n_read:]):
            n_read += n
    return memory if n_read == n_bytes else None
