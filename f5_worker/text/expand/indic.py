"""Numbers of Indian languages, which num2words lacks: by hundreds of thousands and of those (lakh and crore)."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

_CRORE = 10**7
_HUNDREDS = range(1100, 2000)
_WIDTHLESS = "\u200c"  # in Tamil nine hundred; shows and says nothing


class Coin(NamedTuple):
    """A currency's names: frames of one, others and a hundredth, `one/others`."""

    whole: str
    hundredth: str


# Those that the library has right: of Kannada, Odia and Urdu some numbers are cut, or have letters of other scripts.
INDIC = ("gu", "hi", "ml", "mr", "ta", "te")
COINS = {
    ("hi", "₹"): Coin("{} रुपया/{} रुपए", "{} पैसा/{} पैसे"),
    ("hi", "$"): Coin("{} डॉलर", "{} सेंट"),
    ("hi", "€"): Coin("{} यूरो", "{} सेंट"),
    ("hi", "£"): Coin("{} पाउंड", "{} पेंस"),
    ("mr", "₹"): Coin("{} रुपया/{} रुपये", "{} पैसा/{} पैसे"),
    ("gu", "₹"): Coin("{} રૂપિયો/{} રૂપિયા", "{} પૈસો/{} પૈસા"),
    ("ta", "₹"): Coin("{} ரூபாய்", "{} பைசா"),
    ("te", "₹"): Coin("{} రూపాయి/{} రూపాయలు", "{} పైసా/{} పైసలు"),
}
# The stem of an ordinal after its number in figures; the vowel that follows stays as it is written.
HINDI_ORDINAL = r"(?:[1१]ल|[23२३]र|[4४]थ|[6६]ठ|\d{1,6}व)(?=[ाीे][ंँ]?(?!\w))"
_HINDI_STEMS = {1: "पहल", 2: "दूसर", 3: "तीसर", 4: "चौथ", 6: "छठ"}


def indic_cardinal(value: int, language: str) -> str:
    """Write a number of any size; the library reads more than 99 crore digit by digit."""
    from indic_numtowords import num2words

    crores, rest = divmod(value, _CRORE)
    if crores < 100:
        words: str = num2words(value, lang=language)
        return unicodedata.normalize("NFC", words.replace(_WIDTHLESS, ""))
    crore = num2words(2 * _CRORE, lang=language).split()[-1]
    return _with_rest(f"{indic_cardinal(crores, language)} {crore}", rest, language)


def year_in_hundreds(value: int, language: str) -> str:
    """Write a year as nineteen hundred ninety-nine."""
    century, rest = divmod(value, 100)
    hundred = indic_cardinal(200, language).split()[-1]
    return _with_rest(f"{indic_cardinal(century, language)} {hundred}", rest, language)


def hindi_ordinal(written: str) -> str:
    """Write the stem of an ordinal: `21व` as इक्कीसव."""
    value, last = int(written[:-1]), written[-1]
    if last != "व":
        return _HINDI_STEMS[value]
    return (year_in_hundreds(value, "hi") if value in _HUNDREDS else indic_cardinal(value, "hi")) + last


def _with_rest(words: str, rest: int, language: str) -> str:
    return f"{words} {indic_cardinal(rest, language)}" if rest else words
