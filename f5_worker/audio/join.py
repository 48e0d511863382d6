"""Join segments of speech into one signal as they come, without clicks and without loss.

All signals are float32 `[nw]`, mono, at 24 kHz.
"""

from __future__ import annotations

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.audio.levels import trim as trim_silence

LEAD_S, TAIL_S = 0.020, 0.060  # silence left around the sound: voices start faster than they fade
FADE_IN_S, FADE_OUT_S = 0.010, 0.020  # both shorter than what is left, so that no sound is faded
SILENT_SEGMENT_S = 0.100  # length of a segment without any sound, so that its place can be shown
PEAK = 0.99
_EMPTY: Samples = np.zeros(0, np.float32)


class Joiner:
    """Puts segments one after another as they come; nothing that was returned changes later.

    With `cross_fade_s=None` each segment loses its silent edges (down to LEAD_S and TAIL_S), is faded at both
    ends, and is separated from the next by its pause. With a number the segments overlap by that much in a linear
    cross-fade, untrimmed and without pauses, as in f5-tts; 0 puts them side by side.

    A segment whose peak exceeds PEAK is attenuated as a whole, and only that segment: earlier ones are sent already.
    A cross-fade of two such segments stays below PEAK too, since its two gains add up to 1.
    """

    def __init__(self, *, cross_fade_s: float | None, trim: bool = True) -> None:
        """With `trim=False` the silent edges stay."""
        self._cross_fade_samples = None if cross_fade_s is None else round(cross_fade_s * SAMPLE_RATE)
        self._trim = trim
        self._held = _EMPTY  # the end of what was pushed, which the next segment may still change or follow
        self._length = 0  # of all that was pushed, without the pause held
        self._bounds: list[tuple[int, int]] = []

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Return `(start_s, end_s)` of each segment so far.

        Two that overlap meet in the middle of what they share, so with a cross-fade the last one's end is final only
        when the next has come, or none does.
        """
        return tuple((begin / SAMPLE_RATE, end / SAMPLE_RATE) for begin, end in self._bounds)

    def push(self, segment: Samples, pause_s: float) -> Samples:
        """Add the next segment and the pause after it; return the samples that no later one can change.

        The pause is held back until another segment follows; a cross-fade uses none, and holds back its own length.
        """
        if self._cross_fade_samples is None:
            return self._append(segment, pause_s)
        return self._overlap(limit_peak(segment, PEAK), self._cross_fade_samples)

    def pause(self, pause_s: float) -> Samples:
        """Add silence of exactly that length, which no segment overlaps; return the samples that are final with it.

        It takes the place of the pause after the last segment.
        """
        silence = np.zeros(round(pause_s * SAMPLE_RATE), np.float32)
        ready = np.concatenate([self.finish(), silence])
        self._held = _EMPTY
        self._length += len(silence)
        return ready

    def finish(self) -> Samples:
        """Return the end of the last segment, held back for a cross-fade; empty without one."""
        return self._held if self._cross_fade_samples is not None else _EMPTY

    def _append(self, segment: Samples, pause_s: float) -> Samples:
        sound = _prepared(segment, self._trim)
        begin = self._length + len(self._held)
        ready = np.concatenate([self._held, sound])
        self._length = begin + len(sound)
        self._held = np.zeros(round(pause_s * SAMPLE_RATE), np.float32)
        self._bounds.append((begin, self._length))
        return ready

    def _overlap(self, segment: Samples, cross_fade_samples: int) -> Samples:
        shared = min(len(self._held), len(segment))
        rising = np.linspace(0, 1, shared, dtype=np.float32)
        before, falling = np.split(self._held, [len(self._held) - shared])
        middle = self._length - shared + shared // 2
        if shared:
            self._bounds[-1] = (self._bounds[-1][0], middle)
        self._length += len(segment) - shared
        self._bounds.append((middle, self._length))
        signal = np.concatenate([before, falling * rising[::-1] + segment[:shared] * rising, segment[shared:]])
        # The next cross-fade reaches no further back than this segment, however short it is.
        ready, self._held = np.split(signal, [len(signal) - min(cross_fade_samples, len(segment))])
        return ready


class Fitter:
    """Brings a signal to exactly `n_samples`, with silence or a cut.

    A cut has a fade, whose length is held back.
    """

    def __init__(self, n_samples: int) -> None:
        self._left = n_samples  # until the end
        self._fade_samples = min(round(FADE_OUT_S * SAMPLE_RATE), n_samples)
        self._held = _EMPTY

    def push(self, samples: Samples) -> Samples:
        """Add the next samples; return those before the fade, and the fade as soon as it is known to be one."""
        pending = np.concatenate([self._held, samples])
        if len(pending) > self._left:
            cut = fade_edges(pending[: self._left], fade_in_s=0.0)
            self._held, self._left, self._fade_samples = _EMPTY, 0, 0
            return cut
        ready, self._held = np.split(pending, [min(len(pending), self._left - self._fade_samples)])
        self._left -= len(ready)
        return ready

    def finish(self) -> Samples:
        """Return the samples that were held back, and silence up to the length."""
        return np.pad(self._held, (0, self._left - len(self._held)))


def fade_edges(samples: Samples, *, fade_in_s: float = FADE_IN_S, fade_out_s: float = FADE_OUT_S) -> Samples:
    """Return a copy that starts and ends at zero along half a cosine."""
    result = samples.astype(np.float32, copy=True)
    rise = min(round(fade_in_s * SAMPLE_RATE), len(result) // 2)
    fall = min(round(fade_out_s * SAMPLE_RATE), len(result) - rise)
    result[:rise] *= _half_cosine(rise)
    result[len(result) - fall :] *= _half_cosine(fall)[::-1]
    return result


def _half_cosine(n: int) -> Samples:
    """Return `[n]` from 0 towards 1; equal gain, as it fades from and to silence."""
    return (0.5 - 0.5 * np.cos(np.pi * np.arange(n) / max(n, 1))).astype(np.float32)


def _prepared(segment: Samples, trim: bool) -> Samples:
    sound = trim_silence(segment, LEAD_S, tail_s=TAIL_S) if trim else segment
    return (
        fade_edges(limit_peak(sound, PEAK))
        if len(sound)
        else np.zeros(round(SILENT_SEGMENT_S * SAMPLE_RATE), np.float32)
    )
