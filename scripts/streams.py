"""The items of a worker that streams (F5_STREAMING), which RunPod's `/status` returns as a list: docs/api.md."""

from __future__ import annotations

import base64
from typing import Any


def merge_items(items: list[Any]) -> dict[str, Any] | None:
    """Return the output of a streaming worker as that of any other; None if the last item is missing."""
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
