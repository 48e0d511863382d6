"""A directory of voices, most often on a network volume that many workers share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from f5_worker.errors import StorageFailed
from f5_worker.storage import files as cache
from f5_worker.voices.store import FileStat, VoiceSource, too_large

# What a file system without hard links answers.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


@dataclass(frozen=True)
class DirectoryFile:
    """Looked at only when asked: over a network each look takes about a millisecond."""

    name: str
    path: str

    def facts(self) -> FileStat | None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read", error) from None
        return FileStat(found.st_size, found.st_mtime)


@dataclass(frozen=True)
class DirectoryStore:
    """Files in `directory`, which is made when the first one is written."""

    directory: Path
    source: VoiceSource = "directory"

    def list(self, prefix: str = "") -> list[DirectoryFile]:
        with _in_words("read"):
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
        with _in_words("read"):
            try:
                with (self.directory / name).open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    if size > max_bytes:
                        raise too_large(size, max_bytes)
                    return file.read(max_bytes)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        path = self.directory / name
        with _in_words("written"):
            self.directory.mkdir(parents=True, exist_ok=True)
            if not replace:
                return _create(path, data)
            cache.write(path, data)
        return True

    def delete(self, names: Iterable[str]) -> None:
        with _in_words("changed"):
            for name in names:
                (self.directory / name).unlink(missing_ok=True)
        cache.sweep(self.directory)


def _create(path: Path, data: bytes) -> bool:
    """Of many who create one file at the same time one does: a link, unlike `os.replace`, takes no other's place."""
    aside = cache.temporary_beside(path)
    try:
        cache.write(aside, data)
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return True


@contextmanager
def _in_words(done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(done, error) from None


def _failed(done: str, error: OSError) -> StorageFailed:
    return StorageFailed(
        f"the directory of voices cannot be {done}: {cache.explain(error)}; "
        "the operator has to look at the volume, or at F5_VOICES_DIR"
    )
