"""The sizes that the queue carries."""

from __future__ import annotations

import json

import pytest

from f5_worker.errors import InternalError, ResultTooLarge
from f5_worker.server.limits import JsonLimit


def test_a_reply_that_the_platform_would_drop_is_refused() -> None:
    reply = {"audio": {"duration_s": 10.0, "format": "wav", "base64": "x" * 300_000}}
    size = len(json.dumps(reply))
    JsonLimit(size).check(reply)
    with pytest.raises(ResultTooLarge, match=r"F5_MAX_REPLY_BYTES.*'mp3', about 0.2 MB"):
        JsonLimit(size - 1).check(reply)
    with pytest.raises(ResultTooLarge, match="send the text in parts"):
        JsonLimit(1_000).check(reply)
    with pytest.raises(InternalError):
        JsonLimit(1_000).check({"rtf": float("nan")})
