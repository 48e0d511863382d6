"""Segments of speech to one signal, without clicks and without loss, at once or one by one.

All signals are float32 `[nw]`, mono, at 24 kHz. What is sent while it is made is the very same as the whole:
`join` and `fit` are loops over `Joiner` and `Fitter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.audio.levels import trim as trim_silence

LEAD_S, TAIL_S = 0.020, 0.060  # silence left around the sound: voices start faster than they die away
FADE_IN_S, FADE_OUT_S = 0.010, 0.020  # both shorter than what is left, so that no sound is faded
SILENT_SEGMENT_S = 0.100  # what stays of a segment without any sound, so that its place can be shown
PEAK = 0.99
_NOTHING: Samples = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Joined:
    """The whole, and where each segment lies in it: `(start_s, end_s)` in the order given."""

    samples: Samples
    bounds: tuple[tuple[float, float], ...]


class Joiner:
    """Puts segments one after another as they come.

    With `cross_fade_s=None` each segment loses its silent edges (down to LEAD_S and TAIL_S), is faded at both
    ends, and is set apart from the next by its pause. With a number the segments overlap by so much in a linear
    cross-fade, untrimmed and without pauses, as f5-tts does it; 0 puts them side by side.

    A segment whose peak exceeds PEAK is turned down as a whole, and it alone: those before it are sent already.
    A cross-fade of two such segments stays below PEAK as well, since its two gains add up to 1.
    """

    def __init__(self, *, cross_fade_s: float | None, trim: bool = True) -> None:
        """With `trim=False` the silent edges stay."""
        self._cross_fade = None if cross_fade_s is None else round(cross_fade_s * SAMPLE_RATE)
        self._trim = trim
        self._held = _NOTHING  # the end of what was pushed, which the next segment may still change or follow
        self._length = 0  # of all that was pushed, without the pause held
        self._bounds: list[tuple[int, int]] = []

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """`(start_s, end_s)` of each segment so far; two that overlap meet in the middle of what they share, so
        that with a cross-fade the last one's end is final only when the next has come, or none does."""
        return tuple((begin / SAMPLE_RATE, end / SAMPLE_RATE) for begin, end in self._bounds)

    def push(self, segment: Samples, pause_s: float) -> Samples:
        """Take the next segment and the pause after it; return what no later one can change.

        The pause is held back until another segment follows; a cross-fade uses none, and holds back its own length.
        """
        if self._cross_fade is None:
            return self._set_apart(segment, pause_s)
        return self._overlap(limit_peak(segment, PEAK), self._cross_fade)

    def finish(self) -> Samples:
        """What was held back and is heard: nothing without a cross-fade."""
        return self._held if self._cross_fade is not None else _NOTHING

    def _set_apart(self, segment: Samples, pause_s: float) -> Samples:
        sound = _prepared(segment, self._trim)
        begin = self._length + len(self._held)
        ready = np.concatenate([self._held, sound])
        self._length = begin + len(sound)
        self._held = np.zeros(round(pause_s * SAMPLE_RATE), np.float32)
        self._bounds.append((begin, self._length))
        return ready

    def _overlap(self, segment: Samples, cross_fade: int) -> Samples:
        shared = min(len(self._held), len(segment))
        rising = np.linspace(0, 1, shared, dtype=np.float32)
        before, falling = np.split(self._held, [len(self._held) - shared])
        middle = self._length - shared + shared // 2
        if self._bounds:
            self._bounds[-1] = (self._bounds[-1][0], middle)
        self._length += len(segment) - shared
        self._bounds.append((middle, self._length))
        signal = np.concatenate([before, falling * rising[::-1] + segment[:shared] * rising, segment[shared:]])
        # The next cross-fade reaches no further back than this segment, however short it is.
        ready, self._held = np.split(signal, [len(signal) - min(cross_fade, len(segment))])
        return ready


class Fitter:
    """Passes on exactly `n_samples`: fills up with silence, or cuts with a fade, whose length it holds back."""

    def __init__(self, n_samples: int) -> None:
        self._left = n_samples  # until the end
        self._fade = min(round(FADE_OUT_S * SAMPLE_RATE), n_samples)
        self._held = _NOTHING

    def push(self, samples: Samples) -> Samples:
        """Take the next samples; return those before the fade, and the fade as soon as it is known to be one."""
        pending = np.concatenate([self._held, samples])
        if len(pending) > self._left:
            cut = faded(pending[: self._left], fade_in_s=0.0)
            self._held, self._left, self._fade = _NOTHING, 0, 0
            return cut
        ready, self._held = np.split(pending, [min(len(pending), self._left - self._fade)])
        self._left -= len(ready)
        return ready

    def finish(self) -> Samples:
        """What was held back, filled up."""
        return np.pad(self._held, (0, self._left - len(self._held)))


def join(
    segments: Sequence[Samples], *, pauses_s: Sequence[float], cross_fade_s: float | None, trim: bool = True
) -> Joined:
    """Put `segments` one after another as `Joiner` does.

    Args:
        pauses_s: one for each gap, in seconds; not used with `cross_fade_s`.
        trim: False leaves the silent edges alone.
    """
    if cross_fade_s is None and len(pauses_s) != max(len(segments) - 1, 0):
        raise ValueError(f"{len(segments)} segments cannot be set apart by {len(pauses_s)} pauses")
    joiner = Joiner(cross_fade_s=cross_fade_s, trim=trim)
    parts = [joiner.push(*pair) for pair in zip(segments, chain(pauses_s, repeat(0.0)))]  # noqa: B905 - endless
    return Joined(np.concatenate([*parts, joiner.finish()]), joiner.bounds)


def fit(samples: Samples, n_samples: int) -> Samples:
    """Exactly `n_samples`: filled up with silence, or cut with a short fade."""
    fitter = Fitter(n_samples)
    return np.concatenate([fitter.push(samples), fitter.finish()])


def faded(samples: Samples, *, fade_in_s: float = FADE_IN_S, fade_out_s: float = FADE_OUT_S) -> Samples:
    """A copy that starts and ends at zero along half a cosine."""
    result = samples.astype(np.float32, copy=True)
    rise = min(round(fade_in_s * SAMPLE_RATE), len(result) // 2)
    fall = min(round(fade_out_s * SAMPLE_RATE), len(result) - rise)
    result[:rise] *= _half_cosine(rise)
    result[len(result) - fall :] *= _half_cosine(fall)[::-1]
    return result


def _half_cosine(n: int) -> Samples:
    """`[n]` from 0 towards 1; equal gain, as it fades from and to silence."""
    return (0.5 - 0.5 * np.cos(np.pi * np.arange(n) / max(n, 1))).astype(np.float32)


def _prepared(segment: Samples, trim: bool) -> Samples:
    sound = trim_silence(segment, LEAD_S, tail_s=TAIL_S) if trim else segment
    return faded(limit_peak(sound, PEAK)) if len(sound) else np.zeros(round(SILENT_SEGMENT_S * SAMPLE_RATE), np.float32)
