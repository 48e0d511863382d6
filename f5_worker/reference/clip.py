"""The speech in a recording, the pauses in it, and parts of it that begin and end at pauses.

All signals are float32 `[nw]`, mono, at 24 kHz, but for `Audio.samples`, which has its own rate.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from f5_worker.audio.decode import Audio, to_model_rate
from f5_worker.audio.join import faded
from f5_worker.audio.levels import SAMPLE_RATE, Samples, loud_db, rms, speech_regions
from f5_worker.errors import ReferenceSilent, ReferenceTooShort, TranscriptMismatch
from f5_worker.text.letters import spoken_letters

MIN_SPEECH_S = 1.0
MIN_LOUD_DB = -60.0  # below, raising the level would clone the noise of the recording
TARGET_RMS = 0.1  # f5-tts raises quieter clips to this; the model was trained around it
MAX_GAIN = 100.0  # 40 dB. f5-tts divides by the clip's RMS without a bound: NaN for silence
PEAK = 0.99
LEAD_S, TAIL_S = 0.020, 0.050  # silence kept before and after; without a tail the last word leaks (#58, #85)
TAIL_FADE_S = 0.010
SOFT_LEAD_S, SOFT_TAIL_S = 0.100, 0.200  # longest soft onset and decay; what is beyond is background
SOFT_DB = 40.0

MIN_PAUSE_S = 0.150
BLIP_S = 0.080  # shorter sounds are clicks and lip noise; a pause goes on across them
MIN_CUT_S = 3.0  # of speech; shorter clips make poor voices: better to ask for another recording
CLIPPED = 0.999

# Speech has 9 to 20 letters a second; outside these bounds clip and transcript do not belong together.
MIN_CHARS_PER_S, MAX_CHARS_PER_S = 4.0, 30.0


@dataclass(frozen=True, eq=False)
class Clip:
    """A part of a recording.

    Attributes:
        audio: the whole recording as it was sent.
        recording: the same at the model's rate.
        begin, end: the part, in samples of `recording`.
        regions: where there is speech in the part, `(begin, end)` in samples of `recording`, ascending.
        soft: where there is any sound at all in the recording, soft onsets and decays included.
    """

    audio: Audio
    recording: Samples
    begin: int
    end: int
    regions: tuple[tuple[int, int], ...]
    soft: tuple[tuple[int, int], ...]

    @property
    def speech_s(self) -> float:
        return sum(end - begin for begin, end in self.regions) / SAMPLE_RATE

    @property
    def finished_s(self) -> float:
        """Length of what `finish` makes of it."""
        return (self.end - self.begin) / SAMPLE_RATE + TAIL_S

    @cached_property
    def clipped_s(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """When in the recording a sample is clipped: ascending, in seconds."""
        return np.flatnonzero(np.abs(self.audio.samples) >= CLIPPED) / self.audio.sample_rate

    def pause(self, index: int) -> tuple[float, float]:
        """The silence before region `index`, in seconds; beyond the first and the last region it has no bound."""
        begin = self.regions[index - 1][1] / SAMPLE_RATE if index > 0 else -np.inf
        end = self.regions[index][0] / SAMPLE_RATE if index < len(self.regions) else np.inf
        return begin, end

    def pauses(self) -> list[int]:
        """The pauses long enough to cut in, inner ones only, as indices for `pause` and `part`."""
        found = [(index, self.pause(index)) for index in range(1, len(self.regions))]
        return [index for index, (begin, end) in found if end - begin >= MIN_PAUSE_S]

    def part(self, first: int, last: int) -> Clip:
        """From region `first` up to region `last`, which is left out; soft edges reach half into a pause at most."""
        regions = self.regions[first:last]
        lead, tail = regions[0][0], regions[-1][1]
        begin = max(_soft_region(self.soft, lead)[0], lead - round(SOFT_LEAD_S * SAMPLE_RATE))
        begin -= round(LEAD_S * SAMPLE_RATE)
        end = min(_soft_region(self.soft, tail)[1], tail + round(SOFT_TAIL_S * SAMPLE_RATE))
        if first > 0:
            begin = max(begin, (self.regions[first - 1][1] + lead) // 2)
        if last < len(self.regions):
            end = min(end, (tail + self.regions[last][0]) // 2)
        return replace(self, begin=max(0, begin), end=end, regions=regions)


def listen(audio: Audio) -> Clip:
    """All of a recording, and where there is speech in it, if anywhere."""
    recording = to_model_rate(audio)
    regions = [(begin, end) for begin, end in speech_regions(recording) if end - begin >= BLIP_S * SAMPLE_RATE]
    soft = speech_regions(recording, softest_db=SOFT_DB)
    return Clip(audio, recording, 0, len(recording), tuple(regions), tuple(soft))


def find_speech(audio: Audio) -> Clip:
    """The recording without its silent edges.

    Raises:
        ReferenceSilent: there is no sound, or nothing but noise far below a voice's level.
        ReferenceTooShort: there is less than MIN_SPEECH_S of it.
    """
    clip = listen(audio)
    level_db = loud_db(clip.recording)
    if level_db < MIN_LOUD_DB or not clip.regions:
        raise ReferenceSilent(
            f"the recording is silent: its loudest parts are at {level_db:.1f} dBFS, at least "
            f"{MIN_LOUD_DB:g} is needed; record it closer to the microphone"
        )
    if clip.speech_s < MIN_SPEECH_S:
        raise ReferenceTooShort(
            f"the recording has {clip.speech_s:.2f} s of speech, at least {MIN_SPEECH_S:g} s is needed; "
            "send a clip of 5 to 12 s"
        )
    return clip.part(0, len(clip.regions))


def check_rate(clip: Clip, text: str, *, at_least: float = MIN_CHARS_PER_S) -> None:
    """Return if a person can say the text in this clip.

    Raises:
        TranscriptMismatch: with the rate.
    """
    rate = spoken_letters(text) / clip.speech_s
    if not at_least <= rate <= MAX_CHARS_PER_S:
        raise TranscriptMismatch(
            f"the transcript has {len(text.strip())} characters for {clip.speech_s:.1f} s of speech, "
            f"which is {rate:.1f} letters a second where people speak {MIN_CHARS_PER_S:g} to "
            f"{MAX_CHARS_PER_S:g}; send exactly the words spoken in this clip"
        )


def finish(clip: Clip) -> Samples:
    """The clip at the model's level, faded into its tail; silence is appended where the recording ends."""
    tail = round(TAIL_S * SAMPLE_RATE)
    part = clip.recording[clip.begin : clip.end + tail]
    part = faded(part, fade_in_s=0.0, fade_out_s=TAIL_FADE_S)
    part = np.pad(part, (0, clip.end - clip.begin + tail - len(part)))
    level = rms(part)
    if level >= TARGET_RMS:
        return part
    gain = min(TARGET_RMS / level, MAX_GAIN, max(1.0, PEAK / float(np.abs(part).max())))
    return part * np.float32(gain)


def _soft_region(soft: tuple[tuple[int, int], ...], at: int) -> tuple[int, int]:
    """The soft sound around `at`; `at` alone if there is none."""
    index = bisect_right(soft, at, key=lambda region: region[0]) - 1
    return soft[index] if index >= 0 and soft[index][1] >= at else (at, at)
