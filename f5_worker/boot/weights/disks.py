"""What is said about the disks that copies of weights are written to: free and needed bytes, and faults."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from f5_worker.storage import files

RESERVE_BYTES = 64 << 20  # left free on every disk


def space_problem(directory: Path, needed_bytes: int) -> str | None:
    """Return why a directory cannot take a copy of that size, or None if it can. Changes nothing.

    Measured at the nearest existing parent; a disk that does not answer is a problem like any other.
    """
    parents: Iterable[Path] = [directory, *directory.parents]
    try:
        existing = next(path for path in parents if path.is_dir())
        disk = os.statvfs(existing)
    except (OSError, StopIteration) as error:
        reason = files.explain(error) if isinstance(error, OSError) else "does not exist"
        return f"{directory}: {reason}"
    free = disk.f_bavail * disk.f_frsize
    if disk.f_flag & os.ST_RDONLY or not os.access(existing, os.W_OK | os.X_OK):
        return f"{directory}: cannot be written to"
    if free < needed_bytes + RESERVE_BYTES:
        return f"{directory}: {in_bytes(free)} free, {in_bytes(needed_bytes + RESERVE_BYTES)} needed"
    return None


def disk_problem(place: Path, error: OSError, needed: int) -> str:
    """Return what an error of a disk means for a copy that is made there."""
    try:
        free = in_bytes(files.free_bytes(place))
    except OSError:
        free = "unknown"
    return f"{place}: {files.explain(error)} ({free} free, {in_bytes(needed)} needed)"


def in_bytes(n_bytes: int) -> str:
    """Return a size as text: `1,234 bytes`."""
    return f"{n_bytes:,} bytes"
