"""Voices in a directory, most often on a network volume that many workers share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from f5_worker.errors import StorageFailed
from f5_worker.storage import files
from f5_worker.voices.store import FileStat, VoiceSource, too_large_error

# The errors of a file system without hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


@dataclass(frozen=True)
class DirectoryFile:
    """A listed file. Its facts are read only when asked for: over a network that takes about a millisecond each."""

    name: str
    path: str

    def stat(self) -> FileStat | None:
        """Return size and time of the file, None if it was deleted."""
        try:
            result = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _storage_error("read", error) from None
        return FileStat(result.st_size, result.st_mtime)


@dataclass(frozen=True)
class DirectoryStore:
    """Files in `directory`, which is created with the first one."""

    directory: Path
    source: VoiceSource = "directory"

    def within(self, folder: str) -> DirectoryStore:
        """Return the files in a directory below this one."""
        return replace(self, directory=self.directory / folder)

    def list(self, prefix: str = "") -> list[DirectoryFile]:
        """Return the files whose names begin with `prefix`; none if there is no directory."""
        with _as_storage_error("read"):
            try:
                with os.scandir(self.directory) as entries:
                    return [
                        DirectoryFile(entry.name, entry.path)
                        for entry in entries
                        if entry.name.startswith(prefix) and not entry.name.startswith(".") and entry.is_file()
                    ]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Read a file of at most `max_bytes`; return None if there is none."""
        with _as_storage_error("read"):
            try:
                with (self.directory / name).open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    if size > max_bytes:
                        raise too_large_error(size, max_bytes)
                    return file.read(max_bytes)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Write a file atomically; return False if there is one and it is not to be replaced."""
        path = self.directory / name
        with _as_storage_error("written"):
            self.directory.mkdir(parents=True, exist_ok=True)
            if not replace:
                return _create(path, data)
            files.write(path, data)
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete the files that are there, and old temporary files of killed processes."""
        with _as_storage_error("changed"):
            for name in names:
                (self.directory / name).unlink(missing_ok=True)
        files.sweep(self.directory)


def _create(path: Path, data: bytes) -> bool:
    """Create a file; return False if there is one.

    Of many workers that do so at the same time one succeeds: a link, unlike `os.replace`, never replaces a file.
    """
    temporary = files.temporary_beside(path)
    try:
        files.write(temporary, data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextmanager
def _as_storage_error(done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _storage_error(done, error) from None


def _storage_error(done: str, error: OSError) -> StorageFailed:
    return StorageFailed(
        f"the directory of voices cannot be {done}: {files.explain(error)}; "
        "the operator has to check the volume, or F5_VOICES_DIR"
    )
