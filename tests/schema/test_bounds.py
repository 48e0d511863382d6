"""A request is bounded as a whole before its fields are looked at."""

from __future__ import annotations

import time
from typing import Any

import pytest

from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import MAX_FAULTS, parse_input
from f5_worker.schema.batch import MAX_ITEMS
from f5_worker.schema.bounds import MAX_DEPTH, MAX_ITEM_VALUES, MAX_NAME_CHARS, MAX_VALUES, check_bounds


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_the_largest_request_passes() -> None:
    check_bounds({"action": "dub", "voices": {f"speaker {i}" * 4: "joe" for i in range(32)}, **dict.fromkeys("abcdef")})
    check_bounds([0] * (MAX_VALUES - 1))
    check_bounds(nested(MAX_DEPTH))
    check_bounds({"s" * MAX_NAME_CHARS: 1})
    check_bounds({"seed": 10**300, "speed": 1e300})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([0] * MAX_VALUES, "more than 1,000 values"),
        ({"captions": {"formats": [1] * 5_000_000}}, "more than 1,000 values"),
        ({f"field{i}": 0 for i in range(50_000)}, "more than 1,000 values"),
        ([[[0] * 300] * 300] * 300, "more than 1,000 values"),
        (nested(MAX_DEPTH + 1), "more than 8 levels deep"),
        (nested(100_000), "more than 8 levels deep"),
        ({"seed": 10**4_300}, "a number in input has about 4,300 digits; no field takes one so long"),
        ({"text": [-(10**50_000)]}, "a number in input has about 50,000 digits"),
        ({"voices": {"s" * 9_900_000: 1}}, "a name in input has 9900000 characters, at most 200"),
    ],
)
def test_more_is_refused_in_a_millisecond(value: object, words: str) -> None:
    fastest_s = 1.0
    for _ in range(3):
        started = time.thread_time()
        with pytest.raises(InvalidInput, match=words):
            check_bounds(value)
        fastest_s = min(fastest_s, time.thread_time() - started)
    assert fastest_s < 0.002


def test_a_batch_may_have_more_for_each_of_its_items() -> None:
    item = {f"field{number}": 0 for number in range(MAX_ITEM_VALUES - 1)}
    check_bounds({"action": "batch", "items": [item] * MAX_ITEMS})
    for value in (
        {"action": "batch", "items": [[0] * 2 * MAX_ITEM_VALUES] * MAX_ITEMS},
        {"action": "batch", "items": [0] * 60_000 * 2},
        {"action": "batch", "items": {"items": [item] * MAX_ITEMS}},
        {"action": "dub", "items": [item] * MAX_ITEMS},
    ):
        with pytest.raises(InvalidInput, match="values; leave out"):
            check_bounds(value)


def test_not_every_fault_is_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_input({"text": "Hi.", **{f"field{i}": 0 for i in range(100)}})
    assert caught.value.message.count("unknown field") == MAX_FAULTS
    assert caught.value.message.endswith("; and 80 more")
