"""Segments of speech to one signal, without clicks and without loss.

All signals are float32 `[nw]`, mono, at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.audio.levels import trim as trim_silence

LEAD_S, TAIL_S = 0.020, 0.060  # silence left around the sound: voices start faster than they die away
FADE_IN_S, FADE_OUT_S = 0.010, 0.020  # both shorter than what is left, so that no sound is faded
SILENT_SEGMENT_S = 0.100  # what stays of a segment without any sound, so that its place can be shown
PEAK = 0.99


@dataclass(frozen=True, eq=False)
class Joined:
    """The whole, and where each segment lies in it: `(start_s, end_s)` in the order given."""

    samples: Samples
    bounds: tuple[tuple[float, float], ...]


def join(
    segments: Sequence[Samples], *, pauses_s: Sequence[float], cross_fade_s: float | None, trim: bool = True
) -> Joined:
    """Put segments one after another.

    With `cross_fade_s=None` each segment loses its silent edges (down to LEAD_S and TAIL_S), is faded at both
    ends, and is set apart from the next by that gap's pause. With a number the segments overlap by so much in
    a linear cross-fade, untrimmed and without pauses, as f5-tts does it; 0 puts them side by side.

    Args:
        pauses_s: one for each gap, in seconds; not used with `cross_fade_s`.
        trim: False leaves the silent edges alone.
    """
    if cross_fade_s is not None:
        samples, bounds = _overlap(segments, round(cross_fade_s * SAMPLE_RATE))
    else:
        samples, bounds = _set_apart([_prepared(segment, trim) for segment in segments], pauses_s)
    return Joined(limit_peak(samples, PEAK), tuple((begin / SAMPLE_RATE, end / SAMPLE_RATE) for begin, end in bounds))


def fit(samples: Samples, n_samples: int) -> Samples:
    """Exactly `n_samples`: filled up with silence, or cut with a short fade."""
    if len(samples) <= n_samples:
        return np.pad(samples, (0, n_samples - len(samples)))
    return faded(samples[:n_samples], fade_in_s=0.0)


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
    return faded(sound) if len(sound) else np.zeros(round(SILENT_SEGMENT_S * SAMPLE_RATE), np.float32)


def _set_apart(segments: Sequence[Samples], pauses_s: Sequence[float]) -> tuple[Samples, list[tuple[int, int]]]:
    if len(pauses_s) != max(len(segments) - 1, 0):
        raise ValueError(f"{len(segments)} segments cannot be set apart by {len(pauses_s)} pauses")
    bounds: list[tuple[int, int]] = []
    begin = 0
    for segment, pause_s in zip(segments, [*pauses_s, 0.0], strict=False):
        bounds.append((begin, begin + len(segment)))
        begin = bounds[-1][1] + round(pause_s * SAMPLE_RATE)
    samples = np.zeros(bounds[-1][1] if bounds else 0, np.float32)
    for segment, (start, end) in zip(segments, bounds, strict=True):
        samples[start:end] = segment
    return samples, bounds


def _overlap(segments: Sequence[Samples], cross_fade: int) -> tuple[Samples, list[tuple[int, int]]]:
    """Overlap-add; the bounds of two neighbours meet in the middle of what they share."""
    samples = np.zeros(sum(map(len, segments)), np.float32)
    bounds: list[tuple[int, int]] = []
    end = previous = 0
    for segment in segments:
        shared = min(cross_fade, previous, len(segment))
        begin = end - shared
        rising = np.linspace(0, 1, shared, dtype=np.float32)
        samples[begin:end] *= rising[::-1]
        samples[begin:end] += segment[:shared] * rising
        samples[end : begin + len(segment)] = segment[shared:]
        middle = begin + shared // 2
        if bounds:
            bounds[-1] = (bounds[-1][0], middle)
        end, previous = begin + len(segment), len(segment)
        bounds.append((middle, end))
    return samples[:end], bounds
