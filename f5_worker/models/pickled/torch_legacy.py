"""PyTorch's checkpoint files of torch before 1.6, read without torch: pickles, then the elements of each storage.

Layout: a magic number, a version, facts of the writer, the content and the storages' names, a pickle each; then of each
storage in that order the number of its elements as int64, and the elements.
"""

from __future__ import annotations

import io
import struct

from f5_worker.models.pickled.torch_pickle import CheckpointRefused, Storage, interpret

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # the whole first pickle: a number
VERSION = 1001
MAX_PICKLES_BYTES = 4 << 20  # all five; those of a training checkpoint of F5-TTS have less than one

_COUNT = struct.Struct("<q")


class LegacyReader:
    """The content of a checkpoint, and the elements of its storages.

    Raises:
        CheckpointRefused: it is damaged, or holds something else than weights.
    """

    def __init__(self, file: io.BufferedReader, n_bytes: int) -> None:
        self._file = file
        file.seek(len(MAGIC))
        pickles = io.BytesIO(file.read(MAX_PICKLES_BYTES))
        storages: dict[str, Storage] = {}
        version, writer = interpret(pickles), interpret(pickles)
        if version != VERSION or type(writer) is not dict or writer.get("little_endian") is not True:
            raise CheckpointRefused("has numbers in big-endian order, or is of an unknown version")
        self.content = interpret(pickles, storages)
        names = interpret(pickles)
        are_names = type(names) is list and all(type(name) is str for name in names)
        if not are_names or sorted(names) != sorted(storages):
            raise CheckpointRefused("has other storages than it names")
        self._positions: dict[str, int] = {}
        position = len(MAGIC) + pickles.tell()
        for name in names:
            self._positions[name] = position
            position += _COUNT.size + storages[name].n_elements * storages[name].item_bytes
        if position != n_bytes:
            raise CheckpointRefused(f"has {n_bytes:,} bytes, its storages end at {position:,}")

    def read(self, storage: Storage) -> bytearray:
        """Return the elements of a storage, little-endian."""
        self._file.seek(self._positions[storage.key])
        (n_elements,) = _COUNT.unpack(self._file.read(_COUNT.size))
        if n_elements != storage.n_elements:
            raise CheckpointRefused(f"has {n_elements:,} elements of a storage of {storage.n_elements:,}")
        content = bytearray(n_elements * storage.item_bytes)
        if self._file.readinto(content) != len(content):
            raise CheckpointRefused("is cut off")
        return content
