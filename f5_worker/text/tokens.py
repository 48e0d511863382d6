"""The words of a text as they are compared with those of another."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.text.scripts import UNSPACED

_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic; in other scripts marks are vowels
_APOSTROPHES = re.compile("(?<=\\w)['’ʼ](?=\\w)")


def tokens(text: str) -> list[str]:
    """Return the words of a text without case, accents, apostrophes and punctuation.

    Chinese and Japanese are split by character.
    """
    return _TOKEN.findall(_simplify(text))


def _simplify(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", _APOSTROPHES.sub("", folded)))
    return "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in plain)
