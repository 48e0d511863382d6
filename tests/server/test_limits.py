"""The sizes that the queue carries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f5_worker.errors import InternalError, ResultTooLarge
from f5_worker.server.limits import JsonLimit, StreamLimit, split_item

FIELDS = st.recursive(
    st.none() | st.integers(0, 10**6) | st.text(max_size=200),
    lambda inner: st.lists(st.text(max_size=9), max_size=60) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the items of a stream as docs/api.md tells clients to."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name not in whole:
                whole[name] = value
            elif isinstance(value, Mapping):
                whole[name] = merged([whole[name], dict(value)])
            else:
                whole[name] += value
    return whole


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


@given(st.dictionaries(st.text(max_size=5), FIELDS, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_parts_of_an_item_fit_and_merge_to_it(item: dict[str, Any]) -> None:
    parts = split_item(item, max_bytes=400)
    assert all(len(json.dumps(part)) <= 400 for part in parts)
    assert merged(parts) == item


def test_an_item_that_fits_is_one_and_the_small_fields_come_last() -> None:
    item = {"seed": 1, "captions": {"srt": "x" * 900, "vtt": "y" * 300}, "timings": {"words": [{"text": "a"}] * 30}}
    assert split_item(item) == [item]
    *parts, last = split_item(item, max_bytes=500)
    assert len(parts) > 2
    assert last["seed"] == 1
    assert merged([*parts, last]) == item


def test_what_cannot_be_split_is_an_error() -> None:
    with pytest.raises(InternalError, match="could not be split"):
        split_item({"words": [{"text": "a" * 500}]}, max_bytes=100)


def test_all_items_of_a_stream_count_together() -> None:
    item = {"index": 0, "audio": {"base64": "x" * 400}}
    total = StreamLimit(JsonLimit(3 * len(json.dumps(item)) + 6))
    for _ in range(3):
        total.add(item, 5.0, "wav")
    with pytest.raises(ResultTooLarge, match=r"F5_MAX_REPLY_BYTES"):
        total.add(item, 5.0, "wav")
