"""Numbers, signs and abbreviations as they are read aloud; F5 garbles digits (F5-TTS #300, #409, #563, #951).

English has rules for what people write: money, dates, times, units, telephone numbers, and more. In the other
languages of num2words numbers, percentages and amounts of money are read; in all others nothing is touched. Rules
are tried in order, what one has taken no later one sees, and every pattern is bounded, so that time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from f5_worker.text import expand_english, numbers
from f5_worker.text.numbers import Reader


class Expansion(NamedTuple):
    """`text[begin:end]` is read as `text`."""

    begin: int
    end: int
    text: str


Rule = tuple[re.Pattern[str], Callable[[re.Match[str], Reader], str | None]]

UNTOUCHED = ("zh", "ja", "ko")  # read by the tokenizer, or written without the spaces that tell numbers apart


def expansions(text: str, language: str) -> list[Expansion]:
    """What to read instead of what is written: ascending, not overlapping."""
    if language in UNTOUCHED or not numbers.knows(language):
        return []
    reader = Reader(language)
    rules = expand_english.RULES if language == "en" else _rules(language)
    taken = bytearray(len(text))
    found = [expansion for rule in rules for expansion in _apply(rule, text, reader, taken)]
    return sorted(found)


def _apply(rule: Rule, text: str, reader: Reader, taken: bytearray) -> Iterator[Expansion]:
    pattern, read = rule
    for match in pattern.finditer(text):
        begin, end = match.span()
        if any(taken[begin:end]):
            continue
        said = read(match, reader)
        if said is not None:
            taken[begin:end] = b"\x01" * (end - begin)
            yield Expansion(begin, end, _apart(text, begin, end, said))


def _apart(text: str, begin: int, end: int, said: str) -> str:
    """With the spaces that keep a word apart from letters beside it."""
    before = " " if begin and text[begin - 1].isalnum() else ""
    after = " " if end < len(text) and text[end].isalnum() else ""
    return f"{before}{said}{after}"


def _rules(language: str) -> Sequence[Rule]:
    """Amounts, percentages, numbers; with the language's own separators."""
    number = numbers.pattern(language)
    signs = "".join(numbers.CURRENCIES)
    percent = numbers.PERCENT.get(language)
    rules: list[Rule] = [
        (re.compile(rf"(?P<sign>[{signs}])\s?(?P<n>{number})(?!\w)"), _money),
        (re.compile(rf"(?<!\w)(?P<n>{number})\s?(?P<sign>[{signs}])"), _money),
    ]
    if percent:
        rules.append(
            (re.compile(rf"(?<![\w.,])(?P<n>-?{number})\s?%"), lambda m, r: _joined(r.number(m["n"]), percent))
        )
    rules.append((re.compile(rf"(?<![\w.,])(?P<n>-?{number})(?![\w%])"), lambda m, r: r.number(m["n"])))
    return rules


def _money(match: re.Match[str], reader: Reader) -> str | None:
    return reader.money(match["n"], numbers.CURRENCIES[match["sign"]])


def _joined(number: str | None, word: str) -> str | None:
    return None if number is None else f"{number} {word}"
