"""The plan of each line: when it is spoken, how fast, and in which segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from f5_worker.alignment.build import AlignedSegment
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.models.registry import Model
from f5_worker.schema.dub import DubInput
from f5_worker.settings import Settings
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import Plan, SamplingParams, VoicedPassage, check_chars, make_plan
from f5_worker.synthesis.prepare import reading_options
from f5_worker.text.normalize import ensure_speakable
from f5_worker.text.seed import segment_seed
from f5_worker.voices.info import LoadedVoice

if TYPE_CHECKING:
    from f5_worker.text.reading import ReadingOptions
    from f5_worker.transcripts.cues import Cue


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
