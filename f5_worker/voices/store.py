"""Where voices are kept: whole files under plain names, in one directory or under one prefix of a bucket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from f5_worker.errors import ReferenceTooLarge
from f5_worker.settings import variable

VoiceSource = Literal["directory", "bucket", "model"]


@dataclass(frozen=True)
class FileStat:
    """Of a file; `modified_s` is Unix time by the store's clock."""

    size_bytes: int
    modified_s: float


class StoredFile(Protocol):
    """A file that was there when it was listed."""

    @property
    def name(self) -> str: ...

    def facts(self) -> FileStat | None:
        """None if it is gone. Asks no bucket: its listing has told."""


class Store(Protocol):
    """All methods raise StorageFailed, in words for the caller, where the disk or the bucket does not do its part.

    Each file is whole or not there, and what `write` and `delete` have done is seen by all workers at once.
    """

    @property
    def source(self) -> VoiceSource: ...

    def list(self, prefix: str = "") -> Sequence[StoredFile]:
        """The files whose names begin so; hidden ones and those in directories below are left out."""

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """None if there is none. Beyond `max_bytes`: ReferenceTooLarge or StorageFailed."""

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """False, and nothing is done, if there is one that is not to be replaced."""

    def delete(self, names: Iterable[str]) -> None:
        """Those that are there."""


def too_large(size_bytes: int, max_bytes: int) -> ReferenceTooLarge:
    return ReferenceTooLarge(
        f"a file of this voice has {size_bytes} bytes, at most {max_bytes} are read; use a shorter or compressed "
        f"clip, or raise {variable('reference_max_bytes')} if it is the clip"
    )
