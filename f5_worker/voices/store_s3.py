"""Voices under a prefix of an S3 bucket, such as `voices/`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from f5_worker.audio.formats import INPUT_CONTAINERS
from f5_worker.storage.s3 import Bucket, StoredObject, key_prefix
from f5_worker.voices.naming import extension
from f5_worker.voices.store import FileStat, VoiceSource

# By extension of the files that are written; browsers and players that open a bucket use it.
CONTENT_TYPES = {
    **{container.extension: container.mime for container in INPUT_CONTAINERS.values()},
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "npy": "application/octet-stream",
}


@dataclass(frozen=True)
class BucketFile:
    """A listed object; its listing has its size and time."""

    name: str
    stored: StoredObject

    def stat(self) -> FileStat:
        """Return size and time as they were listed."""
        return FileStat(self.stored.size_bytes, self.stored.modified.timestamp())


class BucketStore:
    """Voices as objects `<prefix><name>`."""

    source: VoiceSource = "bucket"

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = key_prefix(prefix)

    def within(self, folder: str) -> BucketStore:
        """Return the objects below a longer prefix."""
        return BucketStore(self._bucket, self._prefix + folder)

    def list(self, prefix: str = "") -> Sequence[BucketFile]:
        """Return the objects whose names begin with `prefix`, without hidden ones and those in subdirectories."""
        listed = self._bucket.list(self._prefix + prefix, flat=True)
        files = (BucketFile(stored.key[len(self._prefix) :], stored) for stored in listed)
        return [file for file in files if file.name and "/" not in file.name and not file.name.startswith(".")]

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Read an object of at most `max_bytes`; return None if there is none."""
        return self._bucket.get(self._prefix + name, max_bytes)

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Write an object; return False if there is one and it is not to be replaced.

        Of workers that add one new voice at the same instant the last one's stays: few servers can refuse.
        """
        key = self._prefix + name
        if not replace and self._bucket.head(key) is not None:
            return False
        self._bucket.put(key, data, CONTENT_TYPES[extension(name)])
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete the objects that are there."""
        self._bucket.delete(self._prefix + name for name in names)
