"""A directory that many workers share, maybe over a network: whole files, dated notes, a polite queue.

Correctness rests on `os.replace` and checksums alone. The lease only saves work: with it one worker downloads
or builds while the others wait a while; without it all do, and the last one's file stays.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
TEMPORARY = ".part"
STALE_LEASE_S = 30.0  # longer than a living download can be silent
STALE_TEMPORARY_S = 6 * 3600.0


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
    return digest.hexdigest()


def temporary_beside(path: Path) -> Path:
    """A name that no other process uses, in the directory where `os.replace` is atomic."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")


def write(path: Path, data: bytes) -> None:
    """The whole file or none of it."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Gone in one step for whoever looks, then deleted at leisure; raises OSError where it has to stay."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = temporary_beside(path)
    with suppress(FileNotFoundError):
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def make_usable(directory: Path) -> None:
    """Make the directory and try to write there; OSError where that fails."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"?")


def sweep(directory: Path, older_s: float = STALE_TEMPORARY_S) -> None:
    """Delete what killed processes left behind."""
    with suppress(OSError):
        for path in directory.iterdir():
            if path.name.startswith(".") and path.name.endswith(TEMPORARY) and age_s(path) > older_s:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def explain(error: OSError) -> str:
    """A fault of the disk, without its path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the disk"
    return os.strerror(error.errno) if error.errno else str(error)


# -- sums: what a file that was complete once has to be ------------------------------------------------


def note_sum(temporary: Path, target: Path) -> None:
    """Note a finished file's sha256 beside `target`, where it is about to be moved."""
    write(target.with_name(target.name + ".sha256"), f"{sha256_of(temporary)}  {target.name}\n".encode())


def intact(path: Path, sha256: str | None) -> bool:
    """Whether a cached file is what was published or, where nothing is, what was noted when it was made."""
    try:
        expected = sha256 or path.with_name(path.name + ".sha256").read_text("ascii").split()[0]
        return sha256_of(path) == expected
    except (OSError, ValueError, IndexError):
        return False


# -- notes: what need not be tried again for a while ---------------------------------------------------


@dataclass(frozen=True)
class Notes:
    """Reasons with an expiry, one small file each; a note that cannot be read or written is none."""

    directory: Path

    def get(self, name: str) -> str | None:
        try:
            note = json.loads(self._path(name).read_text("utf-8"))
            reason, until = str(note["reason"]), float(note["until"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return reason if time.time() < until else None

    def put(self, name: str, reason: str, ttl_s: float) -> None:
        note = {"reason": reason, "until": round(time.time() + ttl_s)}
        with suppress(OSError):
            write(self._path(name), json.dumps(note).encode())

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.note"


# -- lease ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lease:
    """Held or not; the holder says now and then that it lives."""

    path: Path
    held: bool

    def heartbeat(self) -> None:
        if self.held:
            with suppress(OSError):
                os.utime(self.path)


@contextmanager
def lease(path: Path, *, wait_s: float, done: Callable[[], bool] = lambda: False) -> Iterator[Lease]:
    """Wait for one's turn, for `done()`, or for the time to be over; then go ahead, with the lease or without.

    A file made with O_EXCL, not flock, which some network file systems have and do not honour.
    """
    deadline = time.monotonic() + wait_s
    held = _take(path)
    while not held and not done() and time.monotonic() < deadline:
        if _abandoned(path):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        else:
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
        held = _take(path)
    try:
        yield Lease(path, held)
    finally:
        if held:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    try:
        with path.open("x") as file:
            file.write(f"{platform.node()} {os.getpid()}")
    except OSError:
        return False
    return True


def _abandoned(path: Path) -> bool:
    """No sign of life for a while; at once, if it is of this host and its process is gone (or is this one)."""
    if age_s(path) > STALE_LEASE_S:
        return True
    try:
        host, pid = path.read_text("utf-8").split()
    except (OSError, ValueError):
        return False
    if host != platform.node() or not pid.isdigit():
        return False
    # A container that was started anew has its old host name, and the same process id 1.
    return int(pid) == os.getpid() or not Path("/proc", pid).exists()
