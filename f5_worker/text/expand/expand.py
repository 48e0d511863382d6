"""Numbers, signs and abbreviations written out as they are read aloud: the model garbles digits.

English is read in full (`english`); other languages have integers, decimals, percentages, amounts of money, dates,
times and, where they are written with a full stop, ordinals (`foreign`). Text that neither knows stays as it is. Time
is linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from f5_worker.text.expand.english import english
from f5_worker.text.expand.foreign import foreign
from f5_worker.text.expand.numbers import Reading

_SEPARATORS = ",;:"  # "1,2,3" is read "one, two, three": without spaces the tokenizer makes one word of it


class Expansion(NamedTuple):
    """A replacement: `text` is said instead of the source's `[begin, end)`."""

    begin: int
    end: int
    text: str


def expansions(text: str, language: str) -> list[Expansion]:
    """Return what is said instead of what is written, in order, not overlapping.

    Args:
        text: in NFC; may hold line breaks.
        language: ISO 639-1; nothing is expanded in one that has no rules.
    """
    return _separated(text, list(english(text) if language == "en" else foreign(text, language)))


def _separated(text: str, readings: list[Reading]) -> list[Expansion]:
    """Add a space where a reading would otherwise touch the letters, or the reading, next to it."""
    begins = {begin for begin, _, _ in readings}
    return [
        Expansion(begin, end, " " * left + words + " " * _touches(text[end : end + 1], end in begins))
        for (begin, end, words), left in zip(readings, _touching(text, readings), strict=True)
    ]


def _touching(text: str, readings: list[Reading]) -> Iterable[bool]:
    """Yield for each reading whether it needs a space in front."""
    last = 0
    for begin, end, _ in readings:
        before = text[begin - 1 : begin]
        yield begin > 0 and (begin == last or before.isalnum() or before in _SEPARATORS)
        last = end


def _touches(after: str, is_next: bool) -> bool:
    return after.isalnum() and not is_next
