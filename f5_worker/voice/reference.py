"""A recording and its transcript to what the model is given: a short level clip and exactly its words.

All signals are float32 `[nw]`, mono, at 24 kHz.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.audio.decode import Audio, decode, to_model_rate
from f5_worker.audio.join import faded
from f5_worker.audio.levels import SAMPLE_RATE, Samples, loud_db, rms, rms_db, speech_regions
from f5_worker.errors import (
    InvalidInput,
    ReferenceSilent,
    ReferenceTooLong,
    ReferenceTooShort,
    TranscriptMismatch,
)
from f5_worker.settings import Settings, variable

MIN_SPEECH_S = 1.0
MIN_LOUD_DB = -60.0  # below, raising the level would clone the noise of the recording
TARGET_RMS = 0.1  # f5-tts raises quieter clips to this; the model was trained around it
MAX_GAIN = 100.0  # 40 dB. f5-tts divides by the clip's RMS without a bound: NaN for silence
PEAK = 0.99
LEAD_S, TAIL_S = 0.020, 0.050  # silence kept before and after; without a tail the last word leaks (#58, #85)
TAIL_FADE_S = 0.010
SOFT_LEAD_S, SOFT_TAIL_S = 0.100, 0.200  # longest soft onset and decay; what is beyond is background
SOFT_DB = 40.0

# Speech has 9 to 20 letters a second; outside these bounds clip and transcript do not belong together.
MIN_CHARS_PER_S, MAX_CHARS_PER_S = 4.0, 30.0
# How many Latin letters a character is worth in time: Chinese runs at 3 to 6 characters a second, Korean at
# 4 to 8, Japanese at 7 to 9 kana; a digit is spoken as a word.
HAN_LETTERS, HANGUL_LETTERS, KANA_LETTERS, DIGIT_LETTERS = 3.0, 3.0, 2.0, 4.0

MIN_PAUSE_S = 0.150
BLIP_S = 0.080  # shorter sounds are clicks and lip noise; a pause goes on across them
CERTAIN = 0.97  # of which pause belongs to which mark, see `_certainty`; a wrong cut is worse than a refusal
PACE_VARIANCE_S = 0.0625  # speech strays from the text's even pace by 0.25 s in 1 s, by 0.5 s in 4 s
EDGE_VARIANCE_S2 = 0.02  # a pause and the place of its mark are known to 0.14 s
STOP_PAUSED, MARK_PAUSED = 0.95, 0.6  # how often a full stop, and another mark, is heard as a pause
BREATHS_PER_S = 0.12  # pauses without a mark, in a second of speech
MAX_PAUSES, MAX_BREAKS = 24, 40  # as many as are looked at: half a minute of speech
MIN_CUT_S = 3.0  # of speech; shorter clips make poor voices: better to ask for another recording

CLIPPED, MAX_CLIPPED_SHARE = 0.999, 0.001
GOOD_SAMPLE_RATE = 16_000
GOOD_CLIP_S = 3.0
MIN_BACKGROUND_S, GOOD_BACKGROUND_DB = 0.2, 20.0
MAX_SILENT_SHARE = 0.35

_CLOSING = "\"'”’»)]}」』）》〉"
_FULL_STOPS = ".!?…।؟۔"
_CJK_FULL_STOPS = "。！？｡"  # upstream adds a space after one-byte characters only
_BREAK = re.compile(
    rf"[{re.escape(_FULL_STOPS)},;:]+[{re.escape(_CLOSING)}]*(?=\s)"  # not within 3.5 or 10:30
    rf"|[{_CJK_FULL_STOPS}，、；：]+[{re.escape(_CLOSING)}]*"
    r"|\s-+(?=\s)|[—–]+"
)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile(r"[\u3040-\u30ff\uff66-\uff9f]")
_HANGUL = re.compile(r"[\u1100-\u11ff\uac00-\ud7af]")


Floats: TypeAlias = NDArray[np.float64]


class _Break(NamedTuple):
    """A place in a text: characters before it, their share of all letters, and if a sentence ends there."""

    end: int
    share: float
    stop: bool


@dataclass(frozen=True, eq=False)
class Reference:
    """What the model clones: `samples` and exactly the words in them.

    Attributes:
        transcript: ends in sentence punctuation and, unless that is Chinese or Japanese, a space.
        source_s: length of the recording as sent, in seconds.
        warnings: what makes this clip a poor one, in words for the caller.
    """

    samples: Samples
    transcript: str
    source_s: float
    warnings: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @cached_property
    def key(self) -> str:
        """Equal for equal samples and transcript, in every process."""
        return hashlib.sha256(self.samples.tobytes() + self.transcript.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Clip:
    """A part of a recording, `begin` to `end` in samples, with the regions of speech in it and its words."""

    recording: Samples
    begin: int
    end: int
    regions: list[tuple[int, int]]
    text: str

    @property
    def speech_s(self) -> float:
        return sum(end - begin for begin, end in self.regions) / SAMPLE_RATE

    @property
    def finished_s(self) -> float:
        return (self.end - self.begin) / SAMPLE_RATE + TAIL_S


def prepare(data: bytes, transcript: str, settings: Settings) -> Reference:
    """Make a reference of a recording (a file's bytes) and the words spoken in it.

    A recording longer than `settings.reference_max_s` is cut at a pause, and its transcript at the
    punctuation that belongs to this pause. Where none can be told with confidence, it is refused: a
    transcript that says more than its clip makes the model speak garbled and far too fast.

    Raises:
        InvalidInput: the transcript says nothing.
        ReferenceProblem: one of its kinds, with what was measured.
    """
    text = finish_transcript(transcript)
    audio = decode(data, max_bytes=settings.reference_max_bytes, max_s=settings.reference_decode_max_s)
    clip = _find_speech(to_model_rate(audio), text)
    _check_rate(clip)
    notes: list[str] = []
    if clip.finished_s > settings.reference_max_s:
        whole, clip = clip, _cut(clip, settings.reference_max_s)
        _check_rate(clip)
        notes.append(
            f"the recording has {whole.finished_s:.1f} s; its first {clip.finished_s:.1f} s and the first "
            f"{len(clip.text.strip())} of {len(text.strip())} characters of its transcript are used"
        )
    samples = _finish(clip)
    return Reference(samples, clip.text, audio.duration_s, (*notes, *_warnings(audio, clip)))


def finish_transcript(transcript: str) -> str:
    """The transcript in one line, ending as the model needs it: in a full stop and a space, or in `。`.

    Without it the end of the reference leaks into the speech (F5-TTS #133, #157).
    """
    text = " ".join(transcript.split())
    if not any(map(_letters, text)):
        raise InvalidInput("transcript is empty or has no letters; send exactly the words spoken in the clip")
    while not _may_end(text[-1]):
        text = text[:-1]
    last = text.rstrip(_CLOSING)[-1]
    if last in _CJK_FULL_STOPS:
        return text
    if last in _FULL_STOPS:
        return text + " "
    return text + ("。" if _HAN.match(text[-1]) or _KANA.match(text[-1]) else ". ")


def _may_end(char: str) -> bool:
    """Letters, marks, symbols, full stops and closing quotes; commas and dashes give way to a full stop."""
    return unicodedata.category(char)[0] in "LNMS" or char in _CLOSING + _FULL_STOPS + _CJK_FULL_STOPS


def spoken_letters(text: str) -> float:
    """How much speech a text is, in Latin letters; spaces and punctuation are none."""
    return sum(map(_letters, text))


def _letters(char: str) -> float:
    if _HAN.match(char):
        return HAN_LETTERS
    if _HANGUL.match(char):
        return HANGUL_LETTERS
    if _KANA.match(char):
        return KANA_LETTERS
    kind = unicodedata.category(char)
    return DIGIT_LETTERS if kind[0] == "N" else float(kind[0] == "L" or kind == "Mc")  # Mc: Indic vowels


def _find_speech(recording: Samples, text: str) -> _Clip:
    """The recording without its silent edges."""
    level_db = loud_db(recording)
    regions = [(begin, end) for begin, end in speech_regions(recording) if end - begin >= BLIP_S * SAMPLE_RATE]
    if level_db < MIN_LOUD_DB or not regions:
        raise ReferenceSilent(
            f"the recording is silent: its loudest parts are at {level_db:.1f} dBFS, at least "
            f"{MIN_LOUD_DB:g} is needed; record it closer to the microphone"
        )
    soft = speech_regions(recording, softest_db=SOFT_DB)
    begin = max(soft[0][0], regions[0][0] - round(SOFT_LEAD_S * SAMPLE_RATE)) - round(LEAD_S * SAMPLE_RATE)
    end = min(soft[-1][1], regions[-1][1] + round(SOFT_TAIL_S * SAMPLE_RATE))
    clip = _Clip(recording, max(0, begin), end, regions, text)
    if clip.speech_s < MIN_SPEECH_S:
        raise ReferenceTooShort(
            f"the recording has {clip.speech_s:.2f} s of speech, at least {MIN_SPEECH_S:g} s is needed; "
            "send a clip of 5 to 12 s"
        )
    return clip


def _check_rate(clip: _Clip) -> None:
    rate = spoken_letters(clip.text) / clip.speech_s
    if not MIN_CHARS_PER_S <= rate <= MAX_CHARS_PER_S:
        raise TranscriptMismatch(
            f"the transcript has {len(clip.text.strip())} characters for {clip.speech_s:.1f} s of speech, "
            f"which is {rate:.1f} letters a second where people speak {MIN_CHARS_PER_S:g} to "
            f"{MAX_CHARS_PER_S:g}; send exactly the words spoken in this clip"
        )


def _cut(clip: _Clip, max_s: float) -> _Clip:
    """The longest beginning of at most `max_s` that ends at a pause whose place in the text is certain."""
    pauses = [
        index
        for index, (before, after) in enumerate(zip(clip.regions, clip.regions[1:], strict=False), start=1)
        if after[0] - before[1] >= MIN_PAUSE_S * SAMPLE_RATE
    ]
    breaks = _breaks(clip.text)
    lengths_s = np.cumsum([end - begin for begin, end in clip.regions]) / SAMPLE_RATE
    certainty = _certainty(
        np.array([lengths_s[index - 1] for index in pauses[:MAX_PAUSES]]),
        np.array([mark.share * clip.speech_s for mark in breaks[:MAX_BREAKS]]),
        np.array([STOP_PAUSED if mark.stop else MARK_PAUSED for mark in breaks[:MAX_BREAKS]]),
        clip.speech_s,
    )
    for row, column in reversed(np.argwhere(certainty >= CERTAIN)):
        regions, text = clip.regions[: pauses[row]], clip.text[: breaks[column].end]
        part = _Clip(clip.recording, clip.begin, regions[-1][1], regions, text)
        if part.finished_s <= max_s and part.speech_s >= MIN_CUT_S:
            return replace(part, text=finish_transcript(text))
    raise ReferenceTooLong(
        f"the recording has {clip.finished_s:.1f} s, at most {max_s:g} s is used "
        f"({variable('reference_max_s')}), and none of its {len(pauses)} pauses could be matched with "
        f"certainty to one of the {len(breaks)} breaks in its transcript; send a clip of 5 to 12 s with "
        "exactly its words"
    )


def _breaks(text: str) -> list[_Break]:
    """The places in the text at which a speaker may pause; marks with no letter between them are one."""
    letters = np.cumsum([_letters(char) for char in text])
    found: list[_Break] = []
    for mark in _BREAK.finditer(text):
        share = float(letters[mark.end() - 1] / letters[-1])
        stop = mark.group()[0] in _FULL_STOPS + _CJK_FULL_STOPS
        if found and found[-1].share == share:
            stop |= found.pop().stop
        if 0.0 < share < 1.0:
            found.append(_Break(mark.end(), share, stop))
    return found


def _certainty(pause_s: Floats, break_s: Floats, paused: Floats, total_s: float) -> Floats:
    """How certainly each pause belongs to each break: `[pauses, breaks]`, probabilities.

    Both are matched in order. Between two matches speech and text take the same time but for the speaker's
    straying; breaks may be spoken without a pause, and pauses may be breaths. The certainty of a match is the
    weight of all ways that use it among all ways (forward-backward algorithm), so it is low where another
    match explains the recording about as well. Pairing by distance alone is wrong far more often.

    Args:
        pause_s: speech heard before each pause, in seconds.
        break_s: speech that an even pace puts before each break, in seconds.
        paused: probability that each break is heard as a pause.
        total_s: speech in the whole recording.
    """
    x = np.concatenate(([0.0], pause_s, [total_s]))
    y = np.concatenate(([0.0], break_s, [total_s]))
    chance = np.concatenate(([1.0], paused, [1.0]))
    before = _ways(x, y, chance)
    after = _ways(total_s - x[::-1], total_s - y[::-1], chance[::-1])[::-1, ::-1]
    return np.asarray(np.exp(before + after - np.log(chance) - before[-1, -1])[1:-1, 1:-1])


def _ways(x: Floats, y: Floats, chance: Floats) -> Floats:
    """Log weight of all ways from the first match, `(0, 0)`, to each other; the last pause matches the last."""
    unheard = np.cumsum(np.log(np.where(chance < 1.0, 1.0 - chance, 1.0)))
    weight = np.full((len(x), len(y)), -np.inf)
    weight[0, 0] = 0.0
    for i in range(1, len(x)):
        for j in range(1, len(y)):
            if (i == len(x) - 1) != (j == len(y) - 1):
                continue
            heard_s, read_s = (x[i] - x[:i])[:, None], y[j] - y[:j]
            variance = PACE_VARIANCE_S * read_s + EDGE_VARIANCE_S2
            steps = weight[:i, :j] - 0.5 * ((heard_s - read_s) ** 2 / variance + np.log(2 * np.pi * variance))
            steps += np.log(BREATHS_PER_S) * np.arange(i - 1, -1, -1)[:, None] + unheard[j - 1] - unheard[:j]
            weight[i, j] = np.logaddexp.reduce(steps, axis=None) + np.log(chance[j])
    return weight


def _finish(clip: _Clip) -> Samples:
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


def _warnings(audio: Audio, clip: _Clip) -> list[str]:
    """What the caller could do better next time."""
    found: list[str] = []
    clipped = float(np.mean(np.abs(audio.samples) >= CLIPPED))
    if clipped > MAX_CLIPPED_SHARE:
        found.append(f"{clipped:.1%} of the recording is clipped; record it at a lower level")
    if audio.sample_rate < GOOD_SAMPLE_RATE:
        found.append(f"the recording has {audio.sample_rate} Hz; send {GOOD_SAMPLE_RATE} Hz or more")
    if clip.finished_s < GOOD_CLIP_S:
        found.append(f"the clip has {clip.finished_s:.1f} s; a voice is copied better from 5 to 12 s")
    gap_db = _level_over_background(clip)
    if gap_db is not None and gap_db < GOOD_BACKGROUND_DB:
        found.append(f"the background is only {gap_db:.0f} dB below the speech and may be heard in the result")
    silent = 1.0 - clip.speech_s / clip.finished_s
    if silent > MAX_SILENT_SHARE:
        found.append(f"{silent:.0%} of the clip is silence, so the result may speak slowly")
    return found


def _level_over_background(clip: _Clip) -> float | None:
    """How far the pauses lie below the speech, in dB; None if there are hardly any."""
    pauses = [
        clip.recording[before[1] : after[0]] for before, after in zip(clip.regions, clip.regions[1:], strict=False)
    ]
    if sum(map(len, pauses)) < MIN_BACKGROUND_S * SAMPLE_RATE:
        return None
    speech = [clip.recording[begin:end] for begin, end in clip.regions]
    return rms_db(np.concatenate(speech)) - rms_db(np.concatenate(pauses))
