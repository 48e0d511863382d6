"""Numbers in words, by num2words, with each language's own separators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

MAX_DIGITS = 15  # longer ones are no quantities
CURRENCIES: Mapping[str, str] = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
PERCENT: Mapping[str, str] = {
    "en": "percent",
    "de": "Prozent",
    "fr": "pour cent",
    "es": "por ciento",
    "it": "per cento",
    "pt": "por cento",
    "nl": "procent",
    "pl": "procent",
    "ru": "процентов",
    "uk": "відсотків",
    "sv": "procent",
    "fi": "prosenttia",
    "cs": "procent",
}
_POINT = {"en", "th", "he", "ar", "ja", "ko", "zh", "hi"}  # a decimal point and commas between thousands
_FAILURES = (NotImplementedError, OverflowError, ValueError, TypeError, KeyError, IndexError, AttributeError)


@lru_cache(maxsize=64)
def knows(language: str) -> bool:
    """Whether numbers can be read in that language."""
    from num2words import CONVERTER_CLASSES

    return language in CONVERTER_CLASSES


def separators(language: str) -> tuple[str, str]:
    """Between thousands (a character class) and before decimals."""
    return (",", ".") if language in _POINT else (r".\u00a0\u202f ", ",")


def pattern(language: str) -> str:
    """A number without its sign: grouped by threes or not, with or without decimals."""
    thousands, point = separators(language)
    whole = rf"(?:\d{{1,3}}(?:[{thousands}]\d{{3}}){{1,4}}(?!\d)|\d{{1,{MAX_DIGITS}}}(?!\d))"
    return rf"{whole}(?:{re.escape(point)}\d{{1,9}}(?!\d))?"


class Reader:
    """Says numbers in one language; None for what the language's converter cannot say."""

    def __init__(self, language: str) -> None:
        self._language = language
        thousands, self._point = separators(language)
        self._thousands = re.compile(rf"[{thousands}]")

    def value(self, written: str) -> Decimal | None:
        plain = self._thousands.sub("", written).replace(self._point, ".")
        try:
            return Decimal(plain)
        except InvalidOperation:
            return None

    def number(self, written: str) -> str | None:
        """`1,234.5`: one thousand two hundred and thirty-four point five."""
        value = self.value(written)
        return None if value is None else self.say(int(value) if value == value.to_integral() else float(value))

    def money(self, written: str, currency: str) -> str | None:
        value = self.value(written)
        if value is None:
            return None
        said = self.say(float(round(value, 2)), to="currency", currency=currency)
        return _without_cents(said) if said and value == value.to_integral() else said

    def say(self, value: int | float, **options: Any) -> str | None:
        from num2words import num2words

        try:
            return " ".join(str(num2words(value, lang=self._language, **options)).replace(",", "").split())
        except _FAILURES:  # each language's converter lacks other things, and says so in its own way
            return None


def _without_cents(said: str) -> str:
    """`five euro zero cents` ends with the whole amount."""
    words = said.split()
    zero = next((at for at, word in enumerate(words) if at and word.lower() in _ZEROS), None)
    if zero is None:
        return said
    return " ".join(words[: zero - 1] if words[zero - 1].lower() in _ANDS else words[:zero])


_ZEROS = {"zero", "null", "zéro", "cero", "nul", "ноль", "нуль", "noll", "nolla", "nula", "sıfır"}
_ANDS = {"and", "und", "et", "con", "e", "en", "och", "ja"}
