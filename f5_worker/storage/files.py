"""Files in a directory that many workers share, maybe over a network: atomic writes, checksums, expiring notes, leases.

Correctness rests on `os.replace` and checksums alone. The lease only saves work: with it, one worker downloads
or builds while the others wait for a limited time; without it, all of them do, and the last one's file stays.
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
STALE_LEASE_S = 30.0  # longer than a running download can go without a heartbeat
STALE_TEMPORARY_S = 6 * 3600.0


def temporary_directory() -> Path:
    """Return the container's directory for temporary files; shared memory where the root is read-only."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # `docker run --read-only`
        return Path("/dev/shm")  # noqa: S108


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
    return digest.hexdigest()


def temporary_beside(path: Path) -> Path:
    """Return a path that no other process uses, in the directory of `path`, where `os.replace` is atomic."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside; what the block writes there becomes the file, unless the block fails."""
    temporary = temporary_beside(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file atomically: other processes see all of it or nothing."""
    with replacing(path) as temporary, temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_tree(path: Path) -> None:
    """Remove a directory or file: it disappears under its name in one step and is deleted after that.

    Raises:
        OSError: it cannot be moved or deleted.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    aside = temporary_beside(path)
    with suppress(FileNotFoundError):
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def ensure_writable(directory: Path) -> None:
    """Create the directory and write to it once.

    Raises:
        OSError: the directory cannot be created or written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"?")


def sweep(directory: Path, older_s: float = STALE_TEMPORARY_S) -> None:
    """Delete the temporary files and directories that killed processes left, if they are older than `older_s`."""
    with suppress(OSError):
        for path in directory.iterdir():
            if path.name.startswith(".") and path.name.endswith(TEMPORARY) and age_s(path) > older_s:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def age_s(path: Path) -> float:
    """Return the time since the last change of a file; 0 if the file cannot be read."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def free_bytes(directory: Path) -> int:
    """Return the free space of the disk that a directory is on."""
    return shutil.disk_usage(directory).free


def explain(error: OSError) -> str:
    """Return a one-line description of a disk error, without the path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left on the disk"
    return os.strerror(error.errno) if error.errno else str(error)


def write_checksum(temporary: Path, target: Path) -> None:
    """Write the sha256 of a finished file to `target`'s `.sha256` file, before the file is moved to `target`."""
    write(target.with_name(target.name + ".sha256"), f"{sha256_of(temporary)}  {target.name}\n".encode())


def is_intact(path: Path, sha256: str | None) -> bool:
    """Return whether a cached file has the published sha256 or, if `sha256` is None, the one in its `.sha256` file."""
    try:
        expected = sha256 or path.with_name(path.name + ".sha256").read_text("ascii").split()[0]
        return sha256_of(path) == expected
    except (OSError, ValueError, IndexError):
        return False


@dataclass(frozen=True)
class ExpiringNotes:
    """Reasons not to try something again for some time, one small file each.

    A note that cannot be read counts as absent; one that cannot be written is left out.
    """

    directory: Path

    def get(self, name: str) -> str | None:
        """Return the reason, or None if there is no note of that name or it has expired."""
        try:
            note = json.loads(self._path(name).read_text("utf-8"))
            reason, until = str(note["reason"]), float(note["until"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return reason if time.time() < until else None

    def put(self, name: str, reason: str, ttl_s: float) -> None:
        """Write a note that expires after `ttl_s` seconds."""
        note = {"reason": reason, "until": round(time.time() + ttl_s)}
        with suppress(OSError):
            write(self._path(name), json.dumps(note).encode())

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.note"


@dataclass(frozen=True)
class Lease:
    """A lock file with an expiry. `held` is false where the wait ended without getting it."""

    path: Path
    held: bool

    def heartbeat(self) -> None:
        """Renew the lease, if it is held; the holder calls this more often than every `STALE_LEASE_S` seconds."""
        if self.held:
            with suppress(OSError):
                os.utime(self.path)


@contextmanager
def lease(path: Path, *, wait_s: float, done: Callable[[], bool] = lambda: False) -> Iterator[Lease]:
    """Wait for the lease, for `done()`, or for the end of `wait_s`; then enter the block, with or without the lease.

    The lease is a file created with O_EXCL. flock is not used: some network file systems accept it without effect.
    """
    deadline = time.monotonic() + wait_s
    held = _acquire(path)
    while not held and not done() and time.monotonic() < deadline:
        if _is_abandoned(path):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        else:
            time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
        held = _acquire(path)
    try:
        yield Lease(path, held)
    finally:
        if held:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _acquire(path: Path) -> bool:
    try:
        with path.open("x") as file:
            file.write(f"{platform.node()} {os.getpid()}")
    except OSError:
        return False
    return True


def _is_abandoned(path: Path) -> bool:
    """Return whether a lease has not been renewed for `STALE_LEASE_S`, or its process has ended.

    The process can be checked only if it ran on this host. A lease with this process' own id is abandoned too.
    """
    if age_s(path) > STALE_LEASE_S:
        return True
    try:
        host, pid = path.read_text("utf-8").split()
    except (OSError, ValueError):
        return False
    if host != platform.node() or not pid.isdigit():
        return False
    # A restarted container keeps its host name, and its process id is 1 again.
    return int(pid) == os.getpid() or not Path("/proc", pid).exists()
