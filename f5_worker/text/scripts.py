"""Scripts: the ranges of characters that belong to each, and how each separates words and lines.

A name in capitals is a set of ranges for a regular expression's character class: `re.compile(f"[{HAN}]")`.
Ranges follow Unicode's blocks. The sets for line and word breaks are composed from them and differ on purpose.
"""

from __future__ import annotations

import functools
import re
import unicodedata

HAN = r"\u3400-\u9fff\uf900-\ufaff"  # extension A, unified and compatibility ideographs
HAN_SUPPLEMENT = r"\U00020000-\U0003ffff"  # extension B and later
KANA = r"\u3040-\u30ff"  # hiragana, katakana
HALFWIDTH_KANA = r"\uff66-\uff9f"
HANGUL = r"\uac00-\ud7af"  # syllables
HANGUL_JAMO = r"\u1100-\u11ff"

# Chinese and Japanese letters: between them no word ends with a space.
UNSPACED = rf"{HAN}{HAN_SUPPLEMENT}{KANA}{HALFWIDTH_KANA}"

# Radicals, CJK punctuation, kana, bopomofo and BMP ideographs, without Hangul's compatibility letters (U+3130..318F).
_CJK_WITHOUT_HANGUL = r"\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff"
_FULLWIDTH_AND_HALFWIDTH_KANA = r"\uff00-\uff9f"
_FULLWIDTH_SIGNS = r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff9f"  # no digits, no Latin letters
_CJK_COMPATIBILITY_FORMS = r"\ufe30-\ufe4f"

# A long text may be cut after any of these, Korean syllables among them; see `text.chunk`.
CUT_AFTER = rf"\u2e80-\u9fff{HANGUL}\uf900-\ufaff\uff00-\uffef"
# Two lines that meet between two of these are joined without a space; see `transcripts.cues`.
JOINED_WITHOUT_SPACE = rf"{_CJK_WITHOUT_HANGUL}{_FULLWIDTH_AND_HALFWIDTH_KANA}{HAN_SUPPLEMENT}"
# A subtitle's line may end next to one of these, also where there is no space; see `subtitles.breaks`.
BREAKS_ANYWHERE = rf"{_CJK_WITHOUT_HANGUL}{_CJK_COMPATIBILITY_FORMS}{_FULLWIDTH_SIGNS}{HAN_SUPPLEMENT}"

# Scripts without spaces besides Chinese and Japanese: Thai and Lao, Burmese, Khmer.
CLUSTERED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_LEADING_VOWELS = r"\u0e40-\u0e44\u0ec0-\u0ec4"  # Thai and Lao vowels that are written before their consonant
_TRAILING_VOWELS = r"\u0e30-\u0e33\u0e45\u0eb0-\u0eb3"  # those that are written after it and are letters, not marks

CJK_OPENING_BRACKETS = "「『（【《〈〔｛［"
# Zero-width non-joiner and joiner: part of words in Persian and in Indic scripts.
WORD_JOINERS = "\u200c\u200d"
# Characters that nothing shows: Unicode's Default_Ignorable_Code_Point without Hangul's fillers, which letters compose
# with, and the tags of Mongolian vowels.
INVISIBLE = (
    r"\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Letters of scripts in which a joiner shows nothing: Latin to Armenian, Han, kana, Hangul.
_JOINED_WITHOUT_MARKS = rf"\u0000-\u058f\u1e00-\u1fff{HAN}{KANA}{HANGUL}"


def strip_invisible(text: str) -> str:
    """Remove the characters that nothing shows; a joiner stays between two letters of a script that needs it."""
    if text.isascii():
        return text
    shown = _class(INVISIBLE).sub(lambda match: match[0] if match[0] in WORD_JOINERS else "", text)
    return _needless_joiner().sub("", shown)


def is_latin(char: str) -> bool:
    """Return True for a character of the Latin blocks (up to Latin Extended-B), digits and ASCII signs included."""
    return char < "\u0250"


def is_han(char: str) -> bool:
    """Return True for a Chinese character, also in Japanese."""
    return _class(HAN + HAN_SUPPLEMENT).match(char) is not None


def is_kana(char: str) -> bool:
    """Return True for hiragana and katakana, also of half width."""
    return _class(KANA + HALFWIDTH_KANA).match(char) is not None


def is_hangul(char: str) -> bool:
    """Return True for a Korean syllable or one of its letters."""
    return _class(HANGUL + HANGUL_JAMO).match(char) is not None


def is_unspaced(char: str) -> bool:
    """Return True for a character of Chinese or Japanese, which put no spaces between words."""
    return _class(UNSPACED).match(char) is not None


def is_clustered(char: str) -> bool:
    """Return True for a character of Thai, Lao, Burmese or Khmer: no spaces, and vowels around the consonant."""
    return _class(CLUSTERED).match(char) is not None


def is_leading_vowel(char: str) -> bool:
    """Return True for a Thai or Lao vowel that is written before its consonant."""
    return _class(_LEADING_VOWELS).match(char) is not None


def is_trailing_vowel(char: str) -> bool:
    """Return True for a Thai or Lao vowel that is a letter of its own after its consonant."""
    return _class(_TRAILING_VOWELS).match(char) is not None


def is_later_jamo(char: str) -> bool:
    """Return True for a Korean vowel or final consonant that composes with the letter before it."""
    return "\u1160" <= char <= "\u11ff"


def breaks_anywhere(char: str) -> bool:
    """Return True for a character next to which a line may end without a space; Hangul has spaces."""
    return _class(BREAKS_ANYWHERE).match(char) is not None


def is_right_to_left(text: str) -> bool:
    """Return True if the first letter that has a direction is Arabic, Hebrew or the like."""
    for char in text:
        direction = unicodedata.bidirectional(char)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


def has_right_to_left(text: str) -> bool:
    """Return True if any letter of a text is written from right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(char) in ("R", "AL") for char in text)


@functools.cache
def _needless_joiner() -> re.Pattern[str]:
    """Return the joiners before another one, at the edge of a word, and after letters whose scripts have none."""
    joiner = f"[{WORD_JOINERS}]"
    return re.compile(rf"{joiner}(?!\w)|(?<![\w\u0300-\u1cff]){joiner}|(?<=[{_JOINED_WITHOUT_MARKS}]){joiner}")


@functools.cache
def _class(ranges: str) -> re.Pattern[str]:
    """Return the character class, compiled when it is first needed: to compile the ten takes 10 ms of a start."""
    return re.compile(f"[{ranges}]")
