"""A text in somebody's voice, ready to be spoken: reference, model and plan of one job."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from f5_worker.alignment.align import Aligned, Aligner, WhisperAligner
from f5_worker.alignment.build import AlignedSegment, build_timeline
from f5_worker.alignment.timeline import Timeline, shifted
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.cancellation import JobControl
from f5_worker.errors import InvalidInput
from f5_worker.models.registry import Model
from f5_worker.reference.prepare import Reference, prepare
from f5_worker.schema.requests import (
    MAX_SEED,
    MAX_SUBTITLE_CHARS,
    NFE_OF_QUALITY,
    ReferenceInput,
    SpeechRequest,
    SynthesizeInput,
)
from f5_worker.schema.sources import read_audio_source
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis.assemble import AudioPart, assemble
from f5_worker.synthesis.context import Stopwatch, Worker
from f5_worker.synthesis.plan import Plan, SamplingParams, make_plan, natural_s, speed_for
from f5_worker.text.scripts import language_by_script
from f5_worker.transcripts.parse import decode_transcript
from f5_worker.voices.info import TakenVoice, VoiceDefaults

DEFAULT_LANGUAGE = "en"
_ADDRESS = re.compile(r"\s*https?://\S+\s*")


@dataclass
class Job:
    """A request on its way, with what it needs of the worker.

    own_bucket: that the job brought. queued_s: how long it waited before it came here.
    """

    request: SpeechRequest
    worker: Worker
    control: JobControl
    job_id: str = "job"
    own_bucket: Bucket | None = None
    queued_s: float = 0.0
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def bucket(self) -> Bucket | None:
        """Where results may go, the job's own first."""
        return self.own_bucket or self.worker.bucket


@dataclass(frozen=True)
class Session:
    """One text to be spoken; `early`: somebody waits to hear its first segment."""

    job: Job
    request: SynthesizeInput
    voice: TakenVoice
    model: Model
    params: SamplingParams
    plan: Plan
    early: bool

    def assemble(self) -> Iterator[AudioPart]:
        """The text's sound, segment by segment."""
        request, wanted_s = self.request, self.request.fix_duration_s
        spoken = self.job.worker.engine.submit(
            self.plan.segments, self.job.control, runner=self.model, early=self.early
        )
        return assemble(
            self.plan,
            spoken,
            cross_fade_s=request.cross_fade_s if wanted_s is None else request.cross_fade_s or 0.0,
            n_samples=None if wanted_s is None else round(wanted_s * SAMPLE_RATE),
            aligner=aligner_for(self.job, self.params.language),
        )

    def timeline(self, segments: Sequence[AlignedSegment], n_samples: int, shift_s: float = 0.0) -> Timeline | None:
        """When each word is heard, as far as the segments go; None where nobody asks.

        Args:
            n_samples: of the whole sound. shift_s: of silence before the first segment, part of it.
        """
        if not self.request.wants_times:
            return None
        with self.job.watch.stage("timing_ms"):
            timeline = build_timeline(self.request.text, segments, n_samples / SAMPLE_RATE)
            return shifted(timeline, shift_s, timeline.duration_s) if shift_s else timeline

    @property
    def warnings(self) -> list[str]:
        return [*caller_warnings(self.request, self.voice.reference), *self.plan.warnings]


@contextmanager
def session(job: Job, request: SynthesizeInput, first_s: float | None = None) -> Iterator[Session]:
    """Prepare a text; the model stays loaded until the end of the block.

    Args:
        first_s: length aimed at for the first segment, where the request does not say.
    """
    settings = job.worker.settings
    with job.watch.stage("reference_ms"):
        voice = voice_of(request, None, job.worker)
    job.control.check()
    with job.worker.models.use(request.model or voice.defaults.model) as model:
        with job.watch.stage("text_ms"):
            params = sampling_params(job, request.text, voice, model)
            plan = make_plan(
                request.text,
                voice.reference,
                model.vocabulary,
                params,
                settings,
                speed=_speed(request, voice, params, job.worker),
                first_s=request.first_segment_s or first_s,
            )
        yield Session(job, request, voice, model, params, plan, early=first_s is not None)


def voice_of(request: SpeechRequest, name: str | None, worker: Worker) -> TakenVoice:
    """The voice of that name; None stands for the request's own: its clip, its voice, or the default one."""
    if name is None and request.reference is not None:
        return TakenVoice("", own_reference(request.reference, worker), VoiceDefaults())
    return worker.voices.take(name or request.voice)


def own_reference(given: ReferenceInput, worker: Worker) -> Reference:
    """The caller's clip, prepared once for all jobs that send the same."""
    data = read_audio_source(given.audio, worker.settings)
    words = read_transcript(given.transcript, worker)
    key = hashlib.sha256(repr((given.language, words)).encode() + data).hexdigest()
    return worker.clips.get(key, key, lambda: prepare(data, words, worker.settings, worker.recogniser, given.language))


def read_transcript(given: str | None, worker: Worker) -> str | None:
    """A caller's transcript: itself, or what lies at its address."""
    if given is None or not _ADDRESS.fullmatch(given):
        return given
    text = decode_transcript(read_audio_source(given.strip(), worker.settings))
    if len(text) > MAX_SUBTITLE_CHARS:
        raise InvalidInput(
            f"the transcript at that address has {len(text)} characters, at most {MAX_SUBTITLE_CHARS}; "
            "send that of a shorter recording"
        )
    return text


def caller_warnings(request: SpeechRequest, reference: Reference) -> list[str]:
    """Of the caller's own clip; what speaks against a kept voice was said when it was added."""
    return list(reference.warnings) if request.reference is not None else []


class TimedAligner:
    """An aligner whose work is counted."""

    def __init__(self, aligner: Aligner, watch: Stopwatch) -> None:
        self._aligner, self._watch = aligner, watch

    def align(self, samples: Samples, text: str) -> Aligned | None:
        with self._watch.stage("timing_ms"):
            return self._aligner.align(samples, text)


def aligner_for(job: Job, language: str) -> Aligner | None:
    """Who says when words are heard; None where nobody asks, or nobody can: times are then estimated."""
    recogniser = job.worker.recogniser
    if not job.request.wants_times or recogniser is None or not recogniser.understands(language):
        return None
    return TimedAligner(WhisperAligner(recogniser.borrow, language), job.watch)


def sampling_params(job: Job, text: str, voice: TakenVoice, model: Model) -> SamplingParams:
    """How the model is asked: as the job says, else as the voice's defaults, else as is usual."""
    request, defaults = job.request, voice.defaults
    known = next(iter(job.worker.models.languages(model.name)), voice.reference.language)
    return SamplingParams(
        language=request.language or defaults.language or language_by_script(text) or known or DEFAULT_LANGUAGE,
        expand=request.normalize,
        nfe=request.nfe_step or NFE_OF_QUALITY[request.quality or defaults.quality or "balanced"],
        guidance_scale=request.cfg_strength,
        sway_coefficient=request.sway_sampling_coef,
        seed=request.seed if request.seed is not None else secrets.randbelow(MAX_SEED + 1),
    )


def _speed(request: SynthesizeInput, voice: TakenVoice, params: SamplingParams, worker: Worker) -> float:
    """The pace to speak at: as asked, or what `fix_duration_s` makes necessary."""
    if request.fix_duration_s is None:
        return request.speed or voice.defaults.speed or 1.0
    natural = natural_s(request.text, voice.reference, params, worker.settings)
    return speed_for(request.fix_duration_s, natural)
