"""Whether the network volume answers. One that hangs would hold each process that looks at it for ever."""

from __future__ import annotations

import sys
from pathlib import Path

from f5_worker import process
from f5_worker.settings import VOLUME

ANSWER_S = 15.0
# A volume that is absent, or that only other users may read, is no fault: the steps of boot say what it means.
_LOOK = """
import os, sys
try:
    with os.scandir(sys.argv[1]) as entries:
        next(entries, None)
except (FileNotFoundError, NotADirectoryError, PermissionError):
    pass
except OSError as error:
    print(error.strerror)
    sys.exit(1)
"""


def volume_fault(volume: Path = VOLUME, limit_s: float = ANSWER_S) -> str | None:
    """Return why this machine cannot use its volume, or None if it can or has none.

    A child process looks at it: one that hangs in the kernel can be left behind.
    """
    done = process.run([sys.executable, "-I", "-S", "-c", _LOOK, volume], timeout_s=limit_s, cwd=Path("/"))
    if done.ok:
        return None
    return f"the network volume cannot be read: {done.last_line or done.ending}"
