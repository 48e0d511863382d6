"""Directories that are filled beside their target and moved there when complete, and those that killed processes left.

The process that fills a directory locks it (flock); the kernel drops the lock with the process, however it ends, and
every container on the machine sees it. Network file systems may keep locks to one host or container, so there a
directory is left behind when it was not renewed for STALE_S.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from f5_worker.storage import files

SUFFIX = ".staging"
STALE_S = 600.0  # a step without a heartbeat, such as the checksums of 2 GB on a slow volume, takes minutes
MIN_AGE_S = 2.0  # between the creation of a directory and its lock
MOUNTS = Path("/proc/self/mountinfo")
LOCAL_FILE_SYSTEMS = frozenset("btrfs ext2 ext3 ext4 f2fs overlay tmpfs xfs zfs".split())


@dataclass(frozen=True)
class StagingDirectory:
    """A directory that this process fills. `on_heartbeat` is called with each heartbeat."""

    path: Path
    on_heartbeat: Callable[[], None]

    def heartbeat(self) -> None:
        """Renew the directory; called more often than every `STALE_S` seconds."""
        self.on_heartbeat()
        with suppress(OSError):
            os.utime(self.path)


@contextmanager
def staging_directory(target: Path, on_heartbeat: Callable[[], None] = lambda: None) -> Iterator[StagingDirectory]:
    """Create a directory beside `target`; remove at the end of the block what was not moved away.

    Raises:
        OSError: it cannot be created.
    """
    path = target.with_name(f".{target.name}.{secrets.token_hex(6)}{SUFFIX}")
    path.mkdir(parents=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield StagingDirectory(path, on_heartbeat)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def sweep(directory: Path) -> None:
    """Delete what killed processes left in a directory, temporary files of `files` included."""
    files.sweep(directory)
    with suppress(OSError):
        for path in directory.glob(f".*{SUFFIX}"):
            if _is_left_behind(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_left_behind(path: Path) -> bool:
    age_s = files.age_s(path)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        is_free = _lock(descriptor)
    finally:
        os.close(descriptor)
    return is_free and age_s > (MIN_AGE_S if _has_reliable_locks(path) else STALE_S)


def _lock(descriptor: int) -> bool:
    """Lock a file that is open, and return False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _has_reliable_locks(path: Path) -> bool:
    """Return whether a path is on a file system of this machine's own, where every process sees every lock."""
    try:
        device = path.stat().st_dev
        mounts = MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == number}
    return bool(kinds) and kinds <= LOCAL_FILE_SYSTEMS
