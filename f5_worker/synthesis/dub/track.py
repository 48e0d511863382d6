"""Subtitles to a dubbed track: every line starts at its time and is fitted to it.

Without a policy (`fit`) a line is spoken at the speed that fills its cue, within the speeds that the caller allows, and
one that is too long even so runs beyond it; where it overlaps the next line, both are heard and that is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from f5_worker.alignment.align import Aligner
from f5_worker.alignment.timeline import SpeakerTurn
from f5_worker.audio.join import fade_edges
from f5_worker.audio.levels import SAMPLE_RATE, sound_span
from f5_worker.engine.types import SegmentAudio
from f5_worker.models.registry import Model
from f5_worker.schema.dub import DubInput
from f5_worker.schema.responses import LineResponse
from f5_worker.synthesis.assemble import AudioPart, assemble
from f5_worker.synthesis.dub.cues import read_cues, select_spoken, with_speakers
from f5_worker.synthesis.dub.mix import level_speakers, mix_track, track_length
from f5_worker.synthesis.dub.plan import Line, plan_lines
from f5_worker.synthesis.dub.report import add_verified, line_warnings, report_lines, report_speakers
from f5_worker.synthesis.dub.source import cut_voices, read_source_cues, source_lufs
from f5_worker.synthesis.dub.voices import assign_voices
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import SamplingParams
from f5_worker.synthesis.prepare import AudioParts, Speech, aligner_for, sampling_params, voice_for
from f5_worker.synthesis.takes import CheckedSegment, Takes, takes_for

LEAD_S = 0.010  # silence that stays before the first word of a line; what is heard then begins 10 to 20 ms later


@contextmanager
def prepare_track(job: Job, request: DubInput, *, early: bool) -> Iterator[Speech]:
    """Prepare a dubbed track; the model stays loaded until the end of the block.

    Args:
        early: not used, since lines may overlap: the track is one part.

    Raises:
        WorkerError: any that a caller can cause before the device begins.
    """
    settings, source = job.worker.settings, request.source
    source_cues = [] if source is None else read_source_cues(source, settings)
    all_cues = with_speakers(read_cues(request.subtitles, settings, request.track_s), source_cues)
    until_s = max(cue.end_s for cue in all_cues)
    cues, silence = select_spoken(all_cues, request.non_speech)
    job.control.enter("preparing the voices")
    with job.stopwatch.stage("reference_ms"):
        speakers = {cue.speaker for cue in cues} - (set() if request.loudness else request.voices.keys())
        found = None if source is None else cut_voices(source, source_cues, speakers, job.worker)
        voices = assign_voices(request, cues, partial(voice_for, job), all_cues, found)
    first = voices.of(cues[0].speaker)
    text = "\n".join(cue.text for cue in cues)
    job.control.enter("preparing the text")
    with job.worker.models.use(request.model or first.defaults.model) as model:
        params = sampling_params(job, text, first, model)
        with job.stopwatch.stage("text_ms"):
            lines = plan_lines(job, request, cues, voices, model, params)
            n_samples = track_length(lines, request.track_s, until_s, settings.max_audio_s)
        warnings = [*voices.warnings, *silence, *line_warnings(lines)]
        takes = takes_for(job, params, model, warnings, unit="cue", keeps_length=True)
        target_lufs = source_lufs(found) if found and request.loudness else {}
        track = _Track(lines, n_samples, model, params, takes, target_lufs, report_lines(lines), warnings)
        yield Speech(
            text=text,
            parts=_speak(job, request, track),
            duration_s=request.track_s or max(until_s, *(line.fitted.end_s for line in lines)),
            device_s=job.worker.engine.seconds_for(model, sum(line.plan.work for line in lines)),
            params=params,
            model=model.name,
            warnings=warnings,
            turns=[SpeakerTurn(line.begin, line.cue.speaker) for line in lines],
            lines=track.reports,
            speakers=report_speakers(voices, cues) if source is not None else (),
        )


@dataclass(frozen=True, eq=False)
class _Track:
    """The lines of a track, its length at 24 kHz, and what speaks, checks and levels them."""

    lines: Sequence[Line]
    n_samples: int
    model: Model
    params: SamplingParams
    takes: Takes | None
    target_lufs: Mapping[str | None, float]
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
    if request.fit is not None or request.source is not None:
        spoken = list(map(_start_at_once, spoken))
    samples = level_speakers(lines, [part.samples for part in spoken], track.target_lufs)
    yield AudioPart(
        mix_track(lines, samples, track.n_samples),
        tuple(line.place(segment) for line, part in zip(lines, spoken, strict=True) for segment in part.segments),
        tuple(audio for part in spoken for audio in part.spoken),
        tuple(samples) if request.cue_files else (),
    )


def _checked(lines: Sequence[Line]) -> list[CheckedSegment]:
    """Return the segments of all lines as they are checked: their seeds follow from the line's, which has the job's."""
    return [
        CheckedSegment(part, segment, line.cue.number, (line_index, index))
        for line_index, line in enumerate(lines)
        for index, (part, segment) in enumerate(zip(line.plan.parts, line.plan.segments, strict=True))
    ]


def _speak_line(line: Line, audio: Iterator[SegmentAudio], aligner: Aligner | None) -> AudioPart:
    """Return a line's audio."""
    own = islice(audio, len(line.plan.segments))
    parts = list(assemble(line.plan, own, cross_fade_s=0.0, n_samples=line.n_samples, aligner=aligner))
    return AudioPart(
        np.concatenate([part.samples for part in parts]),
        tuple(segment for part in parts for segment in part.segments),
        tuple(spoken for part in parts for spoken in part.spoken),
    )


def _start_at_once(part: AudioPart) -> AudioPart:
    """Return a line without the silence before its first word, which the model may make; its length stays."""
    begin = sound_span(part.samples, LEAD_S)[0]
    if not begin:
        return part
    samples = np.pad(fade_edges(part.samples[begin:]), (0, begin))
    shift_s = begin / SAMPLE_RATE
    segments = (replace(item, start_s=item.start_s - shift_s, end_s=item.end_s - shift_s) for item in part.segments)
    return replace(part, samples=samples, segments=tuple(segments))
