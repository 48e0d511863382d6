"""English numbers that are the same in other words: nineteen hundred and twelve, 1912; nine fifteen, 9.15."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from f5_worker.verification.forms import SpokenWord

HUNDRED, THOUSAND = 100, 1_000
_POINT = "point"


class _Number(NamedTuple):
    """Words `begin` to `end`, and the digits that they say without separators."""

    begin: int
    end: int
    digits: str


def join_equal_numbers(
    written: Sequence[SpokenWord], heard: Sequence[SpokenWord]
) -> tuple[list[SpokenWord], list[SpokenWord]]:
    """Return both lists with each number that is in the other one, too, as one word of its digits."""
    numbers = [list(_numbers([word.text for word in words])) for words in (written, heard)]
    common = set.intersection(*({number.digits for number in found} for found in numbers))
    joined = [
        _join(words, [number for number in found if number.digits in common])
        for words, found in zip((written, heard), numbers, strict=True)
    ]
    return joined[0], joined[1]


def _join(words: Sequence[SpokenWord], numbers: Sequence[_Number]) -> list[SpokenWord]:
    joined, at = [], 0
    for begin, end, digits in numbers:
        joined += [*words[at:begin], SpokenWord(digits, words[begin].begin, words[end - 1].end)]
        at = end
    return [*joined, *words[at:]]


def _numbers(words: Sequence[str]) -> Iterator[_Number]:
    """Yield the longest stretches of words that say digits."""
    values = _values()
    is_number = [
        word in values
        or (word == _POINT and 0 < at < len(words) - 1 and words[at - 1] in values and words[at + 1] in values)
        for at, word in enumerate(words)
    ]
    begin = 0
    for said, group in itertools.groupby(is_number):
        end = begin + len(list(group))
        if said:
            yield _Number(begin, end, _digits([values.get(word) for word in words[begin:end]]))
        begin = end


def _digits(values: Sequence[int | None]) -> str:
    """Return the digits of a number, or of several in a row; None stands for a decimal point."""
    parts: list[int] = []  # each a number of its own: nineteen, twelve
    whole = part = None  # of the last one: what a thousand was said of, and what is below it
    for value in values:
        if value is not None and value >= THOUSAND:
            whole, part = (whole or 0) + (1 if part is None else part) * value, None
        elif value == HUNDRED:
            part = HUNDRED * (part or 1)
        elif part is None and value is not None:
            part = value
        elif part is not None and value and _follows(part, value):
            part += value
        else:
            parts.append((whole or 0) + (part or 0))
            whole, part = None, value
    if whole is not None or part is not None:
        parts.append((whole or 0) + (part or 0))
    return "".join(map(str, parts))


def _follows(part: int, value: int) -> bool:
    """Return True if a number goes on: twenty, three; nineteen hundred, twelve."""
    return part % HUNDRED == 0 < part or (value < 10 and part % 10 == 0 and part % HUNDRED > 10)


@functools.cache
def _values() -> Mapping[str, int]:
    """Return what each word of a number says."""
    from num2words import num2words

    said = [*range(20), *range(20, HUNDRED, 10)]
    values = {num2words(value, to=kind): value for value in said for kind in ("cardinal", "ordinal")}
    names = {"hundred": HUNDRED, "thousand": THOUSAND, "million": THOUSAND**2, "billion": THOUSAND**3}
    return values | names | {f"{name}th": value for name, value in names.items()}
