"""What the grammars of most languages leave or read wrong: arithmetic, ranges, scores, Roman numerals, numbers to dial.

The rules are the same in each language, with its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from f5_worker.text.expand.words import UNSPACED_WORDS, converted, spelled

Replacement = str | Callable[[re.Match[str]], str]


class _Words(NamedTuple):
    """Words between two numbers: `until` in a range, `against` in a score."""

    until: str
    against: str
    plus: str
    minus: str
    times: str
    over: str
    equals: str


_WORDS = {
    "de": _Words("bis", "zu", "plus", "minus", "mal", "geteilt durch", "gleich"),
    "es": _Words("a", "a", "más", "menos", "por", "entre", "es igual a"),
    "fr": _Words("à", "à", "plus", "moins", "fois", "divisé par", "égale"),
    "hi": _Words("से", "से", "प्लस", "माइनस", "गुणा", "भागा", "बराबर"),
    "it": _Words("a", "a", "più", "meno", "per", "diviso", "uguale a"),
    "ja": _Words("から", "対", "たす", "ひく", "かける", "わる", "は"),
    "pt": _Words("a", "a", "mais", "menos", "vezes", "dividido por", "igual a"),
    "zh": _Words("到", "比", "加", "减", "乘以", "除以", "等于"),
}
_COMMAS = {"ja": "、", "zh": "，"}
_DIAL_IN_GRAMMAR = ("es", "hi", "pt")  # which know the numbers of their countries
_NUMBER = r"\d+(?:[.,]\d+)?"
_NOT_BEFORE, _NOT_AFTER = r"(?<![A-Za-z0-9.,:/€$£¥+=*^_-])", r"(?![A-Za-z0-9_/=-]|[.,:]\d)"
_YEARS, _RANGE_DIGITS = range(1000, 2100), 3
_RANGE = rf"{_NOT_BEFORE}(\d{{1,4}})(%?) ?- ?(\d{{1,4}}){_NOT_AFTER}(?! ?=)"
ROMAN = r"(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3})"
MONARCHS = (
    (
        "Albert Alberto Alexander Alfonso Benedict Benedicto Benedikt Benoît Carlo Carlos Catherine Charles Christian "
        "Edward Elisabeth Elizabeth Felipe Ferdinand Fernando Francis Francisco François Frederick Friedrich Georg "
        "George Giovanni Gregor Gregory Gustav Heinrich Henri Henrique Henry Innocent Isabel Ivan James Joan Johannes "
        "John José João Juan Karl Katharina Leo Leopold Louis Ludwig Luigi Luis Luís Manuel Maria Mary Napoleon "
        "Napoléon Nicholas Nikolaus Otto Paul Paulo Pedro Peter Philip Philipp Philippe Pio Pius Pío Ramesses Ramses "
        "Richard Rudolf Umberto Urban Victor Vittorio~Emanuele Wilhelm William"
    )
    .replace(" ", "|")
    .replace("~", " ")
)
_LAST_ORDINAL = {"es": 10, "fr": 1, "it": 39, "pt": 10}  # of a monarch; later ones have cardinals


def alternatives(names: Iterable[str]) -> str:
    """Return a pattern of any of several names, the longest first."""
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


def arabic(roman: str) -> int:
    """Return the value of a Roman numeral."""
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[char] for char in roman]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def dialled(number: str, language: str) -> str:
    """Return a number to dial digit by digit, with a comma between its groups; plus if it begins so."""
    groups = [spelled(group, language) for group in re.findall(r"\d+", number)]
    if number.startswith("+"):
        country = re.match(r"\+(\d+)", number)
        if language == "de" and country:
            groups[0] = converted(int(country[1]), "de")
        groups[0] = f"{_WORDS[language].plus if language in _WORDS else 'plus'} {groups[0]}"
    return _COMMAS.get(language, ", ").join(groups)


def common_rules(language: str) -> Sequence[tuple[str, Replacement]]:
    """Return the rules of a language as those of `rules.py`; English has its own but for numbers to dial."""
    dial = (
        r"(?<![\w+])\+\d{1,3}(?:[ .-]?\(?\d{2,7}\)?){2,5}(?![\w-]|[.,]\d)",
        lambda match: dialled(match[0], language),
    )
    if language == "en":
        return [dial]
    words = _WORDS.get(language)
    if words is None:
        return []
    space = "" if language in UNSPACED_WORDS else " "
    plus, minus, times, over, equals = (f"{space}{word}{space}" for word in words[2:])
    return [
        *([(r"(\d{4})年?-(?=\d{4}年)", r"\1年到")] if language == "zh" else []),
        *([] if language in _DIAL_IN_GRAMMAR else [dial]),
        *([] if language == "hi" else [*_dialled_rules(language), (_RANGE, lambda match: _range(match, words, space))]),
        (rf"(?<=\d)%-(?={_NUMBER}%)", f"%{space}{words.until}{space}"),
        (r"(?<=\d) ?\+ ?(?=\d)|(?<=\b[a-z]) \+ (?=\w)", plus),
        (rf"(?<=\d) ?- ?(?={_NUMBER} ?=)", minus),
        (r"(?<=\d) ?[×*] ?(?=\d)|(?<=\d) x (?=\d)", times),
        (r"(?<![\d:.,])(\d{1,2}):(\d)(?![\d:])", rf"\1{space}{words.against}{space}\2"),
        (r"(?<=\d) ?÷ ?(?=\d)|(?<=\d) / (?=\d)", over),
        (r"(?<![A-Za-z_&?/-]\d)(?<=\d) ?= ?(?=[-\d√])|(?<=[\w)²³]) = (?=[-\w√])", equals),
        *_roman_rules(language),
    ]


def _range(match: re.Match[str], words: _Words, space: str) -> str:
    """Read 10-15 as a range, and 3-2 as a score; leave what may be a date or part of a longer number."""
    low, percent, high = match.groups()
    if any(len(number) > 1 and number.startswith("0") for number in (low, high)):
        return match[0]
    is_year = int(low) in _YEARS and int(low) % 10 ** len(high) < int(high) < _YEARS.stop and len(high) in (2, 4)
    if is_year or (int(low) < int(high) and len(high) <= _RANGE_DIGITS):
        return f"{low}{percent}{space}{words.until}{space}{high}"
    is_score = len(low) <= 2 and len(high) <= 2 and not percent
    return f"{low}{space}{words.against}{space}{high}" if is_score else match[0]


def _dialled_rules(language: str) -> list[tuple[str, Replacement]]:
    end = r"(?![A-Za-z0-9_/-]|[.,:]\d)"
    by_language = {
        "es": [rf"(?<![\d.,])[6-9]\d\d \d{{3}} \d{{3}}{end}(?! [a-z\d])"],
        "zh": [rf"(?<![\d.,])1[3-9]\d{{9}}{end}", rf"(?<=[打拨叫])1[12]\d{end}"],
    }
    # A number that begins with zero is none to count, but perhaps a date.
    zero = rf"(?<![A-Za-z0-9.,:/-])(?<!\d )0\d{{1,4}}[ -](?!\d\d?-)\d{{4,8}}{end}"
    patterns = [*by_language.get(language, ()), zero]
    if language == "de":
        patterns.append(zero.replace("[ -]", "/"))
    rules: list[tuple[str, Replacement]] = [
        (pattern, lambda match: dialled(match[0], language)) for pattern in patterns
    ]
    if language == "fr":  # in pairs
        rules.append((rf"(?<!\d)0\d(?:[.-]\d\d){{4}}{end}", lambda match: re.sub(r"\D", " ", match[0])))
    if language == "ja":
        rules.append((rf"(?<![\d-])0\d{{1,4}}-\d{{1,4}}-\d{{4}}{end}", lambda match: dialled(match[0], "ja")))
    return rules


def _roman_rules(language: str) -> list[tuple[str, Replacement]]:
    one = "[VX]|I(?! [a-z])" if language == "it" else "[IVX]"  # I fiori
    monarch = rf"\b({MONARCHS}) ({ROMAN}|{one})(?!\w)"

    def german(match: re.Match[str]) -> str:
        return f"{match[1]} der {converted(arabic(match[2]), 'de', 'ordinal').capitalize()}"

    def romance(match: re.Match[str]) -> str:
        value = arabic(match[2])
        kind = "ordinal" if value <= _LAST_ORDINAL[language] else "cardinal"
        return f"{match[1]} {converted(value, language, kind)}"

    number = (rf"(?<=[^\W\d_]{{3}} )({ROMAN})(?!\w)", lambda match: converted(arabic(match[1]), language))
    if language == "de":
        return [(rf"{monarch}(?:\.(?= ?[a-zäöü,]))?", german), number]
    if language not in _LAST_ORDINAL:
        return []
    century = (r"(?<!\w)([IVX]+)(?=(?:er?|ᵉ|[eè]me|re)\b)", lambda match: str(arabic(match[1])))
    before = (rf"(?<!\w)({ROMAN})(?= secolo\b)", lambda match: converted(arabic(match[1]), "it", "ordinal"))
    after = (rf"(?<=secolo )({ROMAN}|[IVX])(?!\w)", lambda match: converted(arabic(match[1]), "it", "ordinal"))
    return [(monarch, romance), *([century] if language == "fr" else [before, after]), number]
