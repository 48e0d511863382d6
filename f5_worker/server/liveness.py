"""A sign of life for the image's HEALTHCHECK: a file that each device's thread writes between two steps of the model.

A GPU that hangs leaves the file to age. As a program this exits with 0 if the file is recent; it loads nothing heavy.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from f5_worker.log import logger
from f5_worker.storage.files import temporary_directory

if TYPE_CHECKING:
    from f5_worker.engine.engine import Engine

EVERY_S = 10.0
STALE_S = 300.0  # a step of the longest batch on a slow CPU takes a minute
FILE_NAME = "f5-worker-alive"


def path() -> Path:
    """Return the file, on the container's disk."""
    return temporary_directory() / FILE_NAME


def forget() -> None:
    """Remove the file of an earlier start of this container, which is not ready again before it is loaded."""
    with suppress(OSError):
        path().unlink(missing_ok=True)


def start(engines: Sequence[Engine], every_s: float = EVERY_S) -> threading.Thread:
    """Write the file now and then between two steps of each device, until the engines are closed; return the thread."""

    def work() -> None:
        while True:
            try:
                for engine in engines:  # one that hangs keeps the others from writing
                    engine.run(path().touch)
            except RuntimeError:  # closed
                return
            except OSError as error:
                logger.warning("the container's health cannot be told: %s", error.strerror)
                return
            time.sleep(every_s)

    thread = threading.Thread(target=work, name="liveness", daemon=True)
    thread.start()
    return thread


def problem() -> str | None:
    """Return why the worker of this container counts as unhealthy, or None."""
    try:
        age_s = time.time() - path().stat().st_mtime
    except FileNotFoundError:
        return "the worker is not ready"
    return None if age_s < STALE_S else f"the device has not answered for {age_s:.0f} s"


if __name__ == "__main__":
    sys.exit(problem())
