"""The plan of each line: when it is spoken, how fast, and in which segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from f5_worker.alignment.build import AlignedSegment
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.models.registry import Model
from f5_worker.schema.dub import DubInput
from f5_worker.settings import Settings
from f5_worker.synthesis.dub.fit import FittedLine, fill_slots, fit_lines
from f5_worker.synthesis.dub.voices import AssignedVoices
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
    """One cue with its plan, and when and how fast it is spoken.

    Attributes:
        begin: where its text begins in the text of all lines.
    """

    cue: Cue
    plan: Plan
    begin: int
    fitted: FittedLine

    @property
    def first_sample(self) -> int:
        """Return where in the track its audio begins."""
        return round(self.fitted.start_s * SAMPLE_RATE)

    @property
    def n_samples(self) -> int:
        """Return the length of its audio at 24 kHz."""
        return round(self.fitted.duration_s * SAMPLE_RATE)

    def place(self, segment: AlignedSegment) -> AlignedSegment:
        """Return one of its segments with the times of the track and the places in the text of all lines."""
        origins = tuple((begin + self.begin, end + self.begin) for begin, end in segment.origins)
        start_s, end_s = self.fitted.start_s + segment.start_s, self.fitted.start_s + segment.end_s
        return replace(segment, origins=origins, start_s=start_s, end_s=end_s)


def plan_lines(
    job: Job,
    request: DubInput,
    cues: Sequence[Cue],
    voices: AssignedVoices,
    model: Model,
    params: SamplingParams,
) -> list[Line]:
    """Return how each line is spoken.

    Raises:
        LinesTooLong: they do not fit, and the request wants that to fail.
        TextTooLong, TextUnspeakable, InvalidInput: see `make_plan`.
    """
    settings = job.worker.settings
    passages = []
    for cue in cues:
        voice = voices.of(cue.speaker)
        passages.append(_passage(cue, voice, reading_options(job, voice, params, model), settings))
    natural_s = [passage.natural_s for passage in passages]
    if request.fit is None:
        fitted = fill_slots(cues, natural_s, request.min_speed, request.max_speed)
    else:
        fitted = fit_lines(cues, natural_s, request.fit, min_speed=request.min_speed, track_s=request.track_s)
    lines, begin = [], 0
    for index, (cue, passage, line) in enumerate(zip(cues, passages, fitted, strict=True)):
        own = replace(params, seed=segment_seed(params.seed, index))
        plan = make_plan([replace(passage, speed=line.speed)], model.vocabulary, own, settings)
        lines.append(Line(cue, plan, begin, line))
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
