"""The language of a text or a sentence, told from its script where that has one."""

from __future__ import annotations

import re
from functools import cache

from f5_worker.text.scripts import HAN, HAN_SUPPLEMENT, HANGUL, HANGUL_JAMO, KANA

_WORD_CHARACTERS = 2  # of Chinese, Japanese and Korean: about as many make a word
_HAN_LANGUAGES = ("ja", "zh")


def language_by_script(text: str) -> str | None:
    """Return `ja`, `ko` or `zh` where most words of a text are written so, None for scripts of many languages.

    A Chinese name in an English sentence does not make it Chinese.
    """
    if text.isascii():
        return None
    eastern, other = _patterns()
    letters = eastern.findall(text)
    if not letters or len(letters) / _WORD_CHARACTERS < sum(1 for _ in other.finditer(text)):
        return None
    scripts = [_script(letter) for letter in letters]
    return "ja" if "ja" in scripts else max(("ko", "zh"), key=scripts.count)


def sentence_language(sentence: str, language: str) -> str:
    """Return a sentence's language where that of its text, `language`, was told from the script or the model."""
    script = language_by_script(sentence)
    if script == "zh" and language in _HAN_LANGUAGES:  # a Japanese sentence may be without kana
        return language
    if script is None and language in (*_HAN_LANGUAGES, "ko") and _patterns()[1].search(sentence):
        return "en"
    return script or language


def _script(letter: str) -> str:
    if "\u3040" <= letter <= "\u30ff":
        return "ja"
    return "ko" if "\uac00" <= letter <= "\ud7af" or "\u1100" <= letter <= "\u11ff" else "zh"


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return a letter of these scripts, and a word of any other."""
    eastern = f"{HAN}{HAN_SUPPLEMENT}{KANA}{HANGUL}{HANGUL_JAMO}"
    return re.compile(f"[{eastern}]"), re.compile(rf"(?:(?![{eastern}])[^\W\d_])+")
