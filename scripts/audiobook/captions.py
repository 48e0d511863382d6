"""Subtitles of a whole audiobook, from the times of the words of its pieces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from f5_worker.alignment.timeline import Timeline, Word
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.subtitles.formats import write_subtitles
from scripts.audiobook.pieces import Piece
from scripts.audiobook.store import SpokenPiece

_BETWEEN = "\n\n"  # two pieces


@dataclass(frozen=True)
class PlacedPiece:
    """A piece and where in the audio it begins, in samples at 24 kHz."""

    piece: Piece
    spoken: SpokenPiece
    begin: int


def write_srt(pieces: Iterable[PlacedPiece], n_samples: int) -> str:
    """Return the subtitles of pieces, in order, as SubRip."""
    return write_subtitles(_timeline(list(pieces), n_samples / SAMPLE_RATE), "srt")


def _timeline(pieces: list[PlacedPiece], duration_s: float) -> Timeline:
    words, characters = list[Word](), list[tuple[float, float]]()
    for placed in pieces:
        begin_s, offset, at = placed.begin / SAMPLE_RATE, len(characters), 0
        times = [(begin_s, begin_s)] * (len(placed.piece.text) + len(_BETWEEN))
        for word in placed.spoken.words or ():
            begin = placed.piece.text.find(word.text, at)
            if begin < 0:  # the worker writes it otherwise, as an entity's character
                continue
            at = begin + len(word.text)
            start_s, end_s = begin_s + word.start_s, min(begin_s + word.end_s, duration_s)
            words.append(Word(word.text, offset + begin, offset + at, start_s, end_s, None))
            step_s = (end_s - start_s) / len(word.text)
            times[begin:at] = [(start_s + n * step_s, start_s + (n + 1) * step_s) for n in range(len(word.text))]
            times[at:] = [(end_s, end_s)] * (len(times) - at)
        characters += times
    text = "".join(f"{placed.piece.text}{_BETWEEN}" for placed in pieces)
    aligned = all(placed.spoken.aligned for placed in pieces)
    return Timeline(text, tuple(words), tuple(characters), duration_s, "aligned" if aligned else "estimated")
