"""Subtitles to a dubbed track: every line starts at its time and is fitted to its slot.

A line is spoken at the pace that fills its slot, within the speeds that the caller allows. One that is too long
even so runs on beyond its slot; what it then shares with the next line is reported, and both are heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from f5_worker.alignment.build import AlignedSegment
from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.errors import InvalidInput, SubtitlesUnreadable, TextTooLong
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.schema.requests import DubInput
from f5_worker.schema.responses import LineResponse
from f5_worker.settings import Settings
from f5_worker.synthesis.plan import Plan, SamplingParams, make_plan, natural_s
from f5_worker.text.seed import segment_seed
from f5_worker.transcripts.parse import Cue, parse_transcript
from f5_worker.voices.info import TakenVoice

MAX_LINES = 2_000
PEAK = 0.99


@dataclass(frozen=True)
class Line:
    """One cue with its plan: spoken at `speed` for `duration_s`, from `cue.start_s` on.

    begin: where its text starts in the text of all lines. room_s: until the next line starts, None for the last.
    """

    cue: Cue
    plan: Plan
    begin: int
    speed: float
    duration_s: float
    room_s: float | None

    @property
    def n_samples(self) -> int:
        return round(self.duration_s * SAMPLE_RATE)

    @property
    def overlap_s(self) -> float:
        return 0.0 if self.room_s is None else max(0.0, self.duration_s - self.room_s)

    def placed(self, segment: AlignedSegment) -> AlignedSegment:
        """One of its segments where it lies in the track, and in the text of all lines."""
        origins = tuple((begin + self.begin, end + self.begin) for begin, end in segment.origins)
        start_s, end_s = self.cue.start_s + segment.start_s, self.cue.start_s + segment.end_s
        return replace(segment, origins=origins, start_s=start_s, end_s=end_s)


def read_cues(subtitles: str, settings: Settings) -> list[Cue]:
    """The lines in order of their start.

    Raises:
        SubtitlesUnreadable: no subtitles, or too many lines. TextTooLong: more text or time than allowed.
    """
    transcript = parse_transcript(subtitles)
    if not transcript.cues:
        raise SubtitlesUnreadable("subtitles holds no times; send SRT or VTT, or use synthesize for plain text")
    if len(transcript.cues) > MAX_LINES:
        raise SubtitlesUnreadable(f"subtitles has {len(transcript.cues)} lines, at most {MAX_LINES}; send it in parts")
    cues = sorted(transcript.cues, key=lambda cue: cue.start_s)
    if cues[-1].end_s > settings.max_audio_s:
        raise TextTooLong(
            f"the last line ends at {cues[-1].end_s:.0f} s, at most {settings.max_audio_s:.0f} s (F5_MAX_AUDIO_S); "
            "send it in parts, with times from 0"
        )
    return cues


def assign_voices(
    job: DubInput, cues: Sequence[Cue], take: Callable[[str | None], TakenVoice]
) -> dict[str | None, TakenVoice]:
    """Who speaks for each speaker; under None, who speaks for all others.

    Args:
        take: the voice of a name, None for the job's own.

    Raises:
        InvalidInput: `voices` names a speaker whom no line has.
    """
    speakers = {cue.speaker for cue in cues}
    strangers = [speaker for speaker in job.voices if speaker not in speakers]
    if strangers:
        known = ", ".join(sorted(filter(None, speakers))) or "none"
        raise InvalidInput(f"voices names a speaker {strangers[0][:40]!r} whom no line has; the lines have {known}")
    voices: dict[str | None, TakenVoice] = {speaker: take(name) for speaker, name in job.voices.items()}
    if speakers - voices.keys():
        voices[None] = take(None)
    return voices


def plan_lines(
    job: DubInput,
    cues: Sequence[Cue],
    voices: Mapping[str | None, TakenVoice],
    vocabulary: Vocabulary,
    params: SamplingParams,
    settings: Settings,
) -> list[Line]:
    """How each line is spoken. `voices`: as from `assign_voices`."""
    lines, begin = [], 0
    for index, cue in enumerate(cues):
        reference = voices[cue.speaker if cue.speaker in voices else None].reference
        slot_s = cue.end_s - cue.start_s
        natural = natural_s(cue.text, reference, params, settings)
        speed = min(max(natural / slot_s, job.min_speed), job.max_speed) if slot_s > 0 else job.max_speed
        own = replace(params, seed=segment_seed(params.seed, index))
        plan = make_plan(cue.text, reference, vocabulary, own, settings, speed=speed)
        room_s = cues[index + 1].start_s - cue.start_s if index + 1 < len(cues) else None
        lines.append(Line(cue, plan, begin, speed, natural / speed, room_s))
        begin += len(cue.text) + 1
    return lines


def text_of(cues: Sequence[Cue]) -> str:
    """The text of all lines, as the track's timeline has it."""
    return "\n".join(cue.text for cue in cues)


def mix_track(lines: Sequence[Line], sounds: Sequence[Samples], track_s: float | None) -> Samples:
    """The track: each line's sound at its time, added where they overlap; not shorter than the last slot's end.

    Raises:
        InvalidInput: the lines need more than `track_s`.
    """
    starts = [round(line.cue.start_s * SAMPLE_RATE) for line in lines]
    needed = max(start + len(sound) for start, sound in zip(starts, sounds, strict=True))
    slots = max(round(line.cue.end_s * SAMPLE_RATE) for line in lines)
    length = max(needed, slots) if track_s is None else round(track_s * SAMPLE_RATE)
    if needed > length:
        raise InvalidInput(
            f"track_s={track_s:g}: the lines end at {needed / SAMPLE_RATE:.2f} s; raise track_s or max_speed"
        )
    track = np.zeros(length, np.float32)
    for start, sound in zip(starts, sounds, strict=True):
        track[start : start + len(sound)] += sound
    return limit_peak(track, PEAK)


def report(lines: Sequence[Line]) -> list[LineResponse]:
    """What the caller is told of each line."""
    return [
        LineResponse(
            index=index,
            speaker=line.cue.speaker,
            text=line.cue.text,
            slot_start_s=line.cue.start_s,
            slot_end_s=line.cue.end_s,
            start_s=line.cue.start_s,
            end_s=round(line.cue.start_s + line.duration_s, 6),
            speed=round(line.speed, 4),
            overlap_s=round(line.overlap_s, 3),
        )
        for index, line in enumerate(lines)
    ]


def warnings(lines: Sequence[Line]) -> list[str]:
    """Overlaps, and what was said of the lines' texts, each once."""
    return [*_overlaps(lines), *dict.fromkeys(told for line in lines for told in line.plan.warnings)]


def _overlaps(lines: Sequence[Line]) -> list[str]:
    over = [(index, line) for index, line in enumerate(lines) if line.overlap_s > 0]
    if not over:
        return []
    index, worst = max(over, key=lambda pair: pair[1].overlap_s)
    return [
        f"{len(over)} lines run into the next one, line {index + 1} by {worst.overlap_s:.2f} s; "
        "shorten them, move them, or raise max_speed"
    ]
