"""Results inside the response, within the limits of its transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from f5_worker.delivery.artifacts import Artifact, Delivered
from f5_worker.errors import ResultTooLarge


class ResponseLimit(Protocol):
    """The size of response that a transport carries, and how it counts."""

    @property
    def max_bytes(self) -> int:
        """Return the largest response."""

    @property
    def bytes_per_s(self) -> Mapping[str, int]:
        """Return the formats that are small, the best first, with the bytes that a second of each takes."""

    def json_bytes(self, value: Mapping[str, Any]) -> int:
        """Return the size of a response without files."""

    def file_bytes(self, files: Sequence[Artifact]) -> int:
        """Return the size that files take inside a response, without the names of their fields."""

    def audio_bytes(self, n_bytes: int) -> int:
        """Return the size that `n_bytes` of an audio file take inside a response."""


@dataclass(frozen=True)
class NoLimit:
    """A transport that carries any response."""

    max_bytes: int = 2**63
    bytes_per_s: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def json_bytes(self, value: Mapping[str, Any]) -> int:
        """Return 0: nothing has to be measured."""
        return 0

    def file_bytes(self, files: Sequence[Artifact]) -> int:
        """Return 0: nothing has to be measured."""
        return 0

    def audio_bytes(self, n_bytes: int) -> int:
        """Return 0: nothing has to be measured."""
        return 0


def embed(artifacts: Sequence[Artifact]) -> list[Delivered]:
    """Return the files themselves, in the same order: captions as text, audio as bytes."""
    return [
        Delivered(artifact.name, len(artifact.data), text=artifact.data.decode())
        if artifact.is_text
        else Delivered(artifact.name, len(artifact.data), data=artifact.data)
        for artifact in artifacts
    ]


def too_large(size_bytes: int, limit: ResponseLimit, duration_s: float, format: str | None) -> ResultTooLarge:
    """Return the error for a response of `size_bytes`, measured or estimated.

    Args:
        duration_s, format: of the audio in it.
    """
    return ResultTooLarge(
        f"the reply takes {size_bytes / 1e6:.1f} MB, more than the {limit.max_bytes / 1e6:.1f} MB that it may have "
        f"(F5_MAX_REPLY_BYTES); {_advice(limit, duration_s, format)}"
    )


def _advice(limit: ResponseLimit, duration_s: float, format: str | None) -> str:
    for name, bytes_per_s in limit.bytes_per_s.items():
        size_bytes = duration_s * bytes_per_s
        if name != format and size_bytes < limit.max_bytes:
            return f"ask for format {name!r}, about {size_bytes / 1e6:.1f} MB, or send the text in parts"
    return "send the text in parts"
