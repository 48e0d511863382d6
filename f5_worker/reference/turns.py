"""The turns of each speaker in a long recording with subtitles, of which only these are then decoded.

A turn is consecutive lines of one speaker. Other people speak before and after it: it is cut at the pauses between.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from f5_worker.audio.decode import Audio
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.reference.clip import Clip, detect_speech
from f5_worker.reference.match import join_cues
from f5_worker.reference.select import certain_runs
from f5_worker.reference.thresholds import TURNS

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue


@dataclass(frozen=True)
class SpeechTurn:
    """Consecutive lines of one speaker. `begin_s`, `end_s`: the stretch of the recording with the pauses around."""

    cues: tuple[Cue, ...]

    @property
    def speaker(self) -> str | None:
        """Return who speaks; None where the subtitles do not tell."""
        return self.cues[0].speaker

    @property
    def begin_s(self) -> float:
        """Return where its stretch of the recording begins."""
        return max(0.0, self.cues[0].start_s - TURNS.margin_s)

    @property
    def end_s(self) -> float:
        """Return where its stretch of the recording ends."""
        return self.cues[-1].end_s + TURNS.margin_s

    @property
    def length_s(self) -> float:
        """Return the length of its stretch."""
        return self.end_s - self.begin_s


@dataclass(frozen=True, eq=False)
class CutTurn:
    """The lines of a turn that begin and end at pauses, without what others say.

    Attributes:
        audio: with some of the pauses around them.
        begin_s: where that begins in the long recording.
        cues: by the times in `audio`.
    """

    audio: Audio
    begin_s: float
    cues: tuple[Cue, ...]


@dataclass(frozen=True, eq=False)
class JoinedTurns:
    """The turns of one speaker as one recording; `cues`: all that is said in it."""

    audio: Audio
    cues: tuple[Cue, ...]
    turns: tuple[CutTurn, ...]

    def source_s(self, at_s: float) -> float:
        """Return where in the long recording a place in `audio` is from."""
        for turn in self.turns[:-1]:
            if at_s < turn.audio.duration_s:
                return turn.begin_s + at_s
            at_s -= turn.audio.duration_s
        return self.turns[-1].begin_s + at_s


def find_turns(cues: Sequence[Cue], max_s: float = TURNS.max_turn_s) -> list[SpeechTurn]:
    """Return the turns of all speakers, in order.

    Args:
        cues: in order of their start; one without words is not speech.
        max_s: longest stretch of a turn.
    """
    turns: list[SpeechTurn] = []
    follows = False  # whether the line before is speech, too
    for cue, is_alone in zip(cues, _are_alone(cues), strict=True):
        is_speech = bool(cue.text) and is_alone
        if is_speech and follows and _continues(turns[-1], cue, max_s):
            turns[-1] = SpeechTurn((*turns[-1].cues, cue))
        elif is_speech and SpeechTurn((cue,)).length_s <= max_s:
            turns.append(SpeechTurn((cue,)))
        follows = is_speech and bool(turns)
    return turns


def choose_turns(turns: Iterable[SpeechTurn], max_s: float = TURNS.max_speaker_s) -> list[SpeechTurn]:
    """Return the longest turns of a speaker, of at most `max_s` together, in order."""
    chosen: list[SpeechTurn] = []
    left_s = max_s
    for turn in sorted(turns, key=lambda turn: turn.length_s, reverse=True):
        if turn.length_s <= left_s:
            chosen.append(turn)
            left_s -= turn.length_s
    return sorted(chosen, key=lambda turn: turn.begin_s)


def merge_spans(turns: Iterable[SpeechTurn]) -> list[tuple[float, float]]:
    """Return the stretches of the recording that turns need, ascending and apart."""
    merged: list[tuple[float, float]] = []
    for begin_s, end_s in sorted((turn.begin_s, turn.end_s) for turn in turns):
        if merged and begin_s <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_s)
        else:
            merged.append((begin_s, end_s))
    return merged


def cut_turn(
    turn: SpeechTurn, cues: Sequence[Cue], spans_s: Sequence[tuple[float, float]], parts: Sequence[Audio]
) -> CutTurn | None:
    """Cut a turn out of the recording; None where none of its lines begins, and none ends, at a pause.

    Args:
        cues: all that is said in the long recording.
        spans_s, parts: as from `merge_spans`, and their audio.
    """
    stretch = _stretch(turn, spans_s, parts)
    clip = detect_speech(stretch)
    beside = [cue for cue in cues if cue.start_s < turn.end_s and cue.end_s > turn.begin_s]
    lines = [
        _moved(cue if cue in turn.cues else replace(cue, text=""), -turn.begin_s, stretch.duration_s) for cue in beside
    ]
    lines = [cue for cue in lines if cue.text or _has_sound(clip, cue)]
    text, pieces = join_cues(lines)
    runs = certain_runs(clip, text, pieces)
    if not runs:
        return None
    run = max(runs, key=lambda run: clip.cut(run.first, run.last).speech_s)
    (quiet_s, begin_s), (end_s, loud_s) = clip.pause_span_s(run.first), clip.pause_span_s(run.last)
    first = round(max(0.0, begin_s - min(TURNS.pause_s, (begin_s - quiet_s) / 2)) * stretch.sample_rate)
    last = round((end_s + min(TURNS.pause_s, (loud_s - end_s) / 2)) * stretch.sample_rate)
    audio = replace(stretch, samples=stretch.samples[first:last])
    first_s = first / stretch.sample_rate
    own = tuple(_moved(cue, -first_s, audio.duration_s) for cue in lines[run.begin : run.end])
    return CutTurn(audio, turn.begin_s + first_s, own)


def join_turns(turns: Sequence[CutTurn]) -> JoinedTurns:
    """Return the turns of a speaker, at least one, as one recording."""
    cues: list[Cue] = []
    at_s = 0.0
    for turn in turns:
        cues += [_moved(cue, at_s) for cue in turn.cues]
        at_s += turn.audio.duration_s
    samples = np.concatenate([turn.audio.samples for turn in turns])
    return JoinedTurns(replace(turns[0].audio, samples=samples), tuple(cues), tuple(turns))


def _stretch(turn: SpeechTurn, spans_s: Sequence[tuple[float, float]], parts: Sequence[Audio]) -> Audio:
    """Return the stretch of the recording that a turn needs."""
    index = bisect_right(spans_s, (turn.begin_s, math.inf)) - 1
    part, at_s = parts[index], turn.begin_s - spans_s[index][0]
    begin, end = (round(edge_s * part.sample_rate) for edge_s in (at_s, at_s + turn.length_s))
    return replace(part, samples=part.samples[begin:end])


def _moved(cue: Cue, by_s: float, length_s: float = math.inf) -> Cue:
    """Return a cue later by `by_s`, within `0..length_s`."""
    start_s, end_s = (min(max(at_s + by_s, 0.0), length_s) for at_s in (cue.start_s, cue.end_s))
    return replace(cue, start_s=start_s, end_s=end_s, is_open=False)


def _has_sound(clip: Clip, cue: Cue) -> bool:
    begin, end = cue.start_s * SAMPLE_RATE, cue.end_s * SAMPLE_RATE
    return any(first < end and last > begin for first, last in clip.regions)


def _continues(turn: SpeechTurn, cue: Cue, max_s: float) -> bool:
    is_near = cue.start_s - turn.cues[-1].end_s <= TURNS.max_gap_s
    return turn.speaker == cue.speaker and is_near and SpeechTurn((*turn.cues, cue)).length_s <= max_s


def _are_alone(cues: Sequence[Cue]) -> list[bool]:
    """Return for each line whether no other one is shown beside it for long."""
    alone = [True] * len(cues)
    latest = 0  # the line before that ends last
    for index in range(1, len(cues)):
        shared_s = min(cues[latest].end_s, cues[index].end_s) - cues[index].start_s
        if shared_s > TURNS.max_overlap_s:
            alone[latest] = alone[index] = False
        if cues[index].end_s > cues[latest].end_s:
            latest = index
    return alone
