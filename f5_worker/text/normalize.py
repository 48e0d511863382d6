"""Normalize a caller's text to what the model reads, mapping each character back to where it was written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from f5_worker.errors import TextUnspeakable
from f5_worker.text.language import sentence_language
from f5_worker.text.markup.characters import plain_characters
from f5_worker.text.scripts import WORD_JOINERS, strip_invisible
from f5_worker.text.sentences import CJK_CLAUSE_MARKS, CJK_STOPS, LATIN_CLAUSE_MARKS, sentence_ends
from f5_worker.text.spans import SourceMappedText

# Typographic signs to those that upstream's vocabularies know.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒−﹘", "-"),
        **dict.fromkeys("–—―", " - "),
        **dict.fromkeys("„‟″", '"'),
        **dict.fromkeys("‚‛′`´", "'"),
        "…": "...",
        "\u00a0": " ",
        "\u2028": "\n",
        "\u2029": "\n\n",
    }
)
_GUILLEMETS = str.maketrans(dict.fromkeys("«»", '"'))
_UNDERSCORES = re.compile(r"(?<=[^\W_])_+(?=[^\W\d_])|(?<=[^\W\d_])_+(?=[^\W_])")
_ADDRESS_SIGN, _ADDRESS_CHARS = re.compile(r"[@/]|www\."), 100
_RANGE_DASH = re.compile(r"(?<=\d)[–—](?=\d)")
# A number and a full stop may be an ordinal, and a short word and one within a sentence is an abbreviation.
_NUMBERED = re.compile(r"(?:(?<!\d)\d{1,3}|(?<!\w)[^\W\d_][^\w\s]?\w?)\. +$")
_ABBREVIATED = re.compile(r"(?:\d|(?<![^\W\d_])[^\W\d_]{1,5}|str)\. +$")  # Hauptstr. 5
_COINS = ("€", "$", "£")  # 5 Mrd. €
_ABBREVIATED_CHARS = 8
_LINE_ENDS = re.compile(r"\r\n?")
_WRAPPED = re.compile(r"(?<!\n) ?\n ?(?=(\w))")
_LINES = re.compile(r" ?\n[ \n]*")
_SPACES = re.compile(r"[^\S\n]+")
_REPEATED = re.compile(rf"([!?{LATIN_CLAUSE_MARKS}{CJK_STOPS}{CJK_CLAUSE_MARKS}])\1+")
_DOTS = re.compile(r"\.{4,}")
_SPACE_BEFORE_SIGN = re.compile(rf" ([.!?{LATIN_CLAUSE_MARKS}]+(?:\s|$))")
# Of transcripts: ` * ` and the like, ` . . . .`, and longer runs of signs than any quotation in another ends with.
_LONE_SYMBOL = re.compile(r"(?<!\S)[_*|~#^=<>/\\•·]+(?!\S)")
_STREWN = re.compile(r"\s{0,3}([.!?,;:…。，、-])(?:\s+\1)+")
_SIGNS = re.compile(r"([^\w\s])(?:\s*[^\w\s]){6,}")
_LOOSE_JOINER = re.compile(rf"(?<!\w)[{WORD_JOINERS}]|[{WORD_JOINERS}](?!\w)")  # left over from emoji


def normalize(text: str, *, language: str = "en", by_script: bool = False, expand: bool = True) -> SourceMappedText:
    """Return the text as it will be spoken; line breaks remain where they end a title or a paragraph.

    A break before a small letter is taken for a wrapped line. Linear in the length of the text, whatever it holds.

    Args:
        language: ISO 639-1; says how numbers are read.
        by_script: a sentence in the script of another language is read as that.
        expand: write out numbers, units and abbreviations.
    """
    plain = plain_text(SourceMappedText.of(text))
    return SourceMappedText.join(written_out(plain, language, by_script=by_script)) if expand else plain


def written_out(text: SourceMappedText, language: str, *, by_script: bool) -> Iterator[SourceMappedText]:
    """Yield the sentences of a plain text, each with the white space behind it, as soon as its numbers are in words."""
    from f5_worker.text.expand.expand import expand  # compiles 10 ms of patterns

    for sentence in _sentences(text):
        yield expand(sentence, sentence_language(sentence.text, language) if by_script else language)


def plain_text(text: SourceMappedText, *, guillemets: bool = False) -> SourceMappedText:
    """Return a text in plain characters, with one space between two words, as `normalize` does before it expands.

    Args:
        guillemets: keep « »; otherwise they become straight quotes.
    """
    table = _PLAIN if guillemets else _PLAIN | _GUILLEMETS
    plain = plain_characters(text.compose().sub(_LINE_ENDS, "\n").sub(_RANGE_DASH, "-").translate(table))
    spoken = plain.sub(_LOOSE_JOINER, "").sub(_REPEATED, r"\1").sub(_DOTS, "...").sub(_SPACES, " ")
    spoken = spoken.sub(_WRAPPED, lambda match: " " if match[1].islower() else match[0])
    spoken = spoken.sub(_LINES, lambda match: "\n\n" if match[0].count("\n") > 1 else "\n")
    return spoken.sub(_SPACE_BEFORE_SIGN, r"\1").sub(_UNDERSCORES, _underscores).strip()


def _sentences(text: SourceMappedText) -> Iterator[SourceMappedText]:
    """Yield the sentences and lines of a text."""
    begin = 0
    ends = {*sentence_ends(text.text), *(match.end() for match in _LINES.finditer(text.text)), len(text.text)}
    for end in sorted(ends):
        after = text.text[end : end + 1]
        goes_on = _ABBREVIATED if after.islower() or after.isdecimal() or after in _COINS else _NUMBERED
        if not after or not goes_on.search(text.text[max(0, end - _ABBREVIATED_CHARS) : end]):
            yield text.part(begin, end)
            begin = end


def _underscores(match: re.Match[str]) -> str:
    """Return a space for what parts the words of `snake_case`; in an address it stays, since it is read there."""
    before = match.string[max(0, match.start() - _ADDRESS_CHARS) : match.start()].split()[-1]
    after = match.string[match.end() : match.end() + _ADDRESS_CHARS].split()[0]
    return match[0] if _ADDRESS_SIGN.search(before + after) else " "


def normalize_transcript(text: str) -> str:
    """Return the words of a clip without what has no sound: it would count as length, and the speech be too fast.

    That is what shows nothing, symbols that are not read, and signs that are strewn between the words. All else stays
    as it is written, numbers too.
    """
    composed = unicodedata.normalize("NFC", strip_invisible(text))
    spoken = plain_characters(SourceMappedText.of(_LINE_ENDS.sub("\n", composed))).text
    return _SIGNS.sub(r"\1", _STREWN.sub(r"\1", _LONE_SYMBOL.sub("", spoken)))


def ensure_speakable(text: str, sent_chars: int, warnings: Sequence[str] = ()) -> None:
    """Raise if a normalized text has neither a letter nor a digit.

    Args:
        sent_chars: length of the text before it was normalized, for the message.
        warnings: about what of it is not spoken.

    Raises:
        TextUnspeakable: only punctuation, symbols or emoji.
    """
    if not has_speech(text):
        why = "; ".join(warnings) or f"none of its {sent_chars} characters is a letter or a digit"
        raise TextUnspeakable(f"nothing in the text can be spoken: {why}; send words")


def has_speech(text: str) -> bool:
    """Return True if a text has a letter or a digit."""
    return any(character.isalnum() for character in text)
