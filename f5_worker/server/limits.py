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

# The bytes that a second of audio takes inside a response, base64 included; the best format first.
RESPONSE_BYTES_PER_S = MappingProxyType(
    {name: (AUDIO_FORMATS[name].estimated_bytes_per_s or 0) * 4 // 3 for name in ("mp3", "opus")}
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
            len(json.dumps(file.data.decode())) if file.is_text else (len(file.data) + 2) // 3 * 4 + 2 for file in files
        )

    def check(self, response: Mapping[str, Any]) -> None:
        """Raise if RunPod would not carry the response.

        The SDK only logs a result that cannot be serialised or is answered with 400; the caller then waits until the
        job expires, or sees COMPLETED without output (runpod-python #309).

        Raises:
            ResultTooLarge: with the size, the limit and what would fit.
            InternalError: the response is not strict JSON.
        """
        try:
            size_bytes = len(json.dumps(response, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InternalError("the reply could not be written as JSON; please report this job") from error
        if size_bytes > self.max_bytes:
            audio = response.get("audio") or {}
            raise too_large(size_bytes, self, audio.get("duration_s", 0.0), audio.get("format"))


def split_chunk(chunk: AudioChunk, max_bytes: int = MAX_CHUNK_BYTES) -> Iterator[AudioChunk]:
    """Yield a chunk in parts of at most `max_bytes`; its words go with the first part."""
    parts = [chunk.data[begin : begin + max_bytes] for begin in range(0, len(chunk.data), max_bytes)]
    edges = np.linspace(chunk.begin, chunk.end, len(parts) + 1)
    for number, data in enumerate(parts):
        words = chunk.words if number == 0 else ()
        yield AudioChunk(data, float(edges[number]), float(edges[number + 1]), words)
