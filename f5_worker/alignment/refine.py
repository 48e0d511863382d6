"""Correct approximate word times by the pauses in the signal and by the lengths of the words.

The times at which Whisper's attention places word boundaries are late by a constant, scatter by some 60 ms, and
ignore pauses. The pauses of the signal are exact, and a word of ten letters takes longer than one of two. One dynamic
programme over all the words of a segment weighs the three against each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from f5_worker.audio.levels import SAMPLE_RATE

Floats: TypeAlias = NDArray[np.float64]

# Fitted to English of one synthetic voice, the one that bench/timing.py measures with, though to other texts;
# LAG_S and BOUNDARY_MARGIN_S most of all follow how that voice's model divides its sound between words.
HOP_S = 0.010  # resolution of the times
SOFTEST_DB = 43.0  # sound further below the loud parts is a pause, unless the background is as loud
LAG_S = 0.050  # attention moves on this long after a word has begun
BOUNDARY_MARGIN_S = 0.015  # left out on either side of a boundary without a pause: its sound belongs to neither word
ATTENTION_STD_S = 0.100  # standard deviation of attention's times
EDGE_WEIGHT = 0.5  # of attention at the segment's edges, where it is less precise
LENGTH_LOG_STD = 0.45  # standard deviation of the log of words' lengths, relative to their phonetic length
PAUSE_COST = 40.0  # of a second of silence within a word
OUTSIDE_COST = 20.0  # of a second of sound before the first word or after the last
PAUSE_BONUS = 4.0  # of separating two words at a pause
SEARCH_RADIUS_S = 0.400  # around attention's time, in which a boundary is looked for


class ApproximateWord(NamedTuple):
    """A word before refinement: when attention moves to it and on from it, and its phonetic length in letters."""

    start_s: float
    end_s: float
    phonetic_length: float


@dataclass(frozen=True, eq=False)
class _Boundaries:
    """Possible boundaries between words: an instant, or a pause. Ascending, `[p]` each, in seconds.

    before_s: end of the word before. after_s: start of the word after. voiced_s: sound before the boundary.
    is_pause: 1.0 for pauses, else 0.0.
    """

    before_s: Floats
    after_s: Floats
    voiced_s: Floats
    is_pause: Floats


def refine(
    words: Sequence[ApproximateWord], regions: Sequence[tuple[int, int]], length_s: float
) -> list[tuple[float, float]]:
    """Return `(start_s, end_s)` of each word: in order, without overlap, within `length_s`.

    Args:
        words: at least one, in order.
        regions: of sound, at least one; in samples at 24 kHz, as `speech_regions` with SOFTEST_DB finds them.
    """
    boundaries = _possible_boundaries(regions, length_s)
    lengths = np.array([word.phonetic_length for word in words])
    expected_s = lengths * (max(HOP_S, float(boundaries.voiced_s[-1])) / lengths.sum())
    attention = _attention_times(words)
    bands = [_search_band(boundaries, times_s) for times_s in attention]
    costs = [_attention_cost(boundaries, band, times_s) for band, times_s in zip(bands, attention, strict=True)]
    costs[0] = costs[0] * EDGE_WEIGHT + OUTSIDE_COST * boundaries.voiced_s[bands[0]]
    sound_after_s = boundaries.voiced_s[-1] - boundaries.voiced_s[bands[-1]]
    costs[-1] = costs[-1] * EDGE_WEIGHT + OUTSIDE_COST * sound_after_s
    for band, cost in zip(bands[1:-1], costs[1:-1], strict=True):
        cost -= PAUSE_BONUS * boundaries.is_pause[band]
    return _word_times(boundaries, _cheapest_path(boundaries, bands, costs, expected_s))


def _possible_boundaries(regions: Sequence[tuple[int, int]], length_s: float) -> _Boundaries:
    instants_s = np.arange(round(length_s / HOP_S) + 1) * HOP_S
    before: list[ArrayLike] = []
    after: list[ArrayLike] = []
    silence_s = 0.0
    for begin, end in [*((a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in regions), (length_s, length_s)]:
        inside_s = instants_s[(instants_s > begin) & (instants_s < end)]
        before += [[silence_s], inside_s]
        after += [[begin], inside_s]
        silence_s = end
    before_s, after_s = np.concatenate(before), np.concatenate(after)
    is_pause = (after_s > before_s).astype(float)
    silent_s = np.cumsum(after_s - before_s) - (after_s - before_s)
    return _Boundaries(before_s, after_s, before_s - silent_s, is_pause)


def _attention_times(words: Sequence[ApproximateWord]) -> list[tuple[float, ...]]:
    """Return attention's times of each boundary: one, or two where the words have punctuation between them."""
    between = [
        (before.end_s, after.start_s) if after.start_s > before.end_s else (after.start_s,)
        for before, after in itertools.pairwise(words)
    ]
    return [tuple(time - LAG_S for time in times) for times in [(words[0].start_s,), *between, (words[-1].end_s,)]]


def _search_band(boundaries: _Boundaries, times_s: tuple[float, ...]) -> slice:
    """Return the boundaries within SEARCH_RADIUS_S of attention's times, at least one."""
    first = int(boundaries.after_s.searchsorted(times_s[0] - SEARCH_RADIUS_S))
    last = int(boundaries.before_s.searchsorted(times_s[-1] + SEARCH_RADIUS_S))
    first = min(first, len(boundaries.before_s) - 1)
    return slice(first, max(last, first + 1))


def _attention_cost(boundaries: _Boundaries, band: slice, times_s: tuple[float, ...]) -> Floats:
    """Return the cost of each boundary of the band: squared for small distances, tolerant of large ones."""
    cost = np.zeros(band.stop - band.start)
    for time_s in times_s:
        distance_s = np.maximum(0.0, np.maximum(boundaries.before_s[band] - time_s, time_s - boundaries.after_s[band]))
        cost += 4.0 * np.log1p(np.square(distance_s / ATTENTION_STD_S) / 8.0)
    return cost


def _cheapest_path(boundaries: _Boundaries, bands: list[slice], costs: list[Floats], expected_s: Floats) -> list[int]:
    """Return the cheapest indices of boundaries: one before each word, and one after the last."""
    total, choices = costs[0], []
    for before, after, cost, expected in zip(bands, bands[1:], costs[1:], expected_s, strict=False):
        voiced_s = boundaries.voiced_s[after] - boundaries.voiced_s[before][:, None]
        silent_s = boundaries.before_s[after] - boundaries.after_s[before][:, None] - voiced_s
        steps = np.square(np.log(np.maximum(voiced_s, HOP_S) / expected)) / (2.0 * LENGTH_LOG_STD**2)
        steps += PAUSE_COST * np.maximum(silent_s, 0.0)
        is_backwards = np.arange(after.start, after.stop) < np.arange(before.start, before.stop)[:, None]
        steps[is_backwards] = np.inf
        steps += total[:, None]
        choices.append(steps.argmin(axis=0))
        total = steps.min(axis=0) + cost
    at = int(total.argmin())
    path = [bands[-1].start + at]
    for band, choice in zip(reversed(bands[:-1]), reversed(choices), strict=True):
        at = int(choice[at])
        path.append(band.start + at)
    return path[::-1]


def _word_times(boundaries: _Boundaries, path: list[int]) -> list[tuple[float, float]]:
    times = []
    margins_s = np.where(boundaries.is_pause[path] > 0, 0.0, BOUNDARY_MARGIN_S)
    margins_s[[0, -1]] = 0.0
    for (before, after), (start_margin_s, end_margin_s) in zip(
        itertools.pairwise(path), itertools.pairwise(margins_s), strict=True
    ):
        start_s = float(boundaries.after_s[before])
        end_s = max(start_s, float(boundaries.before_s[after]))
        quarter_s = (end_s - start_s) / 4.0
        times.append((start_s + min(float(start_margin_s), quarter_s), end_s - min(float(end_margin_s), quarter_s)))
    return times
