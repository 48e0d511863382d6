"""Rough word times to word times: corrected by the pauses that are heard and by the lengths of the words.

What Whisper's attention says of where a word begins is late by a constant and strays by some 60 ms, and it
does not see pauses. The pauses of the signal are exact, and a word of ten letters takes longer than one of two.
All three are weighed against each other by one dynamic programme over all the words of a segment.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.audio.levels import SAMPLE_RATE

Floats: TypeAlias = NDArray[np.float64]

# Fitted to English of one synthetic voice, the one that bench/timing.py measures with, though to other texts;
# LAG_S and PARTED_S most of all follow how that voice's model divides its sound between words.
HOP_S = 0.010  # times are told to this
SOFTEST_DB = 43.0  # what is further below the loud parts is a pause, unless the background is as loud
LAG_S = 0.050  # attention moves on so much after a word has begun
PARTED_S = 0.015  # running words are set apart by this on either side of their boundary: its sound is of neither
STRAY_S = 0.100  # and strays so much: standard deviation
EDGE_WEIGHT = 0.5  # of attention at the segment's edges, where it says less
LENGTH_STRAY = 0.45  # of words' lengths from what their letters say: standard deviation of the log
PAUSE_COST = 40.0  # of a second of silence within a word
OUTSIDE_COST = 20.0  # of a second of sound before the first word or after the last
PAUSE_BONUS = 4.0  # of parting two words at a pause
REACH_S = 0.400  # how far from what attention says a boundary is looked for


class Rough(NamedTuple):
    """A word: where attention moves to it and on from it, in seconds, and what it is phonetic_length in letters."""

    start_s: float
    end_s: float
    letters: float


@dataclass(frozen=True, eq=False)
class _Places:
    """Where words can be parted: at an instant, or around a pause. Ascending, `[p]` each, in seconds.

    voiced: sound heard before the place. pause: 1 for pauses.
    """

    left: Floats
    right: Floats
    voiced: Floats
    pause: Floats


def refine(words: Sequence[Rough], regions: Sequence[tuple[int, int]], length_s: float) -> list[tuple[float, float]]:
    """`(start_s, end_s)` of each word: in order, without crossings, within `length_s`.

    Args:
        words: at least one, in order.
        regions: of sound, at least one; in samples at 24 kHz, as `speech_regions` with SOFTEST_DB finds them.
    """
    places = _places(regions, length_s)
    letters = np.array([word.letters for word in words])
    expected_s = letters * (max(HOP_S, float(places.voiced[-1])) / letters.sum())
    bands = [_band(places, times) for times in _attention(words)]
    costs = [_cost(places, band, times) for band, times in zip(bands, _attention(words), strict=True)]
    costs[0] = costs[0] * EDGE_WEIGHT + OUTSIDE_COST * places.voiced[bands[0]]
    left_out = places.voiced[-1] - places.voiced[bands[-1]]
    costs[-1] = costs[-1] * EDGE_WEIGHT + OUTSIDE_COST * left_out
    for band, cost in zip(bands[1:-1], costs[1:-1], strict=True):
        cost -= PAUSE_BONUS * places.pause[band]
    path = _best(places, bands, costs, expected_s)
    return _times(places, path)


def _places(regions: Sequence[tuple[int, int]], length_s: float) -> _Places:
    hops = round(length_s / HOP_S) + 1
    spans: list[tuple[float, float]] = []
    silence_s = 0.0
    for begin, end in [*((a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in regions), (length_s, length_s)]:
        spans.append((silence_s, begin))
        spans += [(at, at) for at in np.arange(hops) * HOP_S if begin < at < end]
        silence_s = end
    left, right = np.array(spans).T
    pause = (right > left).astype(float)
    silent = np.cumsum(right - left) - (right - left)
    return _Places(left, right, left - silent, pause)


def _attention(words: Sequence[Rough]) -> list[tuple[float, ...]]:
    """What attention says of each boundary: one time, or two where the words have punctuation between them."""
    between = [
        (before.end_s, after.start_s) if after.start_s > before.end_s else (after.start_s,)
        for before, after in itertools.pairwise(words)
    ]
    return [tuple(time - LAG_S for time in times) for times in [(words[0].start_s,), *between, (words[-1].end_s,)]]


def _band(places: _Places, times: tuple[float, ...]) -> slice:
    first = int(np.searchsorted(places.right, times[0] - REACH_S))
    last = int(np.searchsorted(places.left, times[-1] + REACH_S))
    first = min(first, len(places.left) - 1)
    return slice(first, max(last, first + 1))


def _cost(places: _Places, band: slice, times: tuple[float, ...]) -> Floats:
    """Of parting words at each place of the band: squared for small distances, lenient with large ones."""
    cost = np.zeros(band.stop - band.start)
    for time in times:
        distance = np.maximum(0.0, np.maximum(places.left[band] - time, time - places.right[band]))
        cost += 4.0 * np.log1p(np.square(distance / STRAY_S) / 8.0)
    return cost


def _best(places: _Places, bands: list[slice], costs: list[Floats], expected_s: Floats) -> list[int]:
    """The cheapest places, one for each boundary."""
    total, choices = costs[0], []
    for before, after, cost, expected in zip(bands, bands[1:], costs[1:], expected_s, strict=False):
        voiced = places.voiced[after] - places.voiced[before][:, None]
        silent = places.left[after] - places.right[before][:, None] - voiced
        steps = np.square(np.log(np.maximum(voiced, HOP_S) / expected)) / (2.0 * LENGTH_STRAY**2)
        steps += PAUSE_COST * np.maximum(silent, 0.0)
        backwards = np.arange(after.start, after.stop) < np.arange(before.start, before.stop)[:, None]
        steps[backwards] = np.inf
        steps += total[:, None]
        choices.append(steps.argmin(axis=0))
        total = steps.min(axis=0) + cost
    at = int(total.argmin())
    path = [bands[-1].start + at]
    for band, choice in zip(reversed(bands[:-1]), reversed(choices), strict=True):
        at = int(choice[at])
        path.append(band.start + at)
    return path[::-1]


def _times(places: _Places, path: list[int]) -> list[tuple[float, float]]:
    times = []
    parted_s = np.where(places.pause[path] > 0, 0.0, PARTED_S)
    parted_s[[0, -1]] = 0.0
    for (before, after), (rise_s, fall_s) in zip(itertools.pairwise(path), itertools.pairwise(parted_s), strict=True):
        start_s = float(places.right[before])
        end_s = max(start_s, float(places.left[after]))
        quarter_s = (end_s - start_s) / 4.0
        times.append((start_s + min(float(rise_s), quarter_s), end_s - min(float(fall_s), quarter_s)))
    return times
