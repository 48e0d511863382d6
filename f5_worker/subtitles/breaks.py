"""Where a text may be cut into lines, and how wide its pieces are, in any script."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.text.chunk import is_abbreviated

# Scripts written without spaces in which a line may end after almost any character; Hangul has spaces.
_IDEOGRAPH = re.compile(
    "[\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff9f"
    "\U00020000-\U0003ffff]"
)
# JIS X 4051: small kana, the long-vowel sign and closing signs do not begin a line; opening signs do not end one.
_NEVER_FIRST = frozenset(
    "、。，．・：；？！!?:;,.%‰℃…‥—〜ー々ゝゞヽヾぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ％"
)
_NEVER_LAST = frozenset("￥＄$£€¿¡")
_CLOSING, _OPENING = frozenset({"Pe", "Pf"}), frozenset({"Ps", "Pi"})
_NO_BREAK_SPACES = frozenset("\u00a0\u202f\u2007\u2060\ufeff")

_CLOSERS = "\"'”’“»«›)]}」』）】》〉"
_SENTENCE_SIGNS = frozenset(".!?…。！？।॥؟۔｡")
_CLAUSE_SIGNS = frozenset(",;:،؛，；：、､–—")
_LOOK_BACK_CHARS = 40  # as far as an abbreviation reaches

# str.split takes the control characters that end lines; these are the others, and the byte order mark.
_UNPRINTABLE = {
    code: None for code in (*range(0x20), *range(0x7F, 0xA0), 0xFEFF) if code == 0xFEFF or not chr(code).isspace()
}


def printable(text: str) -> str:
    """On one line: white space of any kind becomes one space, control characters go."""
    return " ".join(text.split()).translate(_UNPRINTABLE)


def width(text: str) -> int:
    """Columns of a fixed-width font: 2 for a wide character, 0 for a mark on another, else 1; at least 1."""
    if text.isascii():
        return max(1, len(text))
    return max(1, sum(_columns(character) for character in text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def is_right_to_left(text: str) -> bool:
    """True if the first letter that has a direction is Arabic, Hebrew or the like."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


def has_right_to_left(text: str) -> bool:
    return not text.isascii() and any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def inner_cuts(text: str, begin: int, end: int) -> list[int]:
    """Offsets inside `text[begin:end]`, one word, at which a line may end: beside ideographs."""
    if text[begin:end].isascii():
        return []
    return [cut for cut in range(begin + 1, end) if may_break(text[cut - 1], "", text[cut])]


def may_break(before: str, between: str, after: str) -> bool:
    """Can a line end between two words (or characters) that have `between` between them?"""
    if "\n" in between:
        return True
    if any(character.isspace() and character not in _NO_BREAK_SPACES for character in between):
        return not (_is_sign(after) and not _opens(after[0])) and not (_is_sign(before) and _opens(before[-1]))
    last, first = before[-1], after[0]
    if between or not (_IDEOGRAPH.match(last) or _IDEOGRAPH.match(first)):
        return False
    return not (_closes(first) or _opens(last))


def _is_sign(word: str) -> bool:
    return not any(character.isalnum() for character in word)


def _closes(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _NEVER_FIRST or category in _CLOSING or category[0] == "M" or category == "Cf"


def _opens(character: str) -> bool:
    return character in _NEVER_LAST or unicodedata.category(character) in _OPENING


def ends_sentence(text: str, end: int) -> bool:
    """Does a sentence, or a line that is no wrapped one, end before `text[end]`, where a word begins?"""
    piece = text[max(0, end - _LOOK_BACK_CHARS) : end]
    bare = piece.rstrip()
    if "\n" in piece[len(bare) :] and not text[end : end + 1].islower():
        return True
    signs = bare.rstrip(_CLOSERS)
    return bool(signs) and signs[-1] in _SENTENCE_SIGNS and not is_abbreviated(piece)


def ends_clause(text: str) -> bool:
    """Does a piece of text end with a comma or another sign at which one breathes?"""
    return text.rstrip(_CLOSERS)[-1:] in _CLAUSE_SIGNS
