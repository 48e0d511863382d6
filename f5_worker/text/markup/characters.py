"""Characters that people paste to those that a voice reads: emoji, letters in disguise, signs that nothing says.

Unicode's compatibility forms (NFKC) for letters and numbers only: punctuation keeps its width, since full stops of
Chinese and Japanese are wide, and scripts that NFKC would take apart (Thai, Korean letters on their own) stay as they
are written.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Iterator

from f5_worker.text.scripts import WORD_JOINERS, is_unspaced
from f5_worker.text.spans import SourceMappedText

# Emoji, pictographs and other symbols that are not read aloud; signs such as %, &, + and currency stay.
_UNSPOKEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk"))
_INVISIBLE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Cn"))  # removed without a trace, also inside a word
_SPOKEN_SIGNS = "°™©®№℃℉"
_VARIATION_SELECTORS = r"\ufe00-\ufe0f\U000e0100-\U000e01ef"
# What turns letters into a picture or strikes them through: enclosing and overlaid marks, underlines.
_OVERLAYS = r"\u0305\u0332-\u0338\u033f\u20d0-\u20f0"
# A keycap, and a character that is a letter or a sign by itself but asks to be shown as a picture.
_PICTURE = re.compile(r"[0-9#*]\ufe0f?\u20e3|[^\x00-\x7f‼⁉]\ufe0f")
_TRACELESS = re.compile(rf"[{_VARIATION_SELECTORS}{_OVERLAYS}]+")
_MARKS = {"‼": "!!", "⁇": "??", "⁈": "?!", "⁉": "!?"}

# Not taken apart: ordinal signs and superscripts, which are read as such; Thai, Lao and Tibetan vowels;
# Korean letters on their own; half-width Korean.
_KEPT = re.compile(r"[ªº⅟²³¹⁰-⁹\u0e00-\u0fff\u3130-\u318f\uffa0-\uffdc]")
# Letters and numbers among the symbols: enclosed ones, units in one character, radicals.
_SYMBOLS_OF_LETTERS = re.compile(r"[\u2460-\u24ff\u2f00-\u2fdf\u3200-\u33ff\U0001f100-\U0001f16b\U0001f170-\U0001f189]")
_NEGATIVE_LETTERS = ((0x1F150, 0x1F169), (0x1F170, 0x1F189))  # white on black, A to Z
_SMALL_CAPITAL = re.compile(r"LATIN LETTER SMALL CAPITAL ([A-Z])")
_ROMAN = re.compile(r"[\u2160-\u217f]+")
_SUPERSCRIPT = re.compile(
    r"(?<=[\d)])[⁺⁻]?[⁰¹²³⁴-⁹]+|(?<![^\W\d_]{2})(?<=[^\W\d_])(?:[⁺⁻][⁰¹²³⁴-⁹]+|[⁴-⁹])"
    r"|(?<![^\W\d_]{2})(?<!/.)(?<=[A-Za-ln-rt-z])[²³]"  # not m², m/s²
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_WIDE_SIGN = re.compile(r"[％＄￥￡￦＋＝＆＃＠]|(?<=\d)[：．，／－](?=\d)")
_LOOSE_POWER = re.compile(r"(?<![\w)\]])\^|\^(?![\w(+-])")
_ENTITY = re.compile(r"&(?:amp;)?(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ASCII_UNSPOKEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f^]")


def unescape_entities(text: SourceMappedText) -> SourceMappedText:
    """Replace HTML's entities, `&#39;` and `&amp;`, also those that were escaped twice."""
    if "&" not in text.text:
        return text
    return text.sub(_ENTITY, lambda match: html.unescape(html.unescape(match[0])).replace("\xa0", " "))


def plain_characters(text: SourceMappedText) -> SourceMappedText:
    """Return the text in characters that are read: letters without their disguise, no emoji, nothing invisible.

    What is removed between two words leaves a space.
    """
    if not text.text.isascii():
        text = text.replace(_removals(text.text, _PICTURE))
        text = text.sub(_TRACELESS, "").sub(_SUPERSCRIPT, _power)
        text = text.replace(_compatible(text.text)).compose().sub(_WIDE_SIGN, _narrow)
    elif not _ASCII_UNSPOKEN.search(text.text):
        return text
    return text.replace(_unspoken(text.text))


def _compatible(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the changes of letters and numbers to their plain forms."""
    last_roman = 0
    for at, char in enumerate(text):
        if char < "\x80" or at < last_roman:
            continue
        if roman := _ROMAN.match(text, at):
            last_roman = roman.end()
            yield at, last_roman, _apart(_roman_number(roman[0]), text, at, last_roman)
        elif (plain := _plain(char)) != char:
            is_number = unicodedata.category(char) == "No" and plain.replace("/", "").isdecimal()
            yield at, at + 1, _apart(plain, text, at, at + 1) if is_number and not _is_subscript(char) else plain


@functools.lru_cache(4_096)
def _plain(char: str) -> str:
    """Return what a letter or number in disguise stands for; any other character as it is."""
    if char in _MARKS:
        return _MARKS[char]
    kind = unicodedata.category(char)
    if kind[0] not in "LN" and not (kind == "So" and _SYMBOLS_OF_LETTERS.match(char)):
        return char
    if char in _SPOKEN_SIGNS or _KEPT.match(char):
        return char
    for first, last in _NEGATIVE_LETTERS:
        if first <= ord(char) <= last:
            return chr(ord("A") + ord(char) - first)
    plain = unicodedata.normalize("NFKC", char).replace("⁄", "/")  # the sign between the numbers of ½
    if plain == char and kind == "Ll" and (capital := _SMALL_CAPITAL.fullmatch(unicodedata.name(char, ""))):
        return capital[1].lower()
    if plain == char and kind == "No" and unicodedata.numeric(char, 0.5).is_integer() and char not in "௰௱௲":
        return str(int(unicodedata.numeric(char)))
    return plain


def _is_subscript(char: str) -> bool:
    return "\u2080" <= char <= "\u2089"


def _roman_number(run: str) -> str:
    """Return the number of a run of Unicode's Roman numerals in digits, which every language reads."""
    values = [int(unicodedata.numeric(char)) for char in run]
    return str(sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True)))


def _apart(new: str, text: str, begin: int, end: int) -> str:
    """Return a number that was one sign with spaces where it would join another word."""
    before, after = text[begin - 1 : begin], text[end : end + 1]
    return " " * _is_latin(before) + new + " " * (_is_latin(after) or unicodedata.category(after or " ") == "No")


def _is_latin(char: str) -> bool:
    return char.isalnum() and not is_unspaced(char) and unicodedata.category(char) != "No"


def _power(match: re.Match[str]) -> str:
    return "^" + match[0].translate(_RAISED)


def _narrow(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0])


def _unspoken(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the removal of each run of characters that are not read."""
    loose_powers = {match.start() for match in _LOOSE_POWER.finditer(text)} if "^" in text else ()
    begin, leaves_trace = -1, False
    for at, char in enumerate(text):
        kind = _trace_of(char)
        if kind is None or (char == "^" and at not in loose_powers):
            if begin >= 0:
                yield begin, at, _gap(text, begin, at) if leaves_trace else ""
            begin, leaves_trace = -1, False
            continue
        begin = at if begin < 0 else begin
        leaves_trace = leaves_trace or kind
    if begin >= 0:
        yield begin, len(text), ""


@functools.lru_cache(4_096)
def _trace_of(char: str) -> bool | None:
    """Return None for a character that is read, else whether it parts the words around it."""
    if char in "\n\t" or char in WORD_JOINERS or char in _SPOKEN_SIGNS:
        return None
    category = unicodedata.category(char)
    return None if category not in _UNSPOKEN_CATEGORIES else category not in _INVISIBLE_CATEGORIES


def is_read(char: str) -> bool:
    """Return True for a character that has a sound or shapes one: no emoji, no control character."""
    return _trace_of(char) is None


def _removals(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int, str]]:
    for match in pattern.finditer(text):
        yield match.start(), match.end(), _gap(text, *match.span())


def _gap(text: str, begin: int, end: int) -> str:
    """Return what is left of `text[begin:end]`: a space between two words, nothing elsewhere."""
    return " " if _is_latin(text[begin - 1 : begin]) and _is_latin(text[end : end + 1]) else ""
