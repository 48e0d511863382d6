"""The audio of all lines in one track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.errors import InvalidInput
from f5_worker.synthesis.dub.plan import Line

PEAK = 0.99


def mix_track(lines: Sequence[Line], audio: Sequence[Samples], track_s: float | None, until_s: float) -> Samples:
    """Return the track: each line's audio at its time, added where lines overlap.

    Args:
        until_s: when the last cue ends, which may be a silent one: the track reaches it.

    Raises:
        InvalidInput: the lines need more than `track_s`.
    """
    starts = [round(line.cue.start_s * SAMPLE_RATE) for line in lines]
    needed = max(start + len(samples) for start, samples in zip(starts, audio, strict=True))
    length = max(needed, round(until_s * SAMPLE_RATE)) if track_s is None else round(track_s * SAMPLE_RATE)
    if needed > length:
        raise InvalidInput(
            f"track_s={track_s:g}: the lines end at {needed / SAMPLE_RATE:.2f} s; raise track_s or max_speed"
        )
    track = np.zeros(length, np.float32)
    for start, samples in zip(starts, audio, strict=True):
        track[start : start + len(samples)] += samples
    return limit_peak(track, PEAK)
