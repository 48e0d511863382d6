"""Text as a person wrote it to text as the model reads it. Numbers and abbreviations stay as they are."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.errors import TextUnspeakable

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


def normalize(text: str) -> str:
    """The text as it will be spoken; line breaks remain where they end a title or a paragraph.

    A break before a small letter is taken for a wrapped line. Linear in the length of the text, whatever it holds.
    """
    plain = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").translate(_PLAIN)
    spoken = "".join(character for character in plain if _is_spoken(character))
    spoken = _LOOSE_JOINER.sub("", spoken)
    spoken = _DOTS.sub("...", _REPEATED.sub(r"\1", spoken))
    spoken = _SPACES.sub(" ", spoken)
    spoken = _WRAPPED.sub(lambda match: " " if match[1].islower() else match[0], spoken)
    spoken = _LINES.sub(lambda match: "\n\n" if match[0].count("\n") > 1 else "\n", spoken)
    return _SPACE_BEFORE_SIGN.sub(r"\1", spoken).strip()


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
