"""Numbers as words, by num2words and, in Indian languages, indic-numtowords; without commas, which would be pauses."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from threading import Lock

MAX_DIGITS = 15  # of an amount; longer ones are read digit by digit
INDIC = ("gu", "hi", "ml", "mr", "ta", "te")  # of Kannada, Odia and Urdu the library cuts some numbers
_CRORE = 10**7
_ONE_WITH_TENS = ("ru", "uk")  # двадцать одна секунда
_FEW_ONLY_AS_UNITS = ("cs", "sk")  # dvacet dva hodin
UNSPACED_WORDS = ("ja", "zh")  # the words of a number, and units, follow without spaces
_ZERO_WIDTH = "\u200c"  # in Tamil nine hundred; shows and says nothing
_converting = Lock()  # some of the library's converters keep the current number in an attribute


def whole(digits: str, language: str) -> str:
    """Write an integer as an amount, but digit by digit after a leading zero or if it is very long."""
    if len(digits) > MAX_DIGITS or (len(digits) > 1 and int(digits[0]) == 0):
        return spelled(digits, language)
    return converted(int(digits), language)


def spelled(digits: str, language: str) -> str:
    """Write `123` as one two three."""
    return ("" if language in UNSPACED_WORDS else " ").join(converted(int(digit), language) for digit in digits)


def agreeing(forms: str, value: int, language: str) -> str:
    """Choose what goes with a number out of `one/others` or, in Slavic languages, `one/few/many`."""
    one, *others = forms.split("/")
    if not others or value == 1:
        return one
    last, tens = (value, 0) if language in _FEW_ONLY_AS_UNITS else (value % 10, value // 10 % 10)
    if last == 1 and tens != 1 and language in _ONE_WITH_TENS:
        return one
    return others[0] if 2 <= last <= 4 and tens != 1 else others[-1]


@lru_cache(maxsize=4096)
def converted(value: int, language: str, to: str = "cardinal") -> str:
    """Write a number that is not negative: a `cardinal`, an `ordinal` or a `year` in hundreds."""
    if language in INDIC:
        return _indic(value, language)
    from num2words import num2words

    if language == "zh":  # which the library has not; the numerals are those of Japanese
        return converted(value, "ja", to)
    with _converting:
        words = " ".join(num2words(value, lang=language, to=to).replace(",", " ").split())
    if language == "ja":  # 10,000 is one ten-thousand
        words = re.sub(
            r"(?<![一二三四五六七八九十百千])(?=[万億兆])|(?<![二三四五六七八九])(?=千[万億兆])", "一", words
        )
    return words.replace(" and ", " ") if language == "en" else words


@lru_cache(maxsize=1024)
def money(amount: Decimal, currency: str, language: str) -> str:
    """Write an amount with the currency's name, ISO 4217, with cents if it has any."""
    from num2words import num2words

    # A separator that no language uses tells where the cents begin; by itself the library says "and zero cents".
    options = {} if amount % 1 else {"separator": "\0"}
    with _converting:
        words: str = num2words(amount, lang=language, to="currency", currency=currency, **options)
    return " ".join(words.split("\0")[0].replace(",", " ").split())


def _indic(value: int, language: str) -> str:
    """Write a number of any size; the library reads more than 99 crore digit by digit."""
    from indic_numtowords import num2words

    crores, rest = divmod(value, _CRORE)
    if crores < 100:
        words: str = num2words(value, lang=language)
        return unicodedata.normalize("NFC", words.replace(_ZERO_WIDTH, ""))
    crore = num2words(2 * _CRORE, lang=language).split()[-1]
    return f"{_indic(crores, language)} {crore}" + (f" {_indic(rest, language)}" if rest else "")
