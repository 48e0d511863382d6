"""Split a text into words, and measure how much speech a text is."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.text.letters import spoken_letters
from f5_worker.text.scripts import (
    CJK_OPENING_BRACKETS,
    is_clustered,
    is_leading_vowel,
    is_trailing_vowel,
    is_unspaced,
)

_RUN = re.compile(r"\S+")
# Two letters for one sound, in languages with Latin letters.
_ONE_SOUND = re.compile(r"th|sh|ch|ck|gh|wh|ph|ng|([b-df-hj-np-tv-z])\1", re.IGNORECASE)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return `(begin, end)` of each word, punctuation included; every character but spaces is in exactly one.

    Words are separated by spaces. In Chinese, Japanese, Thai, Lao, Khmer and Burmese each character with its marks
    is a word, and punctuation belongs to the character before it, an opening bracket to the one after it.
    """
    spans = []
    for run in _RUN.finditer(text):
        begin = run.start()
        for at in range(run.start() + 1, run.end()):
            if _ends_before(text[begin:at], text[at]):
                spans.append((begin, at))
                begin = at
        spans.append((begin, run.end()))
    return spans


def phonetic_length(text: str) -> float:
    """Return how much speech a text is, in sounds of one letter; 0 if nothing of it is spoken."""
    return spoken_letters(text) - len(_ONE_SOUND.findall(text))


def _ends_before(word: str, char: str) -> bool:
    """Return True if a word ends where `char` follows it."""
    if not any(map(_is_letter, word)) or is_leading_vowel(word[-1]):
        return False
    if char in CJK_OPENING_BRACKETS:
        return True
    if not _is_letter(char) or unicodedata.category(char) in ("Mn", "Mc") or is_trailing_vowel(char):
        return False
    return _is_own_word(char) or any(map(_is_own_word, word))


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _is_own_word(char: str) -> bool:
    return is_unspaced(char) or is_clustered(char)
