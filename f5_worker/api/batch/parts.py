"""The places that keep the finished items of batches: a directory that workers share, or a bucket.

An item is a file, whole or not there, that any worker may write at any time: all of one name are equally good.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Protocol, TypeVar

from f5_worker.errors import InvalidInput, StorageFailed
from f5_worker.settings import VOLUME, Settings
from f5_worker.storage import files
from f5_worker.storage.s3 import Bucket, key_prefix

T = TypeVar("T")

FOLDER = "f5-parts"
MAX_PART_BYTES = 1_000_000_000
SWEEP_S = 1.0  # of a batch's time
_CONTENT_TYPE = "application/octet-stream"


class Parts(Protocol):
    """A place that keeps parts. All methods raise StorageFailed where the disk or the bucket fails."""

    def read(self, name: str) -> bytes | None:
        """Return a part; None if it is not there."""

    def write(self, name: str, data: bytes) -> None:
        """Write a part; one of that name is replaced."""

    def remove_old(self, older_s: float, begins: str) -> None:
        """Remove parts that were written longer ago, of folders whose names begin so."""


@dataclass(frozen=True)
class DirectoryParts:
    """Parts in a directory, most often on a network volume."""

    directory: Path

    def read(self, name: str) -> bytes | None:
        """Return a part; None if it is not there."""
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read", error) from None

    def write(self, name: str, data: bytes) -> None:
        """Write a part; one of that name is replaced."""
        path = self.directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, data)
        except OSError as error:
            raise _failed("written", error) from None

    def remove_old(self, older_s: float, begins: str) -> None:
        """Remove parts that were written longer ago, and folders that are empty since, as long as SWEEP_S allows."""
        try:
            for path in _in_time(self.directory.glob(f"{begins}*/*")):
                if files.age_s(path) > older_s:
                    path.unlink(missing_ok=True)
            for folder in self.directory.glob(f"{begins}*"):
                if files.age_s(folder) > older_s:
                    with suppress(OSError):  # it is not empty
                        folder.rmdir()
        except OSError as error:
            raise _failed("changed", error) from None


class BucketParts:
    """Parts as objects `<prefix>f5-parts/<name>`."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, f"{key_prefix(prefix)}{FOLDER}/"

    def read(self, name: str) -> bytes | None:
        """Return a part; None if it is not there."""
        return self._bucket.get(self._prefix + name, MAX_PART_BYTES)

    def write(self, name: str, data: bytes) -> None:
        """Write a part; one of that name is replaced."""
        self._bucket.put(self._prefix + name, data, _CONTENT_TYPE)

    def remove_old(self, older_s: float, begins: str) -> None:
        """Remove parts that were written longer ago, as long as SWEEP_S allows."""
        before = time.time() - older_s
        for stored in _in_time(self._bucket.list(self._prefix + begins)):
            if stored.modified.timestamp() < before:
                self._bucket.delete([stored.key])


def open_parts(settings: Settings, own: Bucket | None, bucket: Bucket | None, volume: Path = VOLUME) -> Parts:
    """Return the place of a job's parts: F5_RESUME_DIR, the job's own bucket, the worker's, or a mounted volume.

    Raises:
        InvalidInput: there is none of them.
    """
    if own is not None:
        return BucketParts(own, "")
    if settings.resume_dir is not None:
        return DirectoryParts(settings.resume_dir)
    if bucket is not None:
        return BucketParts(bucket, settings.s3_prefix)
    if os.path.ismount(volume):
        return DirectoryParts(volume / FOLDER)
    raise InvalidInput(
        "resume_key is given, but this worker has no place where finished items outlive it; leave it out, send a "
        "bucket with the job, or ask the operator for a bucket, a network volume or F5_RESUME_DIR"
    )


def sweep(parts: Parts, settings: Settings) -> None:
    """Remove some of the parts that are older than F5_RESUME_DAYS: in the course of many batches, all.

    Raises:
        StorageFailed: the disk or the bucket fails.
    """
    parts.remove_old(settings.resume_days * 86_400, secrets.choice("0123456789abcdef"))


def _in_time(items: Iterator[T]) -> Iterator[T]:
    until = time.monotonic() + SWEEP_S
    return takewhile(lambda item: time.monotonic() < until, items)


def _failed(done: str, error: OSError) -> StorageFailed:
    return StorageFailed(
        f"the directory of finished items cannot be {done}: {files.explain(error)}; "
        "the operator has to check the volume, or F5_RESUME_DIR"
    )
