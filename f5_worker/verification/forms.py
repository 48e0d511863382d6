"""The words of a text as they are compared with those that a recogniser wrote."""

from __future__ import annotations

import functools
import re

from f5_worker.reference.match import tokens
from f5_worker.text.reading import ReadingOptions, read_line

MAX_CHARS = 4_000  # of what a recogniser wrote of half a minute


def spoken_words(text: str, language: str) -> list[str]:
    """Return the words of a text as they are spoken, without case, marks and punctuation; numbers in words."""
    return tokens(read_line(text[:MAX_CHARS], ReadingOptions(language=language)).text.text)


@functools.lru_cache(maxsize=4_096)
def sounds_alike(written: str, heard: str) -> bool:
    """Return True for words that a recogniser may confuse though they were spoken well."""
    import jellyfish

    if written == heard:
        return True
    distance = jellyfish.levenshtein_distance(written, heard) / max(len(written), len(heard))
    if distance <= MAX_SPELLING_DISTANCE:
        return True
    if not (written.isascii() and heard.isascii()) or distance > MAX_HOMOPHONE_DISTANCE:
        return False
    return _key(written) == _key(heard)


MAX_SPELLING_DISTANCE, MAX_HOMOPHONE_DISTANCE = 0.25, 0.8
_INITIAL_VOWEL = re.compile(r"^[AEIOU]")


def _key(word: str) -> str:
    import jellyfish

    return _INITIAL_VOWEL.sub("A", jellyfish.metaphone(word))
