"""From a request to speech that can begin: voice, model, sampling parameters and plan."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from f5_worker.alignment.align import Aligned, Aligner, WhisperAligner
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import InvalidInput
from f5_worker.models.registry import Model
from f5_worker.reference.prepare import Reference, prepare
from f5_worker.schema.requests import (
    MAX_SEED,
    NFE_OF_QUALITY,
    ReferenceInput,
    SpeechRequest,
    SynthesizeInput,
)
from f5_worker.schema.responses import LineResponse
from f5_worker.schema.sources import read_audio_source
from f5_worker.synthesis.assemble import AudioPart, assemble
from f5_worker.synthesis.context import Stopwatch, Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import Plan, SamplingParams, make_plan, natural_s, speed_for
from f5_worker.text.language import language_by_script
from f5_worker.voices.info import LoadedVoice, VoiceDefaults
from f5_worker.voices.library import MAX_TRANSCRIPT_BYTES

DEFAULT_LANGUAGE = "en"
_URL = re.compile(r"\s*https?://\S+\s*")


AudioParts: TypeAlias = Generator[AudioPart, None, None]


@dataclass(frozen=True, eq=False)
class Speech:
    """A job's speech, prepared.

    Attributes:
        text: what the word times are of.
        parts: the audio in order. The device begins when the first part is asked for; closing it stops the device.
        duration_s: about how long the audio will be, before it is padded.
        model: name of the checkpoint.
        lines: of a dubbed track.
    """

    text: str
    parts: AudioParts
    duration_s: float
    params: SamplingParams
    model: str
    warnings: Sequence[str]
    lines: Sequence[LineResponse] = ()


@contextmanager
def prepare_text(job: Job, request: SynthesizeInput, *, early: bool) -> Iterator[Speech]:
    """Prepare a text in one voice; the model stays loaded until the end of the block.

    Args:
        early: the caller hears the first segment while the others are spoken, so it is short.

    Raises:
        WorkerError: any that a caller can cause before the device begins.
    """
    settings = job.worker.settings
    job.control.enter("preparing the voice")
    with job.stopwatch.stage("reference_ms"):
        voice = voice_for(job, None)
    job.control.enter("preparing the text")
    with job.worker.models.use(request.model or voice.defaults.model) as model:
        with job.stopwatch.stage("text_ms"):
            params = sampling_params(job, request.text, voice, model)
            plan = make_plan(
                request.text,
                voice.reference,
                model.vocabulary,
                params,
                settings,
                speed=_speed(request, voice, params, job.worker),
                first_s=request.first_segment_s or (settings.stream_first_s if early else None),
            )
        yield Speech(
            text=request.text,
            parts=_speak(job, request, plan, model, params, early=early),
            duration_s=request.fix_duration_s or plan.duration_s,
            params=params,
            model=model.name,
            warnings=[*reference_warnings(request, voice.reference), *plan.warnings],
        )


def voice_for(job: Job, name: str | None) -> LoadedVoice:
    """Return the voice of that name; None stands for the request's own: its clip, its voice, or the default one.

    Raises:
        UnknownVoice, ReferenceProblem, FetchError, InvalidInput, StorageFailed
    """
    request = job.request
    if name is None and request.reference is not None:
        return LoadedVoice("", _caller_reference(request.reference, job.worker), VoiceDefaults())
    return job.worker.voices.of(request.voices_key).load(name or request.voice)


def read_transcript(given: str | None, worker: Worker) -> str | bytes | None:
    """Return a caller's transcript: the text itself, or the bytes of the file at its URL.

    Raises:
        InvalidInput: more bytes than allowed.
        FetchRefused, FetchFailed: the URL could not be used.
    """
    if given is None or not _URL.fullmatch(given):
        return given
    data = read_audio_source(given.strip(), worker.settings)
    if len(data) > MAX_TRANSCRIPT_BYTES:
        raise InvalidInput(
            f"the transcript at that address has {len(data)} bytes, at most {MAX_TRANSCRIPT_BYTES}; "
            "send that of a shorter recording"
        )
    return data


def reference_warnings(request: SpeechRequest, reference: Reference) -> list[str]:
    """Return the warnings about a caller's own clip; those about a stored voice were returned when it was added."""
    return list(reference.warnings) if request.reference is not None else []


def aligner_for(job: Job, language: str) -> Aligner | None:
    """Return what measures word times; None if none were asked for, or to estimate them without a recogniser."""
    recogniser = job.worker.recogniser
    if not job.request.wants_times or recogniser is None or not recogniser.understands(language):
        return None
    return _TimedAligner(WhisperAligner(recogniser.loaded_model, language), job.stopwatch)


def sampling_params(job: Job, text: str, voice: LoadedVoice, model: Model) -> SamplingParams:
    """Return the parameters of the request, completed by the voice's defaults and then by the general ones."""
    request, defaults = job.request, voice.defaults
    known = next(iter(job.worker.models.languages(model.name)), voice.reference.language)
    stated = request.language or defaults.language
    return SamplingParams(
        language=stated or language_by_script(text) or known or DEFAULT_LANGUAGE,
        by_script=stated is None,
        expand=request.normalize,
        nfe=request.nfe_step or NFE_OF_QUALITY[request.quality or defaults.quality or "balanced"],
        guidance_scale=request.cfg_strength,
        sway_coefficient=request.sway_sampling_coef,
        seed=request.seed if request.seed is not None else secrets.randbelow(MAX_SEED + 1),
    )


class _TimedAligner:
    """An aligner whose time is counted."""

    def __init__(self, aligner: Aligner, stopwatch: Stopwatch) -> None:
        self._aligner, self._stopwatch = aligner, stopwatch

    def align(self, samples: Samples, text: str) -> Aligned | None:
        """Align as the inner aligner does."""
        with self._stopwatch.stage("timing_ms"):
            return self._aligner.align(samples, text)


def _speak(
    job: Job, request: SynthesizeInput, plan: Plan, model: Model, params: SamplingParams, *, early: bool
) -> AudioParts:
    duration_s = request.fix_duration_s
    yield from assemble(
        plan,
        job.worker.engine.submit(plan.segments, job.control, runner=model, early=early),
        cross_fade_s=request.cross_fade_s if duration_s is None else request.cross_fade_s or 0.0,
        n_samples=None if duration_s is None else round(duration_s * SAMPLE_RATE),
        aligner=aligner_for(job, params.language),
    )


def _caller_reference(given: ReferenceInput, worker: Worker) -> Reference:
    """Return the caller's clip, prepared once for all jobs that send the same."""
    data = read_audio_source(given.audio, worker.settings)
    transcript = read_transcript(given.transcript, worker)
    key = hashlib.sha256(repr((given.language, transcript)).encode() + data).hexdigest()
    return worker.caller_references.get(
        key, key, lambda: prepare(data, transcript, worker.settings, worker.recogniser, given.language)
    )


def _speed(request: SynthesizeInput, voice: LoadedVoice, params: SamplingParams, worker: Worker) -> float:
    """Return the speed that was asked for, or the one that `fix_duration_s` needs."""
    if request.fix_duration_s is None:
        return request.speed or voice.defaults.speed or 1.0
    natural = natural_s(request.text, voice.reference, params, worker.settings)
    return speed_for(request.fix_duration_s, natural)
