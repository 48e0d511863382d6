"""The times of each word and each character of a text: the one structure that all subtitles are made from."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

TimingSource = Literal["aligned", "estimated"]


@dataclass(frozen=True)
class Word:
    """A word as the caller wrote it, punctuation included.

    begin, end: its span in the text, in characters. confidence: 0..1 as the aligner measured it;
    None for a time that was estimated.
    """

    text: str
    begin: int
    end: int
    start_s: float
    end_s: float
    confidence: float | None


class SpeakerTurn(NamedTuple):
    """From `begin` on, in characters of the text, `speaker` speaks; None: one without a name."""

    begin: int
    speaker: str | None


@dataclass(frozen=True)
class Timeline:
    """A text and its times in the audio, in order, never decreasing, inside the audio.

    text: as the caller sent it, without its markup. characters: `(start_s, end_s)` for each character of it.
    source: `aligned` if every word's time was measured in the sound, else `estimated`.
    turns: in order; empty where nothing says who speaks.
    """

    text: str
    words: tuple[Word, ...]
    characters: tuple[tuple[float, float], ...]
    duration_s: float
    source: TimingSource
    turns: tuple[SpeakerTurn, ...] = ()

    def speaker_at(self, at: int) -> str | None:
        """Find who speaks `text[at]`; None where nothing says so."""
        index = bisect_right(self.turns, at, key=lambda turn: turn.begin)
        return self.turns[index - 1].speaker if index else None


def shifted(timeline: Timeline, shift_s: float, duration_s: float) -> Timeline:
    """Return the timeline later by `shift_s`, in audio of `duration_s`; times outside it are moved to its edge."""

    def shift(time_s: float) -> float:
        return min(max(time_s + shift_s, 0.0), duration_s)

    return replace(
        timeline,
        words=tuple(replace(word, start_s=shift(word.start_s), end_s=shift(word.end_s)) for word in timeline.words),
        characters=tuple((shift(start_s), shift(end_s)) for start_s, end_s in timeline.characters),
        duration_s=duration_s,
    )
