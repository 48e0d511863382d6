"""What a person wrote against what a recogniser heard: how far they agree, and which word is heard when."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from f5_worker.asr.whisper import TranscribedWord
from f5_worker.text.letters import UNSPACED

MAX_NUMERAL_WORDS = 8  # "1984" may be heard as "nineteen hundred and eighty-four"
SIMILAR = 0.6  # share of letters that two spellings of one word have in common: Catherine, Kathryn

END = -1  # stands for the number of a word after the last

_WORD = re.compile(rf"[{UNSPACED}][^\w\s]*|[^\s{UNSPACED}]+")
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic; in other scripts marks are vowels
_APOSTROPHES = re.compile("(?<=\\w)['’ʼ](?=\\w)")


class Token(NamedTuple):
    """One word as it is compared, and the number of the word it is from."""

    text: str
    word: int


@dataclass(frozen=True)
class TextPiece:
    """A stretch of a text, characters `begin` to `end`, and when it is said.

    Times are None where they are not known. An empty piece is sound that the text does not have: with times it is no
    speech, without them a word that may be misheard.
    sure: how certain it is that this is said, 0..1. speaker: who says it, where a subtitle names one.
    """

    begin: int
    end: int
    start_s: float | None
    end_s: float | None
    sure: float = 1.0
    speaker: str | None = None


def tokens(text: str) -> list[str]:
    """The words of a text without case, accents, apostrophes and punctuation; Chinese and Japanese by character."""
    return _TOKEN.findall(_plain(text))


def agreement(written: str, heard: str) -> float:
    """The share of letters that two texts have in common, in order: 1 for equal words, about 0.3 for unrelated ones.

    How words are spaced does not matter. Stretches that differ around digits are left out, as numbers are read
    and written in too many ways.
    """
    left, right = tokens(written), tokens(heard)
    wrong = total = 0
    for kind, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        here, there = left[a:b], right[c:d]
        if kind != "equal" and _reads_number(here, there):
            continue
        one, other = "".join(here), "".join(there)
        total += max(len(one), len(other))
        wrong += 0 if kind == "equal" else _edits(one, other)
    return 1.0 - wrong / total if total else float(bool(left) and bool(right))


def edges_agree(written: str, heard: str) -> bool:
    """Whether two texts begin, and end, with the same word: a cut a word too early or too late shows there."""
    left, right = tokens(written), tokens(heard)
    return bool(left and right) and _is_similar(left[0], right[0]) and _is_similar(left[-1], right[-1])


def timed_words(text: str, heard: Sequence[TranscribedWord]) -> list[TextPiece]:
    """The words of a text with the times at which the recogniser heard them, in order.

    The text may be longer than what was heard: words that were not heard have no times. What was heard and is
    not in the text becomes empty pieces.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    written = [Token(token, index) for index, (begin, end) in enumerate(spans) for token in tokens(text[begin:end])]
    spoken = [Token(token, index) for index, word in enumerate(heard) for token in tokens(word.text)]
    pairs, foreign = _pair(written, spoken)
    needed = [0] * len(spans)
    for token in written:
        needed[token.word] += 1
    pieces: list[TextPiece] = []
    for index, (begin, end) in enumerate(spans):
        pieces += [TextPiece(begin, begin, None, None, 0.0)] * (index in foreign)
        found = pairs.get(index, [])
        if needed[index] and len(found) == needed[index]:
            pieces.append(TextPiece(begin, end, heard[found[0]].start_s, heard[found[-1]].end_s))
        elif needed[index]:
            pieces.append(TextPiece(begin, end, None, None, 0.0))
        elif pieces:  # a dash, standing alone, goes with the word before
            last = pieces.pop()
            pieces.append(TextPiece(last.begin, end, last.start_s, last.end_s, last.sure))
    return pieces + [TextPiece(len(text), len(text), None, None, 0.0)] * (END in foreign)


def heard_share(pieces: Sequence[TextPiece], heard: Sequence[TranscribedWord]) -> float:
    """The share of the recogniser's words that were found in the text, 0..1."""
    matched = sum(piece.start_s is not None for piece in pieces)
    total = len(tokens(" ".join(word.text for word in heard)))
    return min(1.0, matched / total) if total else 0.0


def _pair(written: Sequence[Token], spoken: Sequence[Token]) -> tuple[dict[int, list[int]], set[int]]:
    """For each written word the heard words that it is; and the written words before which others are heard."""
    matcher = difflib.SequenceMatcher(None, [t.text for t in written], [t.text for t in spoken], autojunk=False)
    pairs: dict[int, list[int]] = {}
    foreign: set[int] = set()
    for _, a, b, c, d in matcher.get_opcodes():
        if b - a == d - c:
            for here, there in zip(written[a:b], spoken[c:d], strict=True):
                if _is_similar(here.text, there.text):
                    pairs.setdefault(here.word, []).append(there.word)
        elif c < d:
            foreign.add(written[a].word if a < len(written) else END)
    return pairs, foreign


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", _APOSTROPHES.sub("", folded)))
    return "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in plain)


def _is_similar(one: str, other: str) -> bool:
    return one == other or difflib.SequenceMatcher(None, one, other).ratio() >= SIMILAR


def _reads_number(here: Sequence[str], there: Sequence[str]) -> bool:
    has_digits = any(char.isdigit() for word in (*here, *there) for char in word)
    return has_digits and max(len(here), len(there)) <= MAX_NUMERAL_WORDS


def _edits(one: str, other: str) -> int:
    """Levenshtein distance: letters to insert, delete or change."""
    row = list(range(len(other) + 1))
    for index, char in enumerate(one, start=1):
        corner, row[0] = row[0], index
        for column, there in enumerate(other, start=1):
            corner, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, corner + (char != there))
    return row[-1]
