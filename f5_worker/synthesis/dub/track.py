"""Subtitles to a dubbed track: every line starts at its time and is fitted to its slot.

A line is spoken at the speed that fills its slot, within the speeds that the caller allows. A line that is too long
even so runs beyond its slot; where it overlaps the next line, both are heard and the overlap is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np

from f5_worker.alignment.align import Aligner
from f5_worker.alignment.timeline import SpeakerTurn
from f5_worker.engine.types import SegmentAudio
from f5_worker.models.registry import Model
from f5_worker.schema.dub import DubInput
from f5_worker.schema.responses import LineResponse
from f5_worker.synthesis.assemble import AudioPart, assemble
from f5_worker.synthesis.dub.cues import read_cues, select_spoken
from f5_worker.synthesis.dub.mix import mix_track
from f5_worker.synthesis.dub.plan import Line, plan_lines
from f5_worker.synthesis.dub.report import add_verified, line_warnings, report_lines
from f5_worker.synthesis.dub.voices import assign_voices
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import SamplingParams
from f5_worker.synthesis.prepare import (
    AudioParts,
    Speech,
    aligner_for,
    reference_warnings,
    sampling_params,
    voice_for,
)
from f5_worker.synthesis.takes import CheckedSegment, Takes, takes_for


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
        warnings = [*reference_warnings(request, first.reference), *silence, *line_warnings(lines)]
        takes = takes_for(job, params, model, warnings, unit="cue", keeps_length=True)
        track = _Track(lines, until_s, model, params, takes, report_lines(lines), warnings)
        yield Speech(
            text=text,
            parts=_speak(job, request, track),
            duration_s=request.track_s or max(until_s, *(line.end_s for line in lines)),
            device_s=job.worker.engine.speed.seconds_for(model, sum(line.plan.work for line in lines)),
            params=params,
            model=model.name,
            warnings=warnings,
            turns=[SpeakerTurn(line.begin, line.cue.speaker) for line in lines],
            lines=track.reports,
        )


@dataclass(frozen=True, eq=False)
class _Track:
    """The lines of a track, and what speaks and checks them. until_s: when the last cue ends."""

    lines: Sequence[Line]
    until_s: float
    model: Model
    params: SamplingParams
    takes: Takes | None
    reports: list[LineResponse]
    warnings: list[str]


def _speak(job: Job, request: DubInput, track: _Track) -> AudioParts:
    lines, takes = track.lines, track.takes
    segments = [segment for line in lines for segment in line.plan.segments]
    audio = job.worker.engine.submit(segments, job.control, runner=track.model)
    if takes is not None:
        audio = takes.choose(audio, _checked(lines), in_order=False)
    aligner = aligner_for(job, track.params.language)
    spoken = [_speak_line(line, audio, aligner) for line in lines]
    if takes is not None:
        track.reports[:] = add_verified(track.reports, lines, takes.kept)
        track.warnings.extend(takes.warnings())
    yield AudioPart(
        mix_track(lines, [part.samples for part in spoken], request.track_s, track.until_s),
        tuple(segment for part in spoken for segment in part.segments),
        tuple(audio for part in spoken for audio in part.spoken),
    )


def _checked(lines: Sequence[Line]) -> list[CheckedSegment]:
    """Return the segments of all lines as they are checked: their seeds follow from the line's, which has the job's."""
    return [
        CheckedSegment(part, segment, line.cue.number, (line_index, index))
        for line_index, line in enumerate(lines)
        for index, (part, segment) in enumerate(zip(line.plan.parts, line.plan.segments, strict=True))
    ]


def _speak_line(line: Line, audio: Iterator[SegmentAudio], aligner: Aligner | None) -> AudioPart:
    """Return a line's audio, and its segments in the track."""
    own = islice(audio, len(line.plan.segments))
    parts = list(assemble(line.plan, own, cross_fade_s=0.0, n_samples=line.n_samples, aligner=aligner))
    return AudioPart(
        np.concatenate([part.samples for part in parts]),
        tuple(line.place(segment) for part in parts for segment in part.segments),
        tuple(spoken for part in parts for spoken in part.spoken),
    )
