"""Which part of a long recording makes the best reference, when it is known what is said when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, SILENCE_DB
from f5_worker.reference.clip import MAX_CHARS_PER_S, MIN_CHARS_PER_S, MIN_CUT_S, Clip
from f5_worker.reference.match import TextPiece
from f5_worker.text.letters import CLOSING, ends_sentence, spoken_letters

BEST_MIN_S, BEST_MAX_S = 5.0, 11.5
SNAP_S = 0.35  # subtitles are off by some 0.1 s, and many are shown a little early or long
SNAP_UNMARKED_S = 0.10  # where no punctuation asks for a pause, one near by may belong to the next word
CLEAR_S = 0.08  # another bound that is as near to the same pause as this makes it unclear whose it is
MAX_PACE_RATIO = 1.6  # a run this much faster or slower than the others has words too many or too few
MIN_SURE = 0.7
MAX_PIECES = 200  # in a run: more than the words, or the Chinese characters, of 12 s
GOOD_PAUSE_S = 0.3
MAX_GOOD_PAUSE_S = 1.0  # within a clip; the model copies longer ones
GOOD_LENGTH_S = 8.0
GOOD_SNR_DB = 40.0  # more is not heard
QUIET_PERCENTILE = 5.0
FRAME_S = 0.010
_MARKS = ".,;:!?…।؟،؛。！？，、；：—–-"


@dataclass(frozen=True)
class Run:
    """A stretch of text, characters `begin` to `end`, and the speech regions `first` up to `last` that it is.

    cost: what speaks against it, 0 for nothing.
    """

    begin: int
    end: int
    first: int
    last: int
    cost: float


def best_runs(clip: Clip, text: str, pieces: Sequence[TextPiece], max_s: float) -> list[Run]:
    """The runs of consecutive pieces that can be cut out of a recording, best first; none that a cut would maim.

    Runs have 5 to 11.5 s; only where there is none of these, from MIN_CUT_S up to `max_s`. They begin and end at
    pauses, are said by one speaker, the one with most of the text, and at a pace near the recording's own.
    """
    if not pieces:
        return []
    levels = _Levels(clip)
    runs = [run for run in _possible(clip, text, pieces, max_s) if _is_sure(run[0], pieces)]
    if not runs:
        return []
    paces = np.array([spoken_letters(text[run.begin : run.end]) / levels.speech_s(run) for _, run in runs])
    typical = float(np.median(paces))
    scored = []
    for (span, run), pace in zip(runs, paces, strict=True):
        stray = abs(float(np.log(max(pace, 1e-3) / typical)))
        if stray <= np.log(MAX_PACE_RATIO) and MIN_CHARS_PER_S <= pace <= MAX_CHARS_PER_S:
            cost = run.cost + 2.0 * stray + levels.cost(run) + _text_cost(text, run) + _unsureness(span, pieces)
            scored.append(replace(run, cost=cost))
    preferred = [run for run in scored if levels.length_s(run) >= BEST_MIN_S]
    return sorted(preferred or scored, key=lambda run: run.cost)


def snapped(clip: Clip, text: str, pieces: Sequence[TextPiece]) -> tuple[list[int | None], list[int | None]]:
    """For each piece the pause at which it begins, and that at which it ends; None where there is none for certain.

    A pause goes to the bound that is nearest to it, if no other is about as near: between two words it belongs
    to one place of the text only.
    """
    pauses = [0, *clip.pauses(), len(clip.regions)]
    edges = np.array([clip.pause(index) for index in pauses])
    claims: dict[int, list[tuple[float, int]]] = {}
    own: list[list[int | None]] = [[None] * len(pieces), [None] * len(pieces)]
    for side in (0, 1):
        for index in range(len(pieces)):
            at_s = _time_of_bound(pieces, index, side)
            if at_s is None:
                continue
            far_s = np.maximum(np.maximum(edges[:, 0] - at_s, at_s - edges[:, 1]), 0.0)
            nearest = int(np.argmin(far_s))
            if far_s[nearest] <= _reach_s(text, pieces, index + side):
                own[side][index] = nearest
                claims.setdefault(nearest, []).append((float(far_s[nearest]), index + side))
    owners = {pause: _owner(found) for pause, found in claims.items()}
    for side in (0, 1):
        for index, pause in enumerate(own[side]):
            mine = pause is not None and owners[pause] == index + side
            own[side][index] = pauses[pause] if mine and pause is not None else None
    return own[0], own[1]


def _time_of_bound(pieces: Sequence[TextPiece], index: int, side: int) -> float | None:
    """When a piece begins (side 0) or ends (1); None where it, or its neighbour on that side, has no known time."""
    piece, neighbour = pieces[index], index + (1 if side else -1)
    if piece.start_s is None or piece.end_s is None:
        return None
    if not 0 <= neighbour < len(pieces):
        return piece.end_s if side else piece.start_s
    following = pieces[neighbour].start_s
    if following is None:
        return None
    return min(piece.end_s, following) if side else piece.start_s


def _reach_s(text: str, pieces: Sequence[TextPiece], bound: int) -> float:
    """How far a pause may be from the bound before piece `bound`."""
    if not 0 < bound < len(pieces):
        return SNAP_S
    before = text[: pieces[bound - 1].end].rstrip().rstrip(CLOSING)
    return SNAP_S if before.endswith(tuple(_MARKS)) else SNAP_UNMARKED_S


def _owner(claims: Sequence[tuple[float, int]]) -> int | None:
    """The bound nearest to a pause; None if another one is about as near."""
    nearest_s, bound = min(claims)
    others = [far_s for far_s, other in claims if other != bound]
    return bound if all(far_s - nearest_s >= CLEAR_S for far_s in others) else None


def _possible(clip: Clip, text: str, pieces: Sequence[TextPiece], max_s: float) -> list[tuple[range, Run]]:
    """All runs whose two ends are at pauses and whose length is right, with their pieces."""
    begins, ends = snapped(clip, text, pieces)
    speaker = _main_speaker(text, pieces)
    longest_s = min(BEST_MAX_S, max_s)
    found = []
    for index, first in enumerate(begins):
        if first is None:
            continue
        for last_index in range(index, min(index + MAX_PIECES, len(pieces))):
            piece, last = pieces[last_index], ends[last_index]
            is_sound = piece.begin == piece.end and piece.start_s is not None
            if is_sound or speaker not in (None, piece.speaker) or _breaks_off(begins, ends, index, last_index):
                break
            if last is None or last <= first:
                continue
            part = clip.part(first, last)
            if part.finished_s > longest_s:
                break
            if part.speech_s >= min(MIN_CUT_S, clip.speech_s):
                run = Run(pieces[index].begin, piece.end, first, last, 0.0)
                found.append((range(index, last_index + 1), run))
    return found


def _breaks_off(begins: Sequence[int | None], ends: Sequence[int | None], first: int, index: int) -> bool:
    """Whether there is sound between a piece and the one before it: something that the text does not have."""
    if index == first:
        return False
    end, begin = ends[index - 1], begins[index]
    return end is not None and begin is not None and end != begin


def _main_speaker(text: str, pieces: Sequence[TextPiece]) -> str | None:
    """Who says most; None if nobody is named."""
    said: dict[str, int] = {}
    for piece in pieces:
        if piece.speaker:
            said[piece.speaker] = said.get(piece.speaker, 0) + piece.end - piece.begin
    return max(said, key=lambda name: said[name]) if said else None


def _is_sure(span: range, pieces: Sequence[TextPiece]) -> bool:
    return float(np.mean([pieces[index].sure for index in span])) >= MIN_SURE


def _unsureness(span: range, pieces: Sequence[TextPiece]) -> float:
    return 2.0 * (1.0 - float(np.mean([pieces[index].sure for index in span])))


def _text_cost(text: str, run: Run) -> float:
    """Sentences had better be whole, and digits be absent: how they were read is anybody's guess."""
    said = text[run.begin : run.end]
    cost = 0.0 if ends_sentence(said) else 0.5
    cost += 0.0 if run.begin == 0 or ends_sentence(text[: run.begin]) else 0.25
    return cost + (0.3 if any(char.isdigit() for char in said) else 0.0)


class _Levels:
    """How a recording sounds in any stretch of its regions."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._frame = round(FRAME_S * SAMPLE_RATE)
        n = len(clip.recording) // self._frame
        frames = clip.recording[: n * self._frame].reshape(n, self._frame)
        self._power = np.asarray(np.mean(np.square(frames), axis=1, dtype=np.float64))

    def speech_s(self, run: Run) -> float:
        return self._clip.part(run.first, run.last).speech_s

    def length_s(self, run: Run) -> float:
        return self._clip.part(run.first, run.last).finished_s

    def cost(self, run: Run) -> float:
        """Noise, clipping, short pauses at the ends, long ones within, and too short a clip."""
        part = self._clip.part(run.first, run.last)
        noise = max(0.0, GOOD_SNR_DB - self._snr_db(part)) / 20.0
        begin, end = np.searchsorted(self._clip.clipped_s, [part.begin / SAMPLE_RATE, part.end / SAMPLE_RATE])
        clipping = 1.0 + np.log10(end - begin) if end > begin else 0.0
        before, after = (self._pause_s(index) for index in (run.first, run.last))
        edges = 0.5 * max(0.0, GOOD_PAUSE_S - before) + 1.0 * max(0.0, GOOD_PAUSE_S - after)
        inner_s = max((self._pause_s(index) for index in range(run.first + 1, run.last)), default=0.0)
        short = 0.1 * max(0.0, GOOD_LENGTH_S - part.finished_s)
        return float(noise + clipping + edges + max(0.0, inner_s - MAX_GOOD_PAUSE_S) + short)

    def _pause_s(self, index: int) -> float:
        begin, end = self._clip.pause(index)
        return end - begin

    def _snr_db(self, part: Clip) -> float:
        """Mean over quietest frames: what is heard in pauses and between sounds, also where noise hides the pauses."""
        power = self._power[part.begin // self._frame : part.end // self._frame]
        quiet = max(float(np.percentile(power, QUIET_PERCENTILE)), 10.0 ** (SILENCE_DB / 10.0))
        return 10.0 * float(np.log10(max(float(np.mean(power)) / quiet, 1.0)))
