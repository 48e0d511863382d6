"""The speech in a recording, the pauses in it, and parts of it that begin and end at pauses.

All signals are float32 `[nw]`, mono, at 24 kHz, except `Audio.samples`, which has its own rate.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from f5_worker import cancellation
from f5_worker.audio.decode import Audio, to_model_rate
from f5_worker.audio.join import fade_edges
from f5_worker.audio.levels import SAMPLE_RATE, Samples, loud_db, offset_db, remove_offset, rms, speech_regions
from f5_worker.errors import ReferenceSilent, ReferenceTooShort, TranscriptMismatch
from f5_worker.reference.thresholds import CLIP
from f5_worker.text.letters import count_signs, spoken_letters


@dataclass(frozen=True, eq=False)
class Clip:
    """A part of a recording.

    Attributes:
        audio: the whole recording as it was sent.
        recording: the same at the model's rate, repaired.
        begin, end: the part, in samples of `recording`.
        regions: where there is speech in the part, `(begin, end)` in samples of `recording`, ascending.
        soft_regions: where there is any sound at all in the recording, soft onsets and decays included.
        repairs: what was corrected in the recording, for the caller.
    """

    audio: Audio
    recording: Samples
    begin: int
    end: int
    regions: tuple[tuple[int, int], ...]
    soft_regions: tuple[tuple[int, int], ...]
    repairs: tuple[str, ...] = ()

    @property
    def speech_s(self) -> float:
        """Return the length of the speech in the part, without its pauses."""
        return sum(end - begin for begin, end in self.regions) / SAMPLE_RATE

    @property
    def rendered_s(self) -> float:
        """Return the length of what `render_clip` returns."""
        return (self.end - self.begin) / SAMPLE_RATE + CLIP.tail_s

    @cached_property
    def clipped_at_s(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return the times of all clipped samples of the recording: `[n]`, ascending, in seconds."""
        return np.flatnonzero(np.abs(self.audio.samples) >= CLIP.clipped_level) / self.audio.sample_rate

    def pause_span_s(self, index: int) -> tuple[float, float]:
        """Return begin and end of the silence before region `index`; infinite before the first, after the last."""
        begin = self.regions[index - 1][1] / SAMPLE_RATE if index > 0 else -np.inf
        end = self.regions[index][0] / SAMPLE_RATE if index < len(self.regions) else np.inf
        return begin, end

    def pauses(self) -> list[int]:
        """Return the inner pauses that are long enough to cut in, as indices for `pause_span_s` and `cut`."""
        spans = [(index, self.pause_span_s(index)) for index in range(1, len(self.regions))]
        return [index for index, (begin, end) in spans if end - begin >= CLIP.min_pause_s]

    def cut(self, first: int, last: int) -> Clip:
        """Return the part from region `first` up to region `last`, exclusive.

        Its soft edges reach at most half into the pause before and after it.
        """
        regions = self.regions[first:last]
        speech_begin, speech_end = regions[0][0], regions[-1][1]
        begin = max(
            _soft_region(self.soft_regions, speech_begin)[0], speech_begin - round(CLIP.soft_lead_s * SAMPLE_RATE)
        )
        begin -= round(CLIP.lead_s * SAMPLE_RATE)
        end = min(_soft_region(self.soft_regions, speech_end)[1], speech_end + round(CLIP.soft_tail_s * SAMPLE_RATE))
        if first > 0:
            begin = max(begin, (self.regions[first - 1][1] + speech_begin) // 2)
        if last < len(self.regions):
            end = min(end, (speech_end + self.regions[last][0]) // 2)
        return replace(self, begin=max(0, begin), end=end, regions=regions)


def detect_speech(audio: Audio) -> Clip:
    """Return all of a recording with its speech regions, which may be none."""
    recording, repairs = _repair(audio)
    min_samples = CLIP.min_sound_s * SAMPLE_RATE
    cancellation.check()  # each of these passes takes 0.6 s for ten minutes
    regions = [(begin, end) for begin, end in speech_regions(recording) if end - begin >= min_samples]
    cancellation.check()
    soft_regions = speech_regions(recording, softest_db=CLIP.soft_db)
    return Clip(audio, recording, 0, len(recording), tuple(regions), tuple(soft_regions), tuple(repairs))


def trim_to_speech(audio: Audio) -> Clip:
    """Return the recording without its silent edges.

    Raises:
        ReferenceSilent: there is no sound, or only noise far below a voice's level.
        ReferenceTooShort: there is less than `CLIP.min_speech_s` of speech.
    """
    clip = detect_speech(audio)
    cancellation.check()
    level_db = loud_db(clip.recording)
    if level_db < CLIP.min_loud_db or not clip.regions:
        raise ReferenceSilent(
            f"the recording is silent: its loudest parts are at {level_db:.1f} dBFS, at least "
            f"{CLIP.min_loud_db:g} is needed; record it closer to the microphone"
        )
    if clip.speech_s < CLIP.min_speech_s:
        raise ReferenceTooShort(
            f"the recording has {clip.speech_s:.2f} s of speech, at least {CLIP.min_speech_s:g} s is needed; "
            "send a clip of 5 to 12 s"
        )
    return clip.cut(0, len(clip.regions))


def check_speaking_rate(clip: Clip, text: str, *, min_chars_per_s: float = CLIP.min_chars_per_s) -> None:
    """Raise if a person cannot say the text in this clip, or it is not words.

    Raises:
        TranscriptMismatch: with the rate, or with the number of signs.
    """
    n_letters, n_signs = spoken_letters(text), count_signs(text)
    if n_signs > CLIP.max_free_signs + CLIP.max_signs_share * n_letters:
        raise TranscriptMismatch(
            f"the transcript has {n_signs} punctuation marks and symbols for {n_letters:.0f} letters; "
            "send exactly the words spoken in this clip"
        )
    rate = n_letters / clip.speech_s
    if not min_chars_per_s <= rate <= CLIP.max_chars_per_s:
        raise TranscriptMismatch(
            f"the transcript has {len(text.strip())} characters for {clip.speech_s:.1f} s of speech, "
            f"which is {rate:.1f} letters a second where people speak {CLIP.min_chars_per_s:g} to "
            f"{CLIP.max_chars_per_s:g}; send exactly the words spoken in this clip"
        )


def render_clip(clip: Clip) -> Samples:
    """Return the clip at the model's level, faded into its tail, which is silence where the recording ends."""
    tail = round(CLIP.tail_s * SAMPLE_RATE)
    part = clip.recording[clip.begin : clip.end + tail]
    part = fade_edges(part, fade_in_s=0.0, fade_out_s=CLIP.tail_fade_s)
    part = np.pad(part, (0, clip.end - clip.begin + tail - len(part)))
    level = rms(part)
    if level >= CLIP.target_rms:
        return part
    gain = min(CLIP.target_rms / level, CLIP.max_gain, max(1.0, CLIP.peak / float(np.abs(part).max())))
    return part * np.float32(gain)


def _repair(audio: Audio) -> tuple[Samples, list[str]]:
    """Return the recording at the model's rate without what spoils it and can be taken out, and what that was."""
    recording, repairs = to_model_rate(audio), []
    if audio.channel is not None:
        channel = f"channel {audio.channel + 1} of {audio.channels}"
        repairs.append(f"the channels of the recording cancel each other when they are mixed; only {channel} is used")
    level_db = offset_db(recording)
    if level_db - loud_db(recording) > CLIP.max_offset_db:
        recording = remove_offset(recording)
        repairs.append(f"an offset of {10.0 ** (level_db / 20.0):.1%} of full scale was removed from the recording")
    return recording, repairs


def _soft_region(soft_regions: tuple[tuple[int, int], ...], at: int) -> tuple[int, int]:
    """Return the soft sound around sample `at`, `(at, at)` if there is none."""
    index = bisect_right(soft_regions, at, key=lambda region: region[0]) - 1
    return soft_regions[index] if index >= 0 and soft_regions[index][1] >= at else (at, at)
