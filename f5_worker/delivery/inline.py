"""Results inside the reply. What the platform would drop is refused here, in words, before it is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from f5_worker.delivery.artifacts import Artifact, Delivered
from f5_worker.errors import InternalError, ResultTooLarge

# What each second takes inside a reply, base64 included; the best first.
REPLY_BYTES_PER_S = {"mp3": 22_000, "opus": 11_000}


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    return base64.b64decode(text)


def embed(artifacts: Sequence[Artifact]) -> list[Delivered]:
    """The files themselves, in the same order: subtitles as text, sound as base64."""
    return [
        Delivered(artifact.name, len(artifact.data), text=artifact.data.decode())
        if artifact.is_text
        else Delivered(artifact.name, len(artifact.data), base64=encode_base64(artifact.data))
        for artifact in artifacts
    ]


def embedded_bytes(artifacts: Sequence[Artifact]) -> int:
    """What the files take inside a reply, to the byte, without the names of their fields.

    The SDK posts JSON in plain ASCII, so a letter beyond that takes 6 bytes.
    """
    return sum(
        len(json.dumps(artifact.data.decode())) if artifact.is_text else (len(artifact.data) + 2) // 3 * 4 + 2
        for artifact in artifacts
    )


def check_fits(reply: Mapping[str, Any], max_bytes: int) -> None:
    """Refuse a reply that the platform would not post.

    The SDK only logs a result that cannot be serialised or is answered 400; the caller then waits for
    ever, or sees COMPLETED without output (runpod-python #309).

    Raises:
        ResultTooLarge: with the size, the limit and what would fit.
        InternalError: the reply is not strict JSON.
    """
    try:
        size = len(json.dumps(reply, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InternalError("the reply could not be written as JSON; please report this job") from error
    if size > max_bytes:
        audio = reply.get("audio") or {}
        raise too_large(size, max_bytes, audio.get("duration_s", 0.0), audio.get("format"))


def too_large(size_bytes: int, max_bytes: int, duration_s: float, format: str | None) -> ResultTooLarge:
    """The error for a reply of `size_bytes` with `duration_s` of sound in `format`."""
    return ResultTooLarge(
        f"the reply is {size_bytes / 1e6:.1f} MB, more than the {max_bytes / 1e6:.1f} MB that it may have "
        f"(F5_MAX_REPLY_BYTES); {_advice(max_bytes, duration_s, format)}"
    )


def _advice(max_bytes: int, duration_s: float, format: str | None) -> str:
    for name, rate in REPLY_BYTES_PER_S.items():
        if name != format and duration_s * rate < max_bytes:
            return f"ask for format {name!r}, about {duration_s * rate / 1e6:.1f} MB, or send the text in parts"
    return "send the text in parts"
