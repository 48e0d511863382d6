"""What a word is, and how much of a segment's time it is phonetic_length."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.text.letters import is_unspaced, spoken_letters

_RUN = re.compile(r"\S+")
_CJK_OPENING = "「『（【《〈〔｛［"
# Scripts without spaces besides Chinese and Japanese, and the vowels that are written before their consonant.
_CLUSTERED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
_LEADING_VOWEL = re.compile(r"[\u0e40-\u0e44\u0ec0-\u0ec4]")
_TRAILING_VOWEL = re.compile(r"[\u0e30-\u0e33\u0e45\u0eb0-\u0eb3]")
# Two letters for one sound, in languages with Latin letters.
_ONE_SOUND = re.compile(r"th|sh|ch|ck|gh|wh|ph|ng|([b-df-hj-np-tv-z])\1", re.IGNORECASE)


def word_spans(text: str) -> list[tuple[int, int]]:
    """`(begin, end)` of each word, punctuation included; all that is not space is in exactly one.

    Words are what spaces part. In Chinese, Japanese, Thai, Lao, Khmer and Burmese each character with its marks
    is one, and punctuation goes with the character before it, an opening bracket with the one after it.
    """
    spans = []
    for run in _RUN.finditer(text):
        begin = run.start()
        for at in range(run.start() + 1, run.end()):
            if _parts(text[begin:at], text[at]):
                spans.append((begin, at))
                begin = at
        spans.append((begin, run.end()))
    return spans


def phonetic_length(text: str) -> float:
    """How much speech a text is, in sounds of one letter; 0 if nothing of it is spoken."""
    return spoken_letters(text) - len(_ONE_SOUND.findall(text))


def _parts(word: str, char: str) -> bool:
    """Whether a word is over where `char` follows it."""
    if not any(map(_is_letter, word)) or _LEADING_VOWEL.match(word[-1]):
        return False
    if char in _CJK_OPENING:
        return True
    if not _is_letter(char) or unicodedata.category(char) in ("Mn", "Mc") or _TRAILING_VOWEL.match(char):
        return False
    return _stands_alone(char) or any(map(_stands_alone, word))


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _stands_alone(char: str) -> bool:
    return is_unspaced(char) or bool(_CLUSTERED.match(char))
