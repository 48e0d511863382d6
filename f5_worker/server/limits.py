"""The sizes that RunPod's queue carries: a response that is larger would be dropped without a word."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.delivery.artifacts import Artifact
from f5_worker.delivery.inline import too_large
from f5_worker.errors import InternalError
from f5_worker.synthesis.encoding import AudioChunk

MAX_ITEM_BYTES = 950_000  # RunPod takes 1 MB for one item of a stream
MAX_CHUNK_BYTES = 680_000  # of the file in one item: 0.91 MB in base64

_BASE64 = 4 / 3

# The most bytes that a second of audio takes inside a response, base64 included; the best format first.
RESPONSE_BYTES_PER_S = MappingProxyType(
    {name: round(AUDIO_FORMATS[name].max_bytes(48_000, 60.0) / 60.0 * _BASE64) for name in ("mp3", "opus")}
)


@dataclass(frozen=True)
class JsonLimit:
    """A limit on a response in JSON, in which audio is base64 (`delivery.inline.ResponseLimit`).

    The SDK posts plain ASCII, so that a letter beyond it takes 6 bytes.
    """

    max_bytes: int
    bytes_per_s: Mapping[str, int] = field(default_factory=lambda: RESPONSE_BYTES_PER_S)

    def json_bytes(self, value: Mapping[str, Any]) -> int:
        """Return the size of a response without files."""
        return len(json.dumps(value))

    def file_bytes(self, files: Sequence[Artifact]) -> int:
        """Return the exact size that files take inside a response, without the names of their fields."""
        return sum(
            len(json.dumps(file.data.decode())) if file.is_text else self.audio_bytes(len(file.data)) for file in files
        )

    def audio_bytes(self, n_bytes: int) -> int:
        """Return the exact size that `n_bytes` of an audio file take inside a response."""
        return (n_bytes + 2) // 3 * 4 + 2

    def check(self, response: Mapping[str, Any]) -> None:
        """Raise if RunPod would not carry the response.

        The SDK only logs a result that cannot be serialised or is answered with 400; the caller then waits until the
        job expires, or sees COMPLETED without output (runpod-python #309).

        Raises:
            ResultTooLarge: with the size, the limit and what would fit.
            InternalError: the response is not strict JSON.
        """
        audio = response.get("audio") or {}
        data = audio.get("base64") or ""  # JSON has it as it is; to write it takes the lock for 3 ms a megabyte
        rest = {**response, "audio": {**audio, "base64": ""}} if data else response
        try:
            size_bytes = len(json.dumps(rest, allow_nan=False)) + len(data)
        except (TypeError, ValueError) as error:
            raise InternalError("the reply could not be written as JSON; please report this job") from error
        if size_bytes > self.max_bytes:
            raise too_large(size_bytes, self, audio.get("duration_s", 0.0), audio.get("format"))


class StreamLimit:
    """A limit on all items of a stream together, since `/run` and `/runsync` return them as one list."""

    def __init__(self, limit: JsonLimit) -> None:
        self._limit = limit
        self._n_bytes = 0

    def add(self, item: Mapping[str, Any] | str, duration_s: float = 0.0, format: str | None = None) -> None:
        """Count an item.

        Args:
            duration_s, format: of the audio so far, for the error.

        Raises:
            ResultTooLarge: the items so far are larger than a response may be.
        """
        self._n_bytes += len(json.dumps(item)) + 2
        if self._n_bytes > self._limit.max_bytes:
            raise too_large(self._n_bytes, self._limit, duration_s, format)


def split_item(item: Mapping[str, Any], max_bytes: int = MAX_ITEM_BYTES) -> list[dict[str, Any]]:
    """Return an item as several of at most `max_bytes` in JSON; the last one holds the smallest fields.

    Merged in order they are the item: objects by field, lists and texts by joining them.
    """
    by_size = sorted(item, key=lambda name: len(json.dumps(item[name])), reverse=True)
    return _split_object({name: item[name] for name in by_size}, max_bytes)


def _split_object(value: Mapping[str, Any], max_bytes: int) -> list[dict[str, Any]]:
    """Pack the parts of each field, in order, into as few objects as they fit."""
    packed: list[dict[str, Any]] = [{}]
    for name, field_value in value.items():
        name_bytes = len(json.dumps(name)) + 6
        for part in _split_value(field_value, max_bytes - name_bytes):
            if name in packed[-1] or len(json.dumps({**packed[-1], name: part})) > max_bytes:
                packed.append({})
            packed[-1][name] = part
    return packed if packed[0] else packed[1:]


def _split_value(value: Any, max_bytes: int) -> list[Any]:
    if len(json.dumps(value)) <= max_bytes:
        return [value]
    if isinstance(value, Mapping):
        return list(_split_object(value, max_bytes))
    if not isinstance(value, list | str) or len(value) < 2:
        raise InternalError("a field of the reply could not be split; please report this job")
    middle = len(value) // 2
    return [*_split_value(value[:middle], max_bytes), *_split_value(value[middle:], max_bytes)]


def split_chunk(chunk: AudioChunk, max_bytes: int = MAX_CHUNK_BYTES) -> Iterator[AudioChunk]:
    """Yield a chunk in parts of at most `max_bytes`; its words go with the first part."""
    parts = [chunk.data[begin : begin + max_bytes] for begin in range(0, len(chunk.data), max_bytes)]
    edges = np.linspace(chunk.begin, chunk.end, len(parts) + 1)
    for number, data in enumerate(parts):
        words = chunk.words if number == 0 else ()
        yield AudioChunk(data, float(edges[number]), float(edges[number + 1]), words)
