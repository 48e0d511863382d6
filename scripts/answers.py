"""Answers of RunPod's API and of the HTTP server, as clients of both kinds read them."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

FINISHED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})  # states of a job on RunPod
TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504})  # of HTTP
MAX_SILENCE_S = 600.0  # in which a job is asked for in vain; RunPod keeps the result of one for 30 minutes
SHOWN_CHARS = 300  # of an answer that is not understood


def endpoint_url(endpoint: str) -> str:
    """Return the address of an endpoint; RUNPOD_ENDPOINT_BASE_URL replaces RunPod's, as in its SDK."""
    return f"{os.environ.get('RUNPOD_ENDPOINT_BASE_URL', 'https://api.runpod.ai/v2').rstrip('/')}/{endpoint}"


def parsed(body: bytes) -> Any:
    """Return the JSON of a body; None if it is something else."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def message_of(answer: Any) -> str:
    """Return the message of an error, in RunPod's form or the HTTP server's; empty where there is none."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message", "") if isinstance(error, dict) else error or "")


def seconds_of(retry_after: str | None, most_s: float) -> float:
    """Return the seconds that a Retry-After header asks to wait, at most `most_s`; 0 for none, or a date."""
    value = retry_after or ""
    return min(most_s, float(value)) if value.isascii() and value.isdigit() else 0.0


def merge_items(items: list[Any]) -> dict[str, Any] | None:
    """Return the output of a worker that streams (F5_STREAMING), which `/status` has as a list, as that of any other.

    None if the last item is missing.
    """
    *before, last = items or [None]
    if not isinstance(last, dict) or last.get("final") is not True:
        return last if isinstance(last, dict) and "final" not in last and "audio" not in last else None
    merged: dict[str, Any] = {}
    for item in [*(item for item in before if "final" in item), last]:
        merged = _merged(merged, item)
    sound = b"".join(base64.b64decode(item["audio"]["base64"]) for item in before if "final" not in item)
    if sound:
        merged["audio"] = {**merged.get("audio", {}), "base64": base64.b64encode(sound).decode("ascii")}
    return merged


def _merged(first: Any, second: Any) -> Any:
    """Join two parts of a value: objects field by field, lists and texts one behind the other."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {name: _merged(first[name], value) if name in first else value for name, value in second.items()}
    if isinstance(first, list | str) and type(first) is type(second):
        return first + second
    return second
