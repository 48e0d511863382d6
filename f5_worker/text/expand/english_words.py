"""English words that are not read as they are written: addresses, abbreviations, Roman numerals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from f5_worker.text.expand import tables
from f5_worker.text.expand.numbers import cardinal, ordinal, spelled, whole
from f5_worker.text.sentences import stop_ends_sentence

Words = str | tuple[str, str] | None  # None: not for this rule after all

NO_LETTER = r"(?![^\W_])"  # what ends here is a whole word
_LOOK_BACK_CHARS = 24
_MAX_READ_DIGITS = 4  # longer numbers in an address are codes
_CHUNK_START = r"(?<![^\s(\[<\"'“‘«])"
_ADDRESS_PARTS = re.compile(r"[^\W\d_]+|\d+|.")
_ROMAN = r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_NOT_I = re.compile(r"$|[.;:!?)\"”]|,|['’]s|\n| (?:of|was|is|had|became|ruled|reigned|died|and|in)(?!\w)")
_AND_TITLE = re.compile(r" (?:&|and) (?:Mrs|Mr|Ms|Dr)(?![^\W_])")
_LAST_WORD = re.compile(r"([^\W\d_]+) $")


class Rule(NamedTuple):
    """A pattern, and the function that gives the words for a match."""

    pattern: re.Pattern[str]
    read: Callable[[re.Match[str]], Words]


def one_of(words: Iterable[str]) -> str:
    """Return a pattern for any of these words, the longest first."""
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) + ")"


def text_before(match: re.Match[str]) -> str:
    """Return the end of the text before a match."""
    return match.string[max(0, match.start() - _LOOK_BACK_CHARS) : match.start()]


def _capitalised(match: re.Match[str], words: str) -> str:
    return words[0].upper() + words[1:] if match.group()[0].isupper() else words


def _address(match: re.Match[str]) -> str:
    """Read `http://a.com/b` as "a dot com slash b"."""
    written = re.sub(r"^(?:https?|ftp)://|/$", "", match.group(), flags=re.IGNORECASE)
    return " ".join(filter(None, map(_address_part, _ADDRESS_PARTS.findall(written))))


def _address_part(part: str) -> str:
    if part.isdecimal():
        return whole(part) if len(part) <= _MAX_READ_DIGITS else spelled(part)
    if part.lower() == "www":
        return "w w w"
    return part if part.isalnum() else tables.SPELLED_SIGNS.get(part, "")


def _version(match: re.Match[str]) -> str:
    return f"version {points(match['n'])}"


def points(numbers: str) -> str:
    """Read `2.8.3` as two point eight point three."""
    return " point ".join(whole(part) for part in numbers.split("."))


def _title(match: re.Match[str]) -> str | None:
    """Read a title, only before a name or another title (`Mr. & Mrs.`)."""
    if not (_AND_TITLE.match(match.string, match.end()) or match.string[match.end() + 1].isupper()):
        return None
    return tables.TITLES.get(match[1]) or tables.TITLES_WITH_STOP[match[1]]


def _before_number(match: re.Match[str]) -> str:
    return _capitalised(match, tables.BEFORE_NUMBERS[match[1].lower()])


def _within(match: re.Match[str]) -> str:
    return _capitalised(match, tables.WITHIN[(match[1] or match[2]).lower()])


def _last(match: re.Match[str]) -> str | None:
    words = tables.LAST.get(match[1]) or tables.LAST.get(match[1].lower())
    if words is None:
        return None
    return words + ("." if stop_ends_sentence(match.string, match.end()) else "")


def _month(match: re.Match[str]) -> str:
    ends = match.group().endswith(".") and stop_ends_sentence(match.string, match.end())
    return tables.MONTH_ABBREVIATIONS[match[1] or match[2]] + ("." if ends else "")


def _fraction_sign(match: re.Match[str]) -> str:
    return fraction(*tables.FRACTIONS[match.group()])


def fraction(top: int, bottom: int) -> str:
    """Read `3/4` as three quarters."""
    one = {2: "half", 4: "quarter"}.get(bottom) or ordinal(bottom)
    many = "halves" if bottom == 2 else f"{one}s"
    return f"{cardinal(top)} {one if top == 1 else many}"


def _roman(match: re.Match[str]) -> str | None:
    """Read a Roman numeral after a monarch or a part; I is mostly the pronoun, and C, D, L and M are letters."""
    written = match.group()
    last = _LAST_WORD.search(text_before(match))
    if not last or written in ("C", "D", "L", "M") or not written:
        return None
    if last[1] in tables.NUMBERED:
        return cardinal(_roman_value(written))
    is_number = written != "I" or _NOT_I.match(match.string, match.end())
    return f"the {ordinal(_roman_value(written))}" if last[1] in tables.MONARCHS and is_number else None


def _roman_value(written: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in written]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


_MONTH_SIGNS = one_of(tables.MONTH_ABBREVIATIONS)

WORD_RULES = tuple(
    Rule(re.compile(pattern), read)
    for pattern, read in (
        (rf"{_CHUNK_START}(?:(?i:https?|ftp)://|(?i:www)\.)[^\s<>\"]*[\w/]", _address),
        (rf"{_CHUNK_START}[\w.+-]{{1,64}}@[\w-]+(?:\.[\w-]+)+", _address),
        (
            rf"{_CHUNK_START}(?:[^\W_][\w-]{{0,62}}\.){{1,5}}{one_of(tables.DOMAINS)}(?![\w@-]|\.\w)"
            r"(?:/(?:[^\s<>\"]*[\w/])?)?",
            _address,
        ),
        (r"[vV](?P<n>\d{1,9}(?:\.\d{1,9}){1,7})(?![^\W_]|\.\d)", _version),
        (rf"({one_of(tables.TITLES)})\.?(?= [^\W\d_]| & )", _title),
        (rf"({one_of(tables.TITLES_WITH_STOP)})\.(?= [^\W\d_])", _title),
        (rf"({_MONTH_SIGNS})\.?(?= \d)|(?<=\d )({_MONTH_SIGNS})\b\.?", _month),
        (rf"((?i:{one_of(tables.BEFORE_NUMBERS)}))\.(?= ?\d)", _before_number),
        (rf"((?i:{one_of(tables.WITHIN)}))\.|(vs)\b", _within),
        (rf"((?i:{one_of(tables.LAST)}))\.(?!\.)", _last),
        (_ROMAN + NO_LETTER, _roman),
        (one_of(tables.FRACTIONS), _fraction_sign),
    )
)
