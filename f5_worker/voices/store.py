"""The interface of the places where voices are kept: whole files in one directory or under one prefix of a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from f5_worker.errors import ReferenceTooLarge
from f5_worker.settings import variable

VoiceSource = Literal["directory", "bucket", "model"]


@dataclass(frozen=True)
class FileStat:
    """Size and time of a file; `modified_s` is Unix time by the store's clock."""

    size_bytes: int
    modified_s: float


class StoredFile(Protocol):
    """A file that was there when it was listed."""

    @property
    def name(self) -> str:
        """Return the file's name, without directory or prefix."""

    def stat(self) -> FileStat | None:
        """Return size and time, None if the file was deleted. Sends no request to a bucket: its listing has both."""


class Store(Protocol):
    """A place where voices are kept.

    Each file is whole or not there, and all workers see at once what `write` and `delete` have done. All methods raise
    StorageFailed, with a message for the caller, where the disk or the bucket fails.
    """

    @property
    def source(self) -> VoiceSource:
        """Return the kind of the place, as callers see it."""

    def within(self, folder: str) -> Store:
        """Return the place in a directory below this one."""

    def list(self, prefix: str = "") -> Sequence[StoredFile]:
        """Return the files whose names begin with `prefix`, without hidden ones and those in subdirectories."""

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Read a file; return None if there is none.

        Raises:
            ReferenceTooLarge, StorageFailed: it has more than `max_bytes`.
        """

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Write a file; do nothing and return False if there is one and it is not to be replaced."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete the files that are there."""


def too_large_error(size_bytes: int, max_bytes: int) -> ReferenceTooLarge:
    """Return the error for a file that is larger than what may be read."""
    return ReferenceTooLarge(
        f"a file of this voice has {size_bytes} bytes, at most {max_bytes} are read; use a shorter or compressed "
        f"clip, or raise {variable('reference_max_bytes')} if it is the clip"
    )
