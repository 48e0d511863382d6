"""PyTorch's checkpoint files, read by an interpreter of their pickles instead of torch.

Layout of torch 1.6 and later, a zip without compression: NAME/data.pkl, NAME/data/0, NAME/data/1, ..., NAME/byteorder.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from f5_worker.models.pickled.torch_legacy import MAGIC, LegacyReader
from f5_worker.models.pickled.torch_pickle import CheckpointRefused, Storage, StoredTensor, interpret

if TYPE_CHECKING:
    from torch import Tensor

MAX_PICKLE_BYTES = 4 << 20  # a training checkpoint of F5-TTS has less than one
MAX_ENTRIES = 50_000
MAX_READ_BYTES = 16 << 20  # at a time; the directory of that many entries is smaller
MAX_GROWTH = 2  # times the file's size: what all tensors may take, so that views of few elements cannot fill the memory

_HEADER_BYTES = 30  # of a zip entry, at least, without its name
_ENCRYPTED = 1  # a flag of zip entries


class _BoundedFile(io.BufferedReader):
    """A file that refuses to read much at once: zipfile would read a directory of any size that is stated."""

    def read(self, size: int | None = -1, /) -> bytes:
        n_bytes = MAX_READ_BYTES + 1 if size is None or not 0 <= size <= MAX_READ_BYTES else size
        data = super().read(n_bytes)
        if len(data) > MAX_READ_BYTES:
            raise zipfile.BadZipFile("its directory is too large")
        return data


class TorchFile:
    """A checkpoint, open for reading.

    Raises:
        CheckpointRefused: it is in another format, damaged, or holds something else than weights.
    """

    def __init__(self, path: Path) -> None:
        self._n_bytes = path.stat().st_size
        with ExitStack() as opened:
            file = opened.enter_context(_BoundedFile(io.FileIO(path)))
            is_legacy = file.read(len(MAGIC)) == MAGIC
            self._reader = (LegacyReader if is_legacy else _ZipReader)(file, self._n_bytes)
            self._opened = opened.pop_all()

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    def tensors(self, nested_as: Sequence[str] = ()) -> dict[str, StoredTensor]:
        """Return the tensors by name.

        Args:
            nested_as: names under which a training checkpoint may have them, the preferred one first.
        """
        content = self._reader.content
        if isinstance(content, dict):
            content = next((content[name] for name in nested_as if name in content), content)
        if not isinstance(content, dict):
            raise CheckpointRefused("does not hold named tensors")
        found = {str(name): value for name, value in content.items() if isinstance(value, StoredTensor)}
        if sum(tensor.n_bytes for tensor in found.values()) > MAX_GROWTH * self._n_bytes:
            raise CheckpointRefused(f"has tensors that take more than {MAX_GROWTH} times its {self._n_bytes:,} bytes")
        return found

    def read(self, storage: Storage) -> bytearray:
        """Return the elements of a storage, little-endian."""
        return self._reader.read(storage)


def load_tensors(path: Path, nested_as: Sequence[str] = ()) -> dict[str, Tensor]:
    """Load the tensors of a checkpoint as views of their storages; those of other tensors are not read.

    Args:
        nested_as: as in `TorchFile.tensors`.

    Raises:
        CheckpointRefused: as those of `TorchFile`.
    """
    import torch

    storages: dict[str, bytearray] = {}
    tensors = {}
    with TorchFile(path) as file:
        for name, stored in file.tensors(nested_as).items():
            storage, dtype = stored.storage, getattr(torch, stored.storage.dtype)
            if not storage.n_elements:  # frombuffer refuses empty ones
                tensors[name] = torch.empty(stored.shape, dtype=dtype)
                continue
            if storage.key not in storages:
                storages[storage.key] = file.read(storage)
            elements = torch.frombuffer(storages[storage.key], dtype=dtype)
            tensors[name] = elements.as_strided(stored.shape, stored.strides, stored.offset)
    return tensors


class _ZipReader:
    """The content of a checkpoint of torch 1.6 or later, and the elements of its storages."""

    def __init__(self, file: _BoundedFile, n_bytes: int) -> None:
        self._archive = _open_archive(file)
        self._entries = _checked_entries(self._archive, n_bytes)
        if "byteorder" in self._entries and self._read(self._entries["byteorder"], 16) != b"little":
            raise CheckpointRefused("has numbers in big-endian order")
        self.content = interpret(self._read(self._entry("data.pkl"), MAX_PICKLE_BYTES))

    def read(self, storage: Storage) -> bytearray:
        """Return the elements of a storage, little-endian."""
        expected = storage.n_elements * storage.item_bytes
        entry = self._entry(f"data/{storage.key}")
        if entry.file_size != expected:
            raise CheckpointRefused(f"has {entry.file_size:,} bytes of a storage of {expected:,}")
        return self._read(entry, expected)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._entries[name]
        except KeyError:
            raise CheckpointRefused(f"lacks an entry that it names ({len(self._entries):,} are there)") from None

    def _read(self, entry: zipfile.ZipInfo, max_bytes: int) -> bytearray:
        """Return an entry's content; its checksum is compared."""
        if entry.file_size > max_bytes or entry.file_size != entry.compress_size:
            raise CheckpointRefused(f"has an entry of {entry.file_size:,} bytes where at most {max_bytes:,} can be")
        content = bytearray(entry.file_size)
        rest = memoryview(content)
        try:
            with self._archive.open(entry) as file:
                while rest:
                    part = file.read(min(len(rest), MAX_READ_BYTES))
                    if not part:
                        raise CheckpointRefused("is cut off")
                    rest[: len(part)] = part
                    rest = rest[len(part) :]
        except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
            raise CheckpointRefused(f"is damaged ({error})") from None
        return content


def _open_archive(file: _BoundedFile) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise CheckpointRefused("is not a PyTorch checkpoint, or is damaged") from None


def _checked_entries(archive: zipfile.ZipFile, n_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name, without the name of the directory that all are in.

    No two may share a name or bytes, and none may be compressed: an archive cannot then describe more than it has.
    """
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    pickles = [entry.filename for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or len(entries) > MAX_ENTRIES:
        raise CheckpointRefused(f"has {len(entries):,} entries, and {len(pickles)} named data.pkl instead of one")
    end = 0
    for entry in entries:
        if entry.header_offset < end or entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
            raise CheckpointRefused("has entries that overlap, or are compressed or encrypted")
        end = entry.header_offset + _HEADER_BYTES + len(entry.filename) + entry.compress_size
    prefix = pickles[0].removesuffix("data.pkl")
    by_name = {entry.filename.removeprefix(prefix): entry for entry in entries}
    if end > n_bytes or len(by_name) != len(entries):
        raise CheckpointRefused("is cut off, or has two entries of one name")
    return by_name
