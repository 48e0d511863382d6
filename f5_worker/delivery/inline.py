"""Results inside the reply. What the platform would drop is refused here, in words, before it is lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from f5_worker.errors import InternalError, ResultTooLarge

# What each second takes inside a reply, base64 included; for the advice in an error.
_REPLY_BYTES_PER_S = {"opus": 11_000, "mp3": 22_000}


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    return base64.b64decode(text)


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
        raise ResultTooLarge(
            f"the reply is {size / 1e6:.1f} MB, more than the {max_bytes / 1e6:.1f} MB that it may have "
            f"(F5_MAX_REPLY_BYTES); {_advice(reply, max_bytes)}"
        )


def _advice(reply: Mapping[str, Any], max_bytes: int) -> str:
    audio = reply.get("audio") or {}
    duration_s, used = audio.get("duration_s", 0.0), audio.get("format")
    for name, rate in reversed(_REPLY_BYTES_PER_S.items()):
        if name != used and duration_s * rate < max_bytes:
            return f"ask for format {name!r}, about {duration_s * rate / 1e6:.1f} MB, or send the text in parts"
    return "send the text in parts"
