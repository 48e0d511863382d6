"""How much speech a text is, counted in Latin letters."""

from __future__ import annotations

import functools
import unicodedata

from f5_worker.text.scripts import is_han, is_hangul, is_kana

# How many Latin letters a character takes in time: Chinese runs at 3 to 6 characters a second, Korean at
# 4 to 8, Japanese at 7 to 9 kana; a digit is spoken as a word.
HAN_LETTERS, HANGUL_LETTERS, KANA_LETTERS, DIGIT_LETTERS = 3.0, 3.0, 2.0, 4.0


def spoken_letters(text: str) -> float:
    """Return how much speech a text is, in Latin letters; spaces and punctuation count nothing."""
    return sum(map(letters, text))


def count_signs(text: str) -> int:
    """Return how many characters are not spoken: punctuation, symbols, and marks that are put on any letter."""
    return sum(_is_sign(char) for char in text)


def _is_sign(char: str) -> bool:
    kind = unicodedata.category(char)[0]
    return kind in "PSC" or (kind == "M" and unicodedata.name(char, "COMBINING").startswith("COMBINING"))


@functools.lru_cache(maxsize=4_096)
def letters(char: str) -> float:
    """Return `spoken_letters` of one character."""
    if is_han(char):
        return HAN_LETTERS
    if is_hangul(char):
        return HANGUL_LETTERS
    if is_kana(char):
        return KANA_LETTERS
    kind = unicodedata.category(char)
    return DIGIT_LETTERS if kind[0] == "N" else float(kind[0] == "L" or kind == "Mc")  # Mc: Indic vowels
