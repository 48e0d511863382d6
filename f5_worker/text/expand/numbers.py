"""Write numbers as words, with num2words and `indic`; without commas, which would be read as pauses."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from threading import Lock

from f5_worker.text.expand.indic import INDIC, indic_cardinal, year_in_hundreds

Reading = tuple[int, int, str]  # begin, end, what is said instead

MAX_DIGITS = 15  # of an amount; longer ones are read digit by digit
YEARS = range(1100, 2100)
_ONE_WITH_TENS = ("ru", "uk")  # двадцать одна секунда
_FEW_ONLY_AS_UNITS = ("cs", "sk")  # dvacet dva hodin
_GROUP_DIGITS = 3
_converting = Lock()  # some of the library's converters keep the current number in an attribute


def cardinal(value: int, language: str = "en") -> str:
    """Write `1234` as one thousand two hundred thirty-four; at most MAX_DIGITS digits, not negative."""
    return _without_and(_converted(value, language, "cardinal"), language)


def ordinal(value: int, language: str = "en") -> str:
    """Write `22` as twenty-second, in languages whose ordinals num2words has."""
    return _without_and(_converted(value, language, "ordinal"), language)


def agreeing(forms: str, value: int, language: str) -> str:
    """Choose what goes with a number out of `one/others` or, in Slavic languages, `one/few/many`."""
    one, *others = forms.split("/")
    if not others or value == 1 or (language == "fr" and value == 0):
        return one
    last, tens = (value, 0) if language in _FEW_ONLY_AS_UNITS else (value % 10, value // 10 % 10)
    if last == 1 and tens != 1 and language in _ONE_WITH_TENS:
        return one
    return others[0] if 2 <= last <= 4 and tens != 1 else others[-1]


def whole(digits: str, language: str = "en") -> str:
    """Write an integer as an amount, but digit by digit after a leading zero or if it is very long."""
    if len(digits) > MAX_DIGITS or (len(digits) > 1 and int(digits[0]) == 0):
        return spelled(digits, language)
    return cardinal(int(digits), language)


def spelled(digits: str, language: str = "en") -> str:
    """Write `123` as one two three; anything but digits is skipped."""
    return " ".join(cardinal(int(digit), language) for digit in digits if digit.isdecimal())


def grouped(groups: Iterable[str]) -> str:
    """Write digits one by one, with a comma, heard as a short pause, between groups; English."""
    return ", ".join(spelled(group) for group in groups)


def in_groups(digits: str) -> list[str]:
    """Split digits into groups of three, of which the last may have one more: 555, 123, 4567."""
    cuts = list(range(0, len(digits), _GROUP_DIGITS))
    if len(cuts) > 1 and len(digits) % _GROUP_DIGITS == 1:
        cuts.pop()
    return [digits[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(digits)], strict=True)]


def year(value: int) -> str:
    """Write a year of YEARS in pairs: 1999, 1905, 1900, 2024; but two thousand five. English."""
    century, rest = divmod(value, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(value)
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def year_in(value: int, language: str) -> str:
    """Write a year in hundreds, for languages that read years so: neunzehnhundertneunundneunzig."""
    return _converted(value, language, "year")


@lru_cache(maxsize=1024)
def money(amount: Decimal, currency: str, language: str) -> str:
    """Write an amount with the currency's name, with cents if it has any; not English.

    Args:
        currency: ISO 4217, one that the library knows in that language.
    """
    from num2words import num2words

    # A separator that no language uses tells where the cents begin; by itself the library says "and zero cents".
    options = {} if amount % 1 else {"separator": "\0"}
    with _converting:
        words: str = num2words(amount, lang=language, to="currency", currency=currency, **options)
    return _plain(words.split("\0")[0])


@lru_cache(maxsize=4096)
def _converted(value: int, language: str, to: str) -> str:
    if language in INDIC:
        return year_in_hundreds(value, language) if to == "year" else indic_cardinal(value, language)
    from num2words import num2words

    with _converting:
        return _plain(num2words(value, lang=language, to=to))


def _plain(words: str) -> str:
    return " ".join(words.replace(",", " ").split())


def _without_and(words: str, language: str) -> str:
    return words.replace(" and ", " ") if language == "en" else words
