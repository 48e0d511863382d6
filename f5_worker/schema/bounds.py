"""Bounds on a request as a whole, checked before its fields are."""

from __future__ import annotations

import math

from f5_worker.errors import InvalidInput
from f5_worker.schema.batch import MAX_ITEMS

MAX_VALUES = 1_000  # the largest request but a batch, with 100 pronunciations and every field, has about 700
MAX_ITEM_VALUES = 60  # for each item of a batch; one with every field and no pronunciations has about 60
MAX_DEPTH = 8
MAX_NAME_CHARS = 200  # of a field, or of a speaker
MAX_BITS = 1_023  # of a whole number: what is longer is no float, and from 4,300 digits on it cannot be printed


def check_bounds(value: object) -> None:
    """Raise if a request has more values or depth, or longer names or numbers, than any request needs.

    It takes under a millisecond, and a few for the largest batch.

    Without it a list of five million numbers became an error of 409 MB and took the event loop for half a minute.

    Raises:
        InvalidInput: with the bound that is exceeded.
    """
    pending, n_values, max_values = [(value, 1)], 1, _max_values(value)
    while pending:
        item, depth = pending.pop()
        if isinstance(item, int) and item.bit_length() > MAX_BITS:
            digits = round(item.bit_length() * math.log10(2))
            raise InvalidInput(f"a number in input has about {digits:,} digits; no field takes one so long")
        if not isinstance(item, dict | list):
            continue
        n_values += len(item)
        if n_values > max_values:
            raise InvalidInput(f"input has more than {max_values:,} values; leave out what is not a field of a request")
        if depth > MAX_DEPTH:
            raise InvalidInput(f"input is nested more than {MAX_DEPTH} levels deep; no field is")
        for name in item if isinstance(item, dict) else ():
            if len(str(name)) > MAX_NAME_CHARS:
                raise InvalidInput(f"a name in input has {len(str(name))} characters, at most {MAX_NAME_CHARS}")
        pending += [(child, depth + 1) for child in (item.values() if isinstance(item, dict) else item)]


def _max_values(value: object) -> int:
    items = value.get("items") if isinstance(value, dict) and value.get("action") == "batch" else None
    return MAX_VALUES + MAX_ITEM_VALUES * min(len(items), MAX_ITEMS + 1) if isinstance(items, list) else MAX_VALUES
