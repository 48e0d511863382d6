"""Where a text may be broken into lines, and how wide it is displayed, in any script."""

from __future__ import annotations

import unicodedata

from f5_worker.text.scripts import breaks_anywhere

# JIS X 4051: small kana, the long-vowel mark and closing punctuation do not begin a line; opening punctuation does
# not end one.
_NEVER_FIRST = frozenset(
    "、。，．・：；？！!?:;,.%‰℃…‥—〜ー々ゝゞヽヾぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ％"
)
_NEVER_LAST = frozenset("￥＄$£€¿¡")
_CLOSING, _OPENING = frozenset({"Pe", "Pf"}), frozenset({"Ps", "Pi"})
_NO_BREAK_SPACES = frozenset("\u00a0\u202f\u2007\u2060\ufeff")

# str.split removes the control characters that end lines; these are the others, and the byte order mark.
_CONTROL_CHARACTERS = {
    code: None for code in (*range(0x20), *range(0x7F, 0xA0), 0xFEFF) if code == 0xFEFF or not chr(code).isspace()
}


def single_line(text: str) -> str:
    """Return the text on one line: white space of any kind becomes one space, control characters are removed."""
    return " ".join(text.split()).translate(_CONTROL_CHARACTERS)


def display_width(text: str) -> int:
    """Return the columns of a fixed-width font: 2 for a wide character, 0 for a combining one, else 1; at least 1."""
    if text.isascii():
        return max(1, len(text))
    return max(1, sum(_columns(character) for character in text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def inner_breaks(text: str, begin: int, end: int) -> list[int]:
    """Return the offsets inside `text[begin:end]`, one word, at which a line may end: next to ideographs."""
    if text[begin:end].isascii():
        return []
    return [at for at in range(begin + 1, end) if can_break(text[at - 1], "", text[at])]


def can_break(before: str, between: str, after: str) -> bool:
    """Return True if a line may end between two words (or characters) that have `between` between them."""
    if "\n" in between:
        return True
    if any(character.isspace() and character not in _NO_BREAK_SPACES for character in between):
        follows_word = _is_punctuation(after) and not _opens(after[0])
        precedes_word = _is_punctuation(before) and _opens(before[-1])
        return not follows_word and not precedes_word
    last, first = before[-1], after[0]
    if between or not (breaks_anywhere(last) or breaks_anywhere(first)):
        return False
    return not (_closes(first) or _opens(last))


def _is_punctuation(word: str) -> bool:
    return not any(character.isalnum() for character in word)


def _closes(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _NEVER_FIRST or category in _CLOSING or category[0] == "M" or category == "Cf"


def _opens(character: str) -> bool:
    return character in _NEVER_LAST or unicodedata.category(character) in _OPENING
