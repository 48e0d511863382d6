"""The audio of all lines in one track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.audio.loudness import level
from f5_worker.errors import InvalidInput, TextTooLong
from f5_worker.synthesis.dub.plan import Line

PEAK = 0.99


def level_speakers(
    lines: Sequence[Line], audio: Sequence[Samples], target_lufs: Mapping[str | None, float]
) -> list[Samples]:
    """Return the audio of the lines, all lines of a speaker together at the speaker's loudness.

    Args:
        target_lufs: by speaker; the lines of others stay as they are.
    """
    levelled = list(audio)
    for speaker, lufs in target_lufs.items():
        own = [index for index, line in enumerate(lines) if line.cue.speaker == speaker]
        if not own:
            continue
        ends = np.cumsum([len(audio[index]) for index in own])
        sound = level(np.concatenate([audio[index] for index in own]), lufs).samples
        for index, samples in zip(own, np.split(sound, ends[:-1]), strict=True):
            levelled[index] = samples
    return levelled


def track_length(lines: Sequence[Line], track_s: float | None, until_s: float, max_s: float) -> int:
    """Return how many samples the track has, which is known before its lines are spoken.

    Args:
        until_s: when the last cue ends, which may be a silent one: the track reaches it.
        max_s: the longest track; `track_s` and `until_s` are within it.

    Raises:
        InvalidInput: the lines need more than `track_s`. TextTooLong: they need more than `max_s`.
    """
    needed = max(line.first_sample + line.n_samples for line in lines)
    length = max(needed, round(until_s * SAMPLE_RATE)) if track_s is None else round(track_s * SAMPLE_RATE)
    if needed > length:
        raise InvalidInput(
            f"track_s={track_s:g}: the lines end at {needed / SAMPLE_RATE:.2f} s; raise track_s or max_speed"
        )
    if length > round(max_s * SAMPLE_RATE):
        raise TextTooLong(
            f"the lines end at {needed / SAMPLE_RATE:.0f} s, after their times; at most {max_s:.0f} s "
            "(F5_MAX_AUDIO_S); shorten them, raise max_speed, or send them in parts"
        )
    return length


def mix_track(lines: Sequence[Line], audio: Sequence[Samples], n_samples: int) -> Samples:
    """Return the track: each line's audio at its time, added where lines overlap. n_samples: by `track_length`."""
    track = np.zeros(n_samples, np.float32)
    for line, samples in zip(lines, audio, strict=True):
        track[line.first_sample : line.first_sample + len(samples)] += samples
    return limit_peak(track, PEAK)
