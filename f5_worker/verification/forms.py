"""The words of a text as they are compared with those that a recogniser wrote, and how much two of them sound alike."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from f5_worker.alignment.words import word_spans
from f5_worker.text.reading import ReadingOptions, read_line
from f5_worker.text.tokens import tokens
from f5_worker.verification.thresholds import VERIFICATION

ENGLISH, CHINESE = "en", "zh"
_BEFORE_AND = frozenset("hundred thousand million billion dollar dollars euro euros pound pounds".split())
_SMALL_NUMBERS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety first second third fourth fifth sixth "
    "seventh eighth ninth tenth eleventh twelfth".split()
)


class SpokenWord(NamedTuple):
    """A word without case, accents and punctuation, numbers in words; and its characters in the text it is from."""

    text: str
    begin: int
    end: int


@functools.lru_cache(maxsize=256)  # of all takes of a segment, and of the reference of all segments
def spoken_words(text: str, language: str) -> tuple[SpokenWord, ...]:
    """Return the words of a text as they are spoken: both a text and its transcript are written out the same way.

    Args:
        language: ISO 639-1; says how numbers are read.
    """
    read = read_line(text, ReadingOptions(language=language)).text
    words = []
    for begin, end in word_spans(read.text):
        begins, ends = zip(*read.origin[begin:end], strict=True)
        words += [SpokenWord(token, min(begins), max(ends)) for token in tokens(read.text[begin:end])]
    return tuple(_without_and(words) if language == ENGLISH else words)


def _without_and(words: Sequence[SpokenWord]) -> Sequence[SpokenWord]:
    """Leave out the "and" of "two thousand and four" and "a dollar and ten cents", which 2004 and $1.10 do not tell."""
    is_optional = [
        word.text == "and" and before.text in _BEFORE_AND and after.text in _SMALL_NUMBERS
        for before, word, after in zip(words, words[1:], words[2:], strict=False)
    ]
    return [word for word, leave_out in zip(words, [False, *is_optional, False], strict=False) if not leave_out]


@functools.lru_cache(maxsize=8_192)
def sound_alike(written: str, heard: str, language: str) -> bool:
    """Return True for words that differ in spelling at most: homophones, and what a recogniser spells otherwise."""
    if written == heard or _distance(written, heard) <= VERIFICATION.max_letter_distance:
        return True
    return _sounds(written, language) == _sounds(heard, language)


def sound_distance(written: str, heard: str, language: str) -> float:
    """Return the share of sounds in which words differ, 0..1; of their letters for other languages than English."""
    return _distance(_sounds(written, language), _sounds(heard, language))


@functools.lru_cache(maxsize=8_192)
def _sounds(word: str, language: str) -> str:
    """Return what stands for the sounds of a word."""
    if language == ENGLISH and word.isascii():
        import jellyfish

        key = str(jellyfish.metaphone(word))
        # It keeps a vowel at the begin only; which one it is says little: "hour", "our"; "eight", "ate".
        return "A" + key.lstrip("AEIOU") if key[:1] in "AEIOU" else key
    if language == CHINESE:
        from pypinyin import lazy_pinyin

        return "".join(lazy_pinyin(word))
    return word


def _distance(one: str, other: str) -> float:
    import jellyfish

    return float(jellyfish.levenshtein_distance(one, other)) / max(1, len(one), len(other))
