"""Subtitles to a dubbed track: every line starts at its time and is fitted to its slot.

A line is spoken at the speed that fills its slot, within the speeds that the caller allows. A line that is too long
even so runs beyond its slot; where it overlaps the next line, both are heard and the overlap is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from f5_worker.alignment.align import Aligner
from f5_worker.alignment.build import AlignedSegment
from f5_worker.alignment.timeline import SpeakerTurn
from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.engine.types import SegmentAudio
from f5_worker.errors import InvalidInput, SubtitlesUnreadable, TextTooLong, TextUnspeakable
from f5_worker.models.registry import Model
from f5_worker.schema.requests import DubInput
from f5_worker.schema.responses import LineResponse
from f5_worker.settings import Settings
from f5_worker.synthesis.assemble import AudioPart, assemble
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import Plan, SamplingParams, VoicedPassage, check_chars, make_plan
from f5_worker.synthesis.prepare import (
    AudioParts,
    Speech,
    aligner_for,
    reading_options,
    reference_warnings,
    sampling_params,
    voice_for,
)
from f5_worker.text.normalize import ensure_speakable
from f5_worker.text.seed import segment_seed
from f5_worker.voices.info import LoadedVoice

if TYPE_CHECKING:
    from f5_worker.text.reading import ReadingOptions
    from f5_worker.transcripts.cues import Cue

MAX_LINES = 2_000
MAX_NUMBERS = 10  # of cues in a warning
PEAK = 0.99


@dataclass(frozen=True)
class Line:
    """One cue with its plan: spoken at `speed` for `duration_s`, from `cue.start_s` on.

    Attributes:
        begin: where its text begins in the text of all lines.
        room_s: time until the next line starts; None for the last line.
    """

    cue: Cue
    plan: Plan
    begin: int
    speed: float
    duration_s: float
    room_s: float | None

    @property
    def n_samples(self) -> int:
        """Return the length of its audio at 24 kHz."""
        return round(self.duration_s * SAMPLE_RATE)

    @property
    def end_s(self) -> float:
        """Return when it has been spoken, in the track."""
        return self.cue.start_s + self.duration_s

    @property
    def overlap_s(self) -> float:
        """Return for how long it overlaps the next line."""
        return 0.0 if self.room_s is None else max(0.0, self.duration_s - self.room_s)

    def place(self, segment: AlignedSegment) -> AlignedSegment:
        """Return one of its segments with the times of the track and the places in the text of all lines."""
        origins = tuple((begin + self.begin, end + self.begin) for begin, end in segment.origins)
        start_s, end_s = self.cue.start_s + segment.start_s, self.cue.start_s + segment.end_s
        return replace(segment, origins=origins, start_s=start_s, end_s=end_s)


@contextmanager
def prepare_track(job: Job, request: DubInput, *, early: bool) -> Iterator[Speech]:
    """Prepare a dubbed track; the model stays loaded until the end of the block.

    Args:
        early: not used, since lines may overlap: the track is one part.

    Raises:
        WorkerError: any that a caller can cause before the device begins.
    """
    settings = job.worker.settings
    all_cues = read_cues(request.subtitles, settings, request.track_s)
    until_s = max(cue.end_s for cue in all_cues)
    cues, silence = select_spoken(all_cues, request.non_speech)
    job.control.enter("preparing the voices")
    with job.stopwatch.stage("reference_ms"):
        voices = assign_voices(request, cues, lambda name: voice_for(job, name), all_cues)
    first = voices.get(cues[0].speaker) or voices[None]
    text = "\n".join(cue.text for cue in cues)
    job.control.enter("preparing the text")
    with job.worker.models.use(request.model or first.defaults.model) as model:
        params = sampling_params(job, text, first, model)
        with job.stopwatch.stage("text_ms"):
            lines = plan_lines(job, request, cues, voices, model, params)
        yield Speech(
            text=text,
            parts=_speak(job, request, lines, model, params.language, until_s),
            duration_s=request.track_s or max(until_s, *(line.end_s for line in lines)),
            params=params,
            model=model.name,
            warnings=[*reference_warnings(request, first.reference), *silence, *_warnings(lines)],
            turns=[SpeakerTurn(line.begin, line.cue.speaker) for line in lines],
            lines=_report(lines),
        )


def read_cues(subtitles: str, settings: Settings, track_s: float | None = None) -> list[Cue]:
    """Return the lines in order of their start.

    Args:
        track_s: the length of the track that is asked for.

    Raises:
        SubtitlesUnreadable: text without times, or too many lines. TextTooLong: more text or time than allowed.
    """
    from f5_worker.transcripts.parse import parse_transcript  # compiles 20 ms of patterns

    if track_s is not None and track_s > settings.max_audio_s:
        raise TextTooLong(f"track_s={track_s:g} is more than {settings.max_audio_s:.0f} s (F5_MAX_AUDIO_S); lower it")
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


def select_spoken(cues: Sequence[Cue], non_speech: Literal["skip", "speak"]) -> tuple[list[Cue], list[str]]:
    """Return the cues that have words, without sounds and music unless these are to be spoken, and warnings.

    The others are silence; the warnings name them.

    Raises:
        TextUnspeakable: no cue has words.
    """
    from f5_worker.transcripts.non_speech import is_speakable, spoken_words

    spoken: list[Cue] = []
    sounds, wordless = list[int](), list[int]()
    for cue in cues:
        words = spoken_words(cue.text) if non_speech == "skip" else cue.text
        if is_speakable(words):
            spoken.append(replace(cue, text=words))
        else:
            (sounds if is_speakable(cue.text) else wordless).append(cue.number)
    hint = 'send non_speech: "speak" to have them spoken'
    if not spoken:
        only = f"only sounds and music; {hint}" if sounds else "only signs; send words"
        raise TextUnspeakable(f"none of the {len(cues)} cues has words that are spoken, they have {only}")
    warnings = [f"{_name_cues(wordless)} no letter and no digit: silent"] if wordless else []
    return spoken, [*warnings, f"{_name_cues(sounds)} sounds or music only: silent; {hint}"] if sounds else warnings


def _name_cues(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:MAX_NUMBERS]))
    more = f" and {len(numbers) - MAX_NUMBERS} more" if len(numbers) > MAX_NUMBERS else ""
    return f"cue {shown} has" if len(numbers) == 1 else f"cues {shown}{more} have"


def assign_voices(
    job: DubInput,
    cues: Sequence[Cue],
    load_voice: Callable[[str | None], LoadedVoice],
    all_cues: Sequence[Cue] = (),
) -> dict[str | None, LoadedVoice]:
    """Return the voice of each speaker, and under None the voice of all others.

    Args:
        load_voice: returns the voice of a name; None stands for the job's own.
        all_cues: with those that are silent, whose speakers need no voice.

    Raises:
        InvalidInput: `voices` names a speaker that no line has.
    """
    speakers = {cue.speaker for cue in cues}
    named = speakers | {cue.speaker for cue in all_cues}
    unknown = [speaker for speaker in job.voices if speaker not in named]
    if unknown:
        known = ", ".join(sorted(filter(None, named))) or "none"
        raise InvalidInput(f"voices names the speaker {unknown[0][:40]!r}, which no line has; the lines have {known}")
    voices: dict[str | None, LoadedVoice] = {speaker: load_voice(name) for speaker, name in job.voices.items()}
    if speakers - voices.keys():
        voices[None] = load_voice(None)
    return voices


def plan_lines(
    job: Job,
    request: DubInput,
    cues: Sequence[Cue],
    voices: Mapping[str | None, LoadedVoice],
    model: Model,
    params: SamplingParams,
) -> list[Line]:
    """Return how each line is spoken. `voices`: as from `assign_voices`."""
    settings = job.worker.settings
    lines, begin = [], 0
    for index, cue in enumerate(cues):
        voice = voices[cue.speaker if cue.speaker in voices else None]
        passage = _passage(cue, voice, reading_options(job, voice, params, model), settings)
        slot_s = cue.end_s - cue.start_s
        speed = request.max_speed
        if slot_s > 0:
            speed = min(max(passage.natural_s / slot_s, request.min_speed), request.max_speed)
        own = replace(params, seed=segment_seed(params.seed, index))
        plan = make_plan([replace(passage, speed=speed)], model.vocabulary, own, settings)
        room_s = cues[index + 1].start_s - cue.start_s if index + 1 < len(cues) else None
        lines.append(Line(cue, plan, begin, speed, passage.natural_s / speed, room_s))
        begin += len(cue.text) + 1
    return lines


def _passage(cue: Cue, voice: LoadedVoice, options: ReadingOptions, settings: Settings) -> VoicedPassage:
    """Return a line as it is spoken.

    Raises:
        TextTooLong: more characters than allowed. TextUnspeakable: no letter and no digit.
    """
    from f5_worker.text.reading import read_line  # compiles 20 ms of patterns

    check_chars(cue.text, settings)
    spoken = read_line(cue.text, options)
    ensure_speakable(spoken.text.text, len(cue.text))
    return VoicedPassage(spoken, voice.reference)


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


def _speak(
    job: Job, request: DubInput, lines: Sequence[Line], model: Model, language: str, until_s: float
) -> AudioParts:
    segments = [segment for line in lines for segment in line.plan.segments]
    audio = job.worker.engine.submit(segments, job.control, runner=model)
    aligner = aligner_for(job, language)
    spoken = [_speak_line(line, audio, aligner) for line in lines]
    yield AudioPart(
        mix_track(lines, [part.samples for part in spoken], request.track_s, until_s),
        tuple(segment for part in spoken for segment in part.segments),
        tuple(audio for part in spoken for audio in part.spoken),
    )


def _speak_line(line: Line, audio: Iterator[SegmentAudio], aligner: Aligner | None) -> AudioPart:
    """Return a line's audio, and its segments in the track."""
    own = islice(audio, len(line.plan.segments))
    parts = list(assemble(line.plan, own, cross_fade_s=0.0, n_samples=line.n_samples, aligner=aligner))
    return AudioPart(
        np.concatenate([part.samples for part in parts]),
        tuple(line.place(segment) for part in parts for segment in part.segments),
        tuple(spoken for part in parts for spoken in part.spoken),
    )


def _report(lines: Sequence[Line]) -> list[LineResponse]:
    return [
        LineResponse(
            index=index,
            speaker=line.cue.speaker,
            text=line.cue.text,
            slot_start_s=line.cue.start_s,
            slot_end_s=line.cue.end_s,
            start_s=line.cue.start_s,
            end_s=round(line.end_s, 6),
            speed=round(line.speed, 4),
            overlap_s=round(line.overlap_s, 3),
        )
        for index, line in enumerate(lines)
    ]


def _warnings(lines: Sequence[Line]) -> list[str]:
    """Return the overlaps, and the warnings of the lines' texts, each once."""
    return [*_overlaps(lines), *dict.fromkeys(warning for line in lines for warning in line.plan.warnings)]


def _overlaps(lines: Sequence[Line]) -> list[str]:
    overlapping = [line for line in lines if line.overlap_s > 0]
    if not overlapping:
        return []
    worst = max(overlapping, key=lambda line: line.overlap_s)
    return [
        f"{len(overlapping)} lines run into the next one, line {worst.cue.number} by {worst.overlap_s:.2f} s; "
        "shorten them, move them, or raise max_speed"
    ]
