"""Normalize a caller's text to what the model reads, mapping each character back to where it was written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from f5_worker.errors import TextUnspeakable
from f5_worker.text.expand.expand import expand as write_out
from f5_worker.text.language import sentence_language
from f5_worker.text.scripts import WORD_JOINERS, strip_invisible
from f5_worker.text.sentences import CJK_CLAUSE_MARKS, CJK_STOPS, LATIN_CLAUSE_MARKS, sentence_ends
from f5_worker.text.spans import SourceMappedText

# Typographic signs to those that upstream's vocabularies know.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‐‑‒−﹘", "-"),
        **dict.fromkeys("–—―", " - "),
        **dict.fromkeys("„‟«»″", '"'),
        **dict.fromkeys("‚‛′`´", "'"),
        "…": "...",
        "\u00a0": " ",
        "\u2028": "\n",
        "\u2029": "\n\n",
    }
)
# Emoji, pictographs and other symbols that are not read aloud; signs such as %, &, + and currency stay.
_UNSPOKEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk"}
_SPOKEN_SIGNS = "°™©®№℃℉"
_RANGE_DASH = re.compile(r"(?<=\d)[–—](?=\d)")
_NUMBERED = re.compile(r"(?:\d|(?<!\w)[^\W\d_][^\w\s]?\w?)\. +$")
_ABBREVIATED = re.compile(r"(?:\d|(?<![^\W\d_])[^\W\d_]{1,5})\. +$")
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
        by_script: the language of a sentence whose script has one is that one.
        expand: write out numbers, units and abbreviations.
    """
    return SourceMappedText.join(spoken_sentences(text, language=language, by_script=by_script, expand=expand))


def spoken_sentences(
    text: str, *, language: str = "en", by_script: bool = False, expand: bool = True
) -> Iterator[SourceMappedText]:
    """Yield the sentences of `normalize`, each with the white space behind it, as soon as its numbers are written out."""
    clean = _clean(text)
    if not expand:
        yield clean
        return
    for sentence in _sentences(clean):
        yield write_out(sentence, sentence_language(sentence.text, language) if by_script else language)


def _clean(text: str) -> SourceMappedText:
    """Return the text with signs that the model knows, on lines, without what is not spoken."""
    plain = SourceMappedText.of(text).compose().sub(_LINE_ENDS, "\n").sub(_RANGE_DASH, "-").translate(_PLAIN)
    spoken = plain.filter(_is_spoken).sub(_LOOSE_JOINER, "").sub(_REPEATED, r"\1").sub(_DOTS, "...").sub(_SPACES, " ")
    spoken = spoken.sub(_WRAPPED, lambda match: " " if match[1].islower() else match[0])
    spoken = spoken.sub(_LINES, lambda match: "\n\n" if match[0].count("\n") > 1 else "\n")
    return spoken.sub(_SPACE_BEFORE_SIGN, r"\1").strip()


def _sentences(text: SourceMappedText) -> Iterator[SourceMappedText]:
    """Yield sentences and lines; a number and a full stop, or a short word and one within a sentence, end none."""
    begin = 0
    ends = sorted({*sentence_ends(text.text), *(match.end() for match in _LINES.finditer(text.text)), len(text.text)})
    for end in ends:
        after = text.text[end : end + 1]
        continues = _ABBREVIATED if after.islower() or after.isdecimal() else _NUMBERED
        if not after or not continues.search(text.text[max(0, end - 8) : end]):
            yield text.part(begin, end)
            begin = end


def normalize_transcript(text: str) -> str:
    """Return the words of a clip without what has no sound: it would count as length, and the speech be too fast.

    That is what shows nothing, symbols that are not read, and signs that are strewn between the words. All else stays
    as it is written, numbers too.
    """
    composed = unicodedata.normalize("NFC", strip_invisible(text))
    spoken = "".join(filter(_is_spoken, _LINE_ENDS.sub("\n", composed)))
    return _SIGNS.sub(r"\1", _STREWN.sub(r"\1", _LONE_SYMBOL.sub("", spoken)))


def ensure_speakable(text: str, sent_chars: int) -> None:
    """Raise if a normalized text has neither a letter nor a digit.

    Args:
        sent_chars: length of the text before it was normalized, for the message.

    Raises:
        TextUnspeakable: only punctuation, symbols or emoji.
    """
    if not has_speech(text):
        raise TextUnspeakable(
            f"nothing in the text can be spoken: none of its {sent_chars} characters is a letter or a digit; send words"
        )


def has_speech(text: str) -> bool:
    """Return True if a text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def _is_spoken(character: str) -> bool:
    if character in "\n\t" or character in WORD_JOINERS or character in _SPOKEN_SIGNS:
        return True
    return unicodedata.category(character) not in _UNSPOKEN_CATEGORIES
