"""Text as a person wrote it to text as the model reads it, and back from each character to where it was written."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.errors import TextUnspeakable
from f5_worker.text.expand.expand import expansions
from f5_worker.text.spans import Traced

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
# Emoji, pictographs and other symbols nobody reads aloud; signs such as %, &, + and currency stay.
_UNSPOKEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk"}
_JOINERS = "\u200c\u200d"  # zero-width, but part of words in Persian and Indic scripts
_SPOKEN_SIGNS = "°™©®№℃℉"
_WRAPPED = re.compile(r"(?<!\n) ?\n ?(?=(\w))")
_LINES = re.compile(r" ?\n[ \n]*")
_SPACES = re.compile(r"[^\S\n]+")
_REPEATED = re.compile(r"([!?,;:！？。，；：、])\1+")
_DOTS = re.compile(r"\.{4,}")
_SPACE_BEFORE_SIGN = re.compile(r" ([.,;:!?]+(?:\s|$))")
_LOOSE_JOINER = re.compile(rf"(?<!\w)[{_JOINERS}]|[{_JOINERS}](?!\w)")  # left over from emoji


_LINE_ENDS = re.compile(r"\r\n?")

Normalized = Traced  # the text as it is read, and where each character of it is from


def normalize(text: str, *, language: str = "en", expand: bool = True) -> Normalized:
    """The text as it will be spoken; line breaks remain where they end a title or a paragraph.

    A break before a small letter is taken for a wrapped line. Linear in the length of the text, whatever it holds.

    Args:
        language: ISO 639-1; says how numbers are read.
        expand: write out numbers, units and abbreviations.
    """
    plain = Traced.of(text).composed().sub(_LINE_ENDS, "\n").translated(_PLAIN).kept(_is_spoken)
    spoken = plain.sub(_LOOSE_JOINER, "").sub(_REPEATED, r"\1").sub(_DOTS, "...").sub(_SPACES, " ")
    spoken = spoken.sub(_WRAPPED, lambda match: " " if match[1].islower() else match[0])
    spoken = spoken.sub(_LINES, lambda match: "\n\n" if match[0].count("\n") > 1 else "\n")
    spoken = spoken.sub(_SPACE_BEFORE_SIGN, r"\1").stripped()
    return spoken.replaced(expansions(spoken.text, language)) if expand else spoken


def ensure_speakable(text: str, sent_chars: int) -> None:
    """Return if a normalised text has a letter or a digit; `sent_chars` is its length before normalising.

    Raises:
        TextUnspeakable: only punctuation, symbols or emoji.
    """
    if not has_speech(text):
        raise TextUnspeakable(
            f"nothing in the text can be spoken: none of its {sent_chars} characters is a letter or a digit; send words"
        )


def has_speech(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _is_spoken(character: str) -> bool:
    if character in "\n\t" or character in _JOINERS or character in _SPOKEN_SIGNS:
        return True
    return unicodedata.category(character) not in _UNSPOKEN_CATEGORIES
