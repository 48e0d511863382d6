"""What a text is worth in speech, and how the words of a reference have to end."""

from __future__ import annotations

import re
import unicodedata

from f5_worker.errors import InvalidInput

# How many Latin letters a character is worth in time: Chinese runs at 3 to 6 characters a second, Korean at
# 4 to 8, Japanese at 7 to 9 kana; a digit is spoken as a word.
HAN_LETTERS, HANGUL_LETTERS, KANA_LETTERS, DIGIT_LETTERS = 3.0, 3.0, 2.0, 4.0

CLOSING = "\"'”’»)]}」』）》〉"
FULL_STOPS = ".!?…।؟۔"
CJK_FULL_STOPS = "。！？｡"  # upstream adds a space after one-byte characters only

_HAN_RANGES = r"\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA_RANGES = r"\u3040-\u30ff\uff66-\uff9f"
_HAN = re.compile(f"[{_HAN_RANGES}]")
_KANA = re.compile(f"[{_KANA_RANGES}]")
_HANGUL = re.compile(r"[\u1100-\u11ff\uac00-\ud7af]")
UNSPACED = rf"{_HAN_RANGES}{_KANA_RANGES}"  # scripts without spaces between words, for a character class


def finish_transcript(transcript: str) -> str:
    """The transcript in one line, ending as the model needs it: in a full stop and a space, or in `。`.

    Without it the end of the reference leaks into the speech (F5-TTS #133, #157).

    Raises:
        InvalidInput: it says nothing.
    """
    text = " ".join(transcript.split())
    if not any(map(letters, text)):
        raise InvalidInput("transcript is empty or has no letters; send exactly the words spoken in the clip")
    while not _may_end(text[-1]):
        text = text[:-1]
    last = text.rstrip(CLOSING)[-1]
    if last in CJK_FULL_STOPS:
        return text
    if last in FULL_STOPS:
        return text + " "
    return text + ("。" if is_unspaced(text[-1]) else ". ")


def ends_sentence(text: str) -> bool:
    """Whether a sentence is over where the text ends."""
    return text.rstrip().rstrip(CLOSING).endswith(tuple(FULL_STOPS + CJK_FULL_STOPS))


def spoken_letters(text: str) -> float:
    """How much speech a text is, in Latin letters; spaces and punctuation are none."""
    return sum(map(letters, text))


def letters(char: str) -> float:
    """`spoken_letters` of one character."""
    if _HAN.match(char):
        return HAN_LETTERS
    if _HANGUL.match(char):
        return HANGUL_LETTERS
    if _KANA.match(char):
        return KANA_LETTERS
    kind = unicodedata.category(char)
    return DIGIT_LETTERS if kind[0] == "N" else float(kind[0] == "L" or kind == "Mc")  # Mc: Indic vowels


def is_unspaced(char: str) -> bool:
    """Whether a character is of a script without spaces between words: Chinese or Japanese."""
    return bool(_HAN.match(char) or _KANA.match(char))


def _may_end(char: str) -> bool:
    """Letters, marks, symbols, full stops and closing quotes; commas and dashes give way to a full stop."""
    return unicodedata.category(char)[0] in "LNMS" or char in CLOSING + FULL_STOPS + CJK_FULL_STOPS
