"""The way of a job, from top to bottom.

input -> voice -> text -> segments -> engine -> join -> times -> shape -> encode -> delivery -> reply
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from f5_worker.alignment.align import Aligner
from f5_worker.alignment.build import AlignedSegment, build_timeline
from f5_worker.alignment.timeline import Timeline
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.engine.types import SegmentAudio
from f5_worker.schema.requests import DubInput, SynthesizeInput
from f5_worker.schema.responses import SpeechResponse
from f5_worker.synthesis import dub
from f5_worker.synthesis.assemble import assemble
from f5_worker.synthesis.prepare import Job, aligner_for, caller_warnings, sampling_params, session, voice_of
from f5_worker.synthesis.result import Rendered, reply_of, shaped
from f5_worker.transcripts.cues import Cue


def speak(job: Job) -> SpeechResponse:
    """Do one job that speaks, and give the whole result.

    Raises:
        WorkerError: any of errors.py that a caller can cause, or that the device does.
    """
    rendered = render(job)
    job.control.check()
    return reply_of(job, rendered)


def render(job: Job) -> Rendered:
    """Everything up to the sound, shaped as asked."""
    request = job.request
    rendered = render_track(job, request) if isinstance(request, DubInput) else render_text(job, request)
    with job.watch.stage("post_ms"):
        return shaped(request, rendered)


def render_text(job: Job, request: SynthesizeInput) -> Rendered:
    """A text in one voice."""
    with session(job, request) as ready:
        heard = list(ready.assemble())
        samples = np.concatenate([part.samples for part in heard])
        segments = [segment for part in heard for segment in part.segments]
        return Rendered(
            samples,
            ready.timeline(segments, len(samples)),
            [part.spoken for part in heard if part.spoken is not None],
            ready.params,
            ready.model.name,
            segments=segments,
            warnings=ready.warnings,
        )


def render_track(job: Job, request: DubInput) -> Rendered:
    """Subtitles, each line at its time."""
    settings = job.worker.settings
    cues = dub.read_cues(request.subtitles, settings)
    with job.watch.stage("reference_ms"):
        voices = dub.assign_voices(request, cues, lambda name: voice_of(request, name, job.worker))
    first = voices.get(cues[0].speaker) or voices[None]
    with job.worker.models.use(request.model or first.defaults.model) as model:
        params = sampling_params(job, dub.text_of(cues), first, model)
        with job.watch.stage("text_ms"):
            lines = dub.plan_lines(request, cues, voices, model.vocabulary, params, settings)
        parts = [part for line in lines for part in line.plan.segments]
        spoken: list[SegmentAudio] = []
        coming = _noted(job.worker.engine.submit(parts, job.control, runner=model), spoken)
        aligner = aligner_for(job, params.language)
        performed = [_line(line, coming, aligner) for line in lines]
    samples = dub.mix_track(lines, [sound for sound, _ in performed], request.track_s)
    return Rendered(
        samples,
        _track_timeline(job, cues, [segment for _, segments in performed for segment in segments], len(samples)),
        spoken,
        params,
        model.name,
        lines=lines,
        warnings=[*caller_warnings(request, first.reference), *dub.warnings(lines)],
    )


def _noted(items: Iterator[SegmentAudio], into: list[SegmentAudio]) -> Iterator[SegmentAudio]:
    for item in items:
        into.append(item)
        yield item


def _track_timeline(
    job: Job, cues: Sequence[Cue], segments: Sequence[AlignedSegment], n_samples: int
) -> Timeline | None:
    if not job.request.wants_times:
        return None
    with job.watch.stage("timing_ms"):
        return build_timeline(dub.text_of(cues), segments, n_samples / SAMPLE_RATE)


def _line(
    line: dub.Line, spoken: Iterator[SegmentAudio], aligner: Aligner | None
) -> tuple[Samples, list[AlignedSegment]]:
    """A line's sound, and its segments where they lie in the track and in the text of all lines."""
    own = islice(spoken, len(line.plan.segments))
    heard = list(assemble(line.plan, own, cross_fade_s=0.0, n_samples=line.n_samples, aligner=aligner))
    segments = [line.placed(segment) for part in heard for segment in part.segments]
    return np.concatenate([part.samples for part in heard]), segments
