"""Compare a written text with recognised words: how far they agree, and which word is spoken when."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from f5_worker.asr.whisper import TranscribedWord
from f5_worker.reference.thresholds import MATCHING
from f5_worker.text.letters import spoken_letters
from f5_worker.text.scripts import UNSPACED, is_unspaced
from f5_worker.text.tokens import tokens

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue

_NO_SPEECH = re.compile(r"\[[^\]]*\]|[♪♫]+")  # how subtitles write sounds and songs
_END = -1  # in place of the index of a word: after the last one

_WORD = re.compile(rf"[{UNSPACED}][^\w\s]*|[^\s{UNSPACED}]+")


class _Token(NamedTuple):
    """One word as it is compared, and the index of the word it is from."""

    text: str
    word_index: int


@dataclass(frozen=True)
class TextPiece:
    """A stretch of a text and when it is spoken.

    Attributes:
        begin, end: its characters in the text. An empty piece is sound that the text does not have: with times it is
            not speech, without them a word that may be misrecognised.
        start_s, end_s: None where they are not known.
        confidence: how certain it is that this is spoken, 0..1.
        speaker: where a subtitle names one.
    """

    begin: int
    end: int
    start_s: float | None
    end_s: float | None
    confidence: float = 1.0
    speaker: str | None = None


def join_cues(cues: Sequence[Cue]) -> tuple[str, list[TextPiece]]:
    """Return all lines as one text, and a piece for each. A line without words is a sound: an empty piece."""
    text = ""
    pieces: list[TextPiece] = []
    for cue in cues:
        words = " ".join(_NO_SPEECH.sub(" ", cue.text).split())
        if not spoken_letters(words):
            pieces.append(TextPiece(len(text), len(text), cue.start_s, cue.end_s, 0.0))
            continue
        if text and not (is_unspaced(words[0]) or is_unspaced(text[-1])):
            text += " "
        pieces.append(TextPiece(len(text), len(text) + len(words), cue.start_s, cue.end_s, speaker=cue.speaker))
        text += words
    return text, pieces


def agreement(written: str, recognised: str) -> float:
    """Return the share of letters that two texts have in common, in order: 1 for equal words, about 0.3 for unrelated.

    The spacing of words does not matter. Stretches that differ around digits are left out, as numbers are read and
    written in too many ways; but a number is spoken, and takes more letters than digits.
    """
    import jellyfish

    left, right = tokens(written), tokens(recognised)
    wrong = total = 0
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, left_begin, left_end, right_begin, right_end in matcher.get_opcodes():
        left_words, right_words = left[left_begin:left_end], right[right_begin:right_end]
        if kind == "replace" and _may_be_one_number(left_words, right_words):
            continue
        one, other = "".join(left_words), "".join(right_words)
        total += max(len(one), len(other))
        wrong += 0 if kind == "equal" else jellyfish.levenshtein_distance(one, other)
    return 1.0 - wrong / total if total else float(bool(left) and bool(right))


def edges_agree(written: str, recognised: str) -> bool:
    """Return True if two texts begin, and end, with the same word: a cut a word too early or too late differs there."""
    left, right = tokens(written), tokens(recognised)
    return bool(left and right) and _is_similar(left[0], right[0]) and _is_similar(left[-1], right[-1])


def timed_words(text: str, recognised: Sequence[TranscribedWord]) -> list[TextPiece]:
    """Return the words of a text, in order, with the times at which the recogniser found them.

    The text may be longer than the recognised part: words that were not found have no times. Recognised words that
    are not in the text become empty pieces.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    written = [_Token(token, index) for index, (begin, end) in enumerate(spans) for token in tokens(text[begin:end])]
    spoken = [_Token(token, index) for index, word in enumerate(recognised) for token in tokens(word.text)]
    pairs, follow_extra = _pair_words(written, spoken)
    n_tokens = [0] * len(spans)
    for token in written:
        n_tokens[token.word_index] += 1
    pieces: list[TextPiece] = []
    for index, (begin, end) in enumerate(spans):
        if index in follow_extra:
            pieces.append(TextPiece(begin, begin, None, None, 0.0))
        paired = pairs.get(index, [])
        if n_tokens[index] and len(paired) == n_tokens[index]:
            pieces.append(TextPiece(begin, end, recognised[paired[0]].start_s, recognised[paired[-1]].end_s))
        elif n_tokens[index]:
            pieces.append(TextPiece(begin, end, None, None, 0.0))
        elif pieces:  # a separate dash belongs to the word before it
            last = pieces.pop()
            pieces.append(TextPiece(last.begin, end, last.start_s, last.end_s, last.confidence))
    if _END in follow_extra:
        pieces.append(TextPiece(len(text), len(text), None, None, 0.0))
    return pieces


def matched_share(pieces: Sequence[TextPiece], recognised: Sequence[TranscribedWord]) -> float:
    """Return the share of the recognised words that were found in the text, 0..1."""
    matched = sum(piece.start_s is not None for piece in pieces)
    total = len(tokens(" ".join(word.text for word in recognised)))
    return min(1.0, matched / total) if total else 0.0


def _pair_words(written: Sequence[_Token], spoken: Sequence[_Token]) -> tuple[dict[int, list[int]], set[int]]:
    """Pair written and recognised words in order.

    Returns:
        For each written word the recognised words that it is, and the written words before which there are recognised
        ones that are not in the text.
    """
    matcher = difflib.SequenceMatcher(
        None, [token.text for token in written], [token.text for token in spoken], autojunk=False
    )
    pairs: dict[int, list[int]] = {}
    follow_extra: set[int] = set()
    for _, written_begin, written_end, spoken_begin, spoken_end in matcher.get_opcodes():
        if written_end - written_begin == spoken_end - spoken_begin:
            for left, right in zip(written[written_begin:written_end], spoken[spoken_begin:spoken_end], strict=True):
                if _is_similar(left.text, right.text):
                    pairs.setdefault(left.word_index, []).append(right.word_index)
        elif spoken_begin < spoken_end:
            follow_extra.add(written[written_begin].word_index if written_begin < len(written) else _END)
    return pairs, follow_extra


def _is_similar(one: str, other: str) -> bool:
    return one == other or difflib.SequenceMatcher(None, one, other).ratio() >= MATCHING.min_similarity


def _may_be_one_number(left: Sequence[str], right: Sequence[str]) -> bool:
    """Return True for what may be a number as it is written, on the left, and as it is recognised."""
    written, recognised = "".join(left), "".join(right)
    is_short = max(len(left), len(right)) <= MATCHING.max_numeral_words
    has_digits = any(map(str.isdigit, written))
    is_spoken = not has_digits or len(written) <= MATCHING.max_written_letters * len(recognised)
    return is_short and is_spoken and (has_digits or any(map(str.isdigit, recognised)))
