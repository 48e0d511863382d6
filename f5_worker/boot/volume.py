"""Whether the network volume answers. One that hangs would hold each process that looks at it for ever."""

from __future__ import annotations

import sys
from pathlib import Path

from f5_worker import process
from f5_worker.settings import VOLUME

ANSWER_S = 15.0
MOUNTS = Path("/proc/self/mountinfo")
# A volume that only other users may read is no fault: the steps of boot say what it means.
_LOOK = """
import os, sys
try:
    with os.scandir(sys.argv[1]) as entries:
        next(entries, None)
except (NotADirectoryError, PermissionError):
    pass
except OSError as error:
    print(error.strerror)
    sys.exit(1)
"""


def volume_fault(volume: Path = VOLUME, limit_s: float = ANSWER_S) -> str | None:
    """Return why this machine cannot use its volume, or None if it can or none is mounted.

    A child process looks at it: one that hangs in the kernel can be left behind.
    """
    try:
        if f" {volume} " not in MOUNTS.read_text("utf-8", "replace"):
            return None
    except OSError:  # not Linux
        return None
    done = process.run([sys.executable, "-I", "-S", "-c", _LOOK, volume], timeout_s=limit_s, cwd=Path("/"))
    if done.ok:
        return None
    return f"the network volume cannot be read: {done.last_line or done.ending}"
