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
        if run[0].isascii():  # quickly: no word ends inside
            spans.append(run.span())
            continue
        begin, has_letter, has_own_word = run.start(), False, False
        for at in range(run.start(), run.end()):
            char = text[at]
            if has_letter and _ends_before(char, text[at - 1], has_own_word):
                spans.append((begin, at))
                begin, has_letter, has_own_word = at, False, False
            has_letter = has_letter or _is_letter(char)
            has_own_word = has_own_word or _is_own_word(char)
        spans.append((begin, run.end()))
    return spans


def letter_span(text: str, begin: int, end: int) -> tuple[int, int] | None:
    """Return the span from a word's first spoken letter to its last; None if nothing of it is spoken."""
    letters = [at for at in range(begin, end) if spoken_letters(text[at])]
    return (letters[0], letters[-1] + 1) if letters else None


def phonetic_length(text: str) -> float:
    """Return how much speech a text is, in sounds of one letter; 0 if nothing of it is spoken."""
    return spoken_letters(text) - len(_ONE_SOUND.findall(text))


def _ends_before(char: str, previous: str, has_own_word: bool) -> bool:
    """Return True if a word that has letters ends between two characters.

    Args:
        has_own_word: the word has a character that is a word of its own.
    """
    if is_leading_vowel(previous):
        return False
    if char in CJK_OPENING_BRACKETS:
        return True
    if not _is_letter(char) or unicodedata.category(char) in ("Mn", "Mc") or is_trailing_vowel(char):
        return False
    return has_own_word or _is_own_word(char)


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _is_own_word(char: str) -> bool:
    return is_unspaced(char) or is_clustered(char)
