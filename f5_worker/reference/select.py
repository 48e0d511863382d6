"""Choose the part of a long recording that makes the best reference, where it is known which words are spoken when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, SILENCE_DB
from f5_worker.reference.clip import Clip
from f5_worker.reference.match import TextPiece
from f5_worker.reference.thresholds import CLIP, COSTS, SELECTION
from f5_worker.text.letters import spoken_letters
from f5_worker.text.sentences import ends_with_full_stop, ends_with_pause_mark


@dataclass(frozen=True)
class CandidateSpan:
    """A stretch of text and the speech regions in which it is spoken.

    Attributes:
        begin, end: its characters.
        first, last: its regions, from `first` up to `last`, exclusive.
        cost: how much worse than the best possible it is; 0 is best.
    """

    begin: int
    end: int
    first: int
    last: int
    cost: float


def rank_spans(
    clip: Clip, text: str, pieces: Sequence[TextPiece], max_s: float, min_speech_s: float = CLIP.min_cut_s
) -> list[CandidateSpan]:
    """Return the spans of consecutive pieces that can be cut out of a recording without damage, best first.

    Spans have 5 to 11.5 s; only where there is none of these, from `min_speech_s` up to `max_s`. They begin and end at
    pauses, are spoken by one speaker, the one with most of the text, and at a pace near the recording's own.
    """
    if not pieces:
        return []
    sound = _SoundQuality(clip)
    spans = [pair for pair in _possible_spans(clip, text, pieces, max_s, min_speech_s) if _is_certain(pair[0], pieces)]
    if not spans:
        return []
    paces = np.array([spoken_letters(text[span.begin : span.end]) / sound.speech_s(span) for _, span in spans])
    usual_pace = float(np.median(paces))
    scored = []
    for (indices, span), pace in zip(spans, paces, strict=True):
        pace_distance = abs(float(np.log(max(pace, 1e-3) / usual_pace)))
        is_usual = pace_distance <= np.log(SELECTION.max_pace_ratio)
        if is_usual and CLIP.min_chars_per_s <= pace <= CLIP.max_chars_per_s:
            cost = COSTS.odd_pace * pace_distance + sound.cost(span) + _text_cost(text, span)
            scored.append(replace(span, cost=cost + _uncertainty_cost(indices, pieces)))
    preferred = [span for span in scored if sound.length_s(span) >= SELECTION.preferred_min_s]
    return sorted(preferred or scored, key=lambda span: span.cost)


class CertainRun(NamedTuple):
    """Consecutive pieces, from `begin` up to `end`, whose speech is the regions from `first` up to `last`."""

    begin: int
    end: int
    first: int
    last: int


def certain_runs(clip: Clip, text: str, pieces: Sequence[TextPiece]) -> list[CertainRun]:
    """Return the runs of pieces with words that certainly begin and end at pauses, of each beginning the longest."""
    begins, ends = snap_to_pauses(clip, text, pieces)
    runs = []
    for begin, first in enumerate(begins):
        run = None
        for index in range(begin, len(pieces) if first is not None else begin):
            if pieces[index].begin == pieces[index].end or _follows_extra_sound(begins, ends, begin, index):
                break
            last = ends[index]
            if first is not None and last is not None and last > first:
                run = CertainRun(begin, index + 1, first, last)
        if run is not None:
            runs.append(run)
    return runs


def snap_to_pauses(clip: Clip, text: str, pieces: Sequence[TextPiece]) -> tuple[list[int | None], list[int | None]]:
    """Return for each piece the pause at which it begins, and that at which it ends; None where that is uncertain.

    A pause belongs to the bound that is nearest to it, if no other is about as near: between two words it has one
    place in the text only.
    """
    pauses = [0, *clip.pauses(), len(clip.regions)]
    edges = np.array([clip.pause_span_s(index) for index in pauses])
    claims: dict[int, list[tuple[float, int]]] = {}
    nearest_pause: list[list[int | None]] = [[None] * len(pieces), [None] * len(pieces)]
    for side in (0, 1):
        for index in range(len(pieces)):
            at_s = _time_of_bound(pieces, index, side)
            if at_s is None:
                continue
            distance_s = np.maximum(np.maximum(edges[:, 0] - at_s, at_s - edges[:, 1]), 0.0)
            nearest = int(np.argmin(distance_s))
            if distance_s[nearest] <= _max_distance_s(text, pieces, index + side):
                nearest_pause[side][index] = nearest
                claims.setdefault(nearest, []).append((float(distance_s[nearest]), index + side))
    owners = {pause: _find_owner(bounds) for pause, bounds in claims.items()}
    begins, ends = (
        [
            pauses[pause] if pause is not None and owners[pause] == index + side else None
            for index, pause in enumerate(nearest_pause[side])
        ]
        for side in (0, 1)
    )
    return begins, ends


def _time_of_bound(pieces: Sequence[TextPiece], index: int, side: int) -> float | None:
    """Return when a piece begins (side 0) or ends (1); None if that, or its neighbour's time there, is unknown."""
    piece, neighbour = pieces[index], index + (1 if side else -1)
    if piece.start_s is None or piece.end_s is None:
        return None
    if not 0 <= neighbour < len(pieces):
        return piece.end_s if side else piece.start_s
    neighbour_start_s = pieces[neighbour].start_s
    if neighbour_start_s is None:
        return None
    return min(piece.end_s, neighbour_start_s) if side else piece.start_s


def _max_distance_s(text: str, pieces: Sequence[TextPiece], bound: int) -> float:
    """Return how far a pause may be from the bound before piece `bound`."""
    if not 0 < bound < len(pieces):
        return SELECTION.snap_s
    is_marked = ends_with_pause_mark(text[: pieces[bound - 1].end])
    return SELECTION.snap_s if is_marked else SELECTION.snap_unmarked_s


def _find_owner(claims: Sequence[tuple[float, int]]) -> int | None:
    """Return the bound nearest to a pause, None if another one is about as near. Claims are `(distance_s, bound)`."""
    nearest_s, bound = min(claims)
    others_s = [distance_s for distance_s, other in claims if other != bound]
    is_clear = all(distance_s - nearest_s >= SELECTION.min_owner_lead_s for distance_s in others_s)
    return bound if is_clear else None


def _possible_spans(
    clip: Clip, text: str, pieces: Sequence[TextPiece], max_s: float, min_speech_s: float
) -> list[tuple[range, CandidateSpan]]:
    """Return all spans whose two ends are at pauses and whose length is right, with the indices of their pieces."""
    begins, ends = snap_to_pauses(clip, text, pieces)
    speaker = _main_speaker(pieces)
    longest_s = min(SELECTION.preferred_max_s, max_s)
    spans = []
    for index, first in enumerate(begins):
        if first is None:
            continue
        for last_index in range(index, min(index + SELECTION.max_pieces, len(pieces))):
            piece, last = pieces[last_index], ends[last_index]
            is_not_speech = piece.begin == piece.end and piece.start_s is not None
            is_other_speaker = speaker not in (None, piece.speaker)
            if is_not_speech or is_other_speaker or _follows_extra_sound(begins, ends, index, last_index):
                break
            if last is None or last <= first:
                continue
            part = clip.cut(first, last)
            if part.rendered_s > longest_s:
                break
            if part.speech_s >= min(min_speech_s, clip.speech_s):
                span = CandidateSpan(pieces[index].begin, piece.end, first, last, 0.0)
                spans.append((range(index, last_index + 1), span))
    return spans


def _follows_extra_sound(begins: Sequence[int | None], ends: Sequence[int | None], first: int, index: int) -> bool:
    """Return True if between a piece and the one before it there is sound that the text does not have."""
    if index == first:
        return False
    end, begin = ends[index - 1], begins[index]
    return end is not None and begin is not None and end != begin


def _main_speaker(pieces: Sequence[TextPiece]) -> str | None:
    """Return the speaker with most of the text; None if no speaker is named."""
    n_chars: dict[str, int] = {}
    for piece in pieces:
        if piece.speaker:
            n_chars[piece.speaker] = n_chars.get(piece.speaker, 0) + piece.end - piece.begin
    return max(n_chars, key=lambda name: n_chars[name]) if n_chars else None


def _is_certain(indices: range, pieces: Sequence[TextPiece]) -> bool:
    return float(np.mean([pieces[index].confidence for index in indices])) >= SELECTION.min_confidence


def _uncertainty_cost(indices: range, pieces: Sequence[TextPiece]) -> float:
    return COSTS.uncertain_words * (1.0 - float(np.mean([pieces[index].confidence for index in indices])))


def _text_cost(text: str, span: CandidateSpan) -> float:
    words = text[span.begin : span.end]
    cost = 0.0 if ends_with_full_stop(words) else COSTS.cut_sentence_end
    cost += 0.0 if span.begin == 0 or ends_with_full_stop(text[: span.begin]) else COSTS.cut_sentence_begin
    return cost + (COSTS.digits if any(char.isdigit() for char in words) else 0.0)


class _SoundQuality:
    """Measures how good a reference any stretch of a recording's regions is, by its sound."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._frame = round(SELECTION.frame_s * SAMPLE_RATE)
        n_frames = len(clip.recording) // self._frame
        frames = clip.recording[: n_frames * self._frame].reshape(n_frames, self._frame)
        self._power = np.asarray(np.mean(np.square(frames), axis=1, dtype=np.float64))

    def speech_s(self, span: CandidateSpan) -> float:
        return self._clip.cut(span.first, span.last).speech_s

    def length_s(self, span: CandidateSpan) -> float:
        return self._clip.cut(span.first, span.last).rendered_s

    def cost(self, span: CandidateSpan) -> float:
        """Return the cost of noise, clipping, short pauses at the ends, long ones within, and too short a clip."""
        part = self._clip.cut(span.first, span.last)
        noise = max(0.0, COSTS.good_snr_db - self._snr_db(part)) / COSTS.snr_db_per_cost
        begin, end = np.searchsorted(self._clip.clipped_at_s, [part.begin / SAMPLE_RATE, part.end / SAMPLE_RATE])
        clipping = 1.0 + np.log10(end - begin) if end > begin else 0.0
        lead_s, tail_s = (self._pause_s(index) for index in (span.first, span.last))
        edges = COSTS.short_lead_pause * max(0.0, COSTS.good_pause_s - lead_s)
        edges += COSTS.short_tail_pause * max(0.0, COSTS.good_pause_s - tail_s)
        inner_s = max((self._pause_s(index) for index in range(span.first + 1, span.last)), default=0.0)
        short = COSTS.short_clip * max(0.0, COSTS.good_length_s - part.rendered_s)
        return float(noise + clipping + edges + max(0.0, inner_s - COSTS.max_inner_pause_s) + short)

    def _pause_s(self, index: int) -> float:
        begin, end = self._clip.pause_span_s(index)
        return end - begin

    def _snr_db(self, part: Clip) -> float:
        """Return mean over quietest power: the quiet frames are pauses and gaps between sounds, also in noise."""
        power = self._power[part.begin // self._frame : part.end // self._frame]
        quiet = max(float(np.percentile(power, SELECTION.quiet_percentile)), 10.0 ** (SILENCE_DB / 10.0))
        return 10.0 * float(np.log10(max(float(np.mean(power)) / quiet, 1.0)))
