"""Voices under a prefix of an S3 bucket, such as `voices/`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from f5_worker.storage.s3 import Bucket, Stored
from f5_worker.voices.naming import extension
from f5_worker.voices.store import FileStat, VoiceSource

# Of the files that are written; browsers and players that open a bucket go by it.
CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aiff": "audio/aiff",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "webm": "audio/webm",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "npy": "application/octet-stream",
}


@dataclass(frozen=True)
class BucketFile:
    """As it was listed."""

    name: str
    stored: Stored

    def facts(self) -> FileStat:
        return FileStat(self.stored.size_bytes, self.stored.modified.timestamp())


class BucketStore:
    """Objects `<prefix><name>`."""

    source: VoiceSource = "bucket"

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")

    def list(self, prefix: str = "") -> Sequence[BucketFile]:
        found = self._bucket.list(self._prefix + prefix)
        files = (BucketFile(stored.key[len(self._prefix) :], stored) for stored in found)
        return [file for file in files if file.name and "/" not in file.name and not file.name.startswith(".")]

    def read(self, name: str, max_bytes: int) -> bytes | None:
        return self._bucket.get(self._prefix + name, max_bytes)

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Of workers that add one new voice in the same instant the last one's stays: few servers can refuse."""
        key = self._prefix + name
        if not replace and self._bucket.head(key) is not None:
            return False
        self._bucket.put(key, data, CONTENT_TYPES[extension(name)])
        return True

    def delete(self, names: Iterable[str]) -> None:
        self._bucket.delete(self._prefix + name for name in names)
