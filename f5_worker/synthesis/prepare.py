"""From a request to speech that can begin: voice, model, sampling parameters and plan."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from f5_worker.alignment.align import Aligned, Aligner, WhisperAligner
from f5_worker.alignment.timeline import SpeakerTurn
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.engine.types import Segment, SegmentAudio
from f5_worker.errors import InvalidInput
from f5_worker.models.registry import Model
from f5_worker.reference.prepare import Reference, prepare
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.requests import MAX_SEED, NFE_OF_QUALITY, ReferenceInput, SynthesizeInput, TextInput
from f5_worker.schema.responses import LineResponse, SpeakerResponse
from f5_worker.schema.sources import read_audio_source
from f5_worker.schema.text import MAX_TEXT_VOICES
from f5_worker.synthesis.assemble import AudioPart, assemble
from f5_worker.synthesis.context import Stopwatch, Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.plan import (
    Plan,
    PlannedSegment,
    SamplingParams,
    VoicedPassage,
    check_chars,
    make_plan,
    speed_into,
)
from f5_worker.synthesis.takes import CheckedSegment, KeptTake, Takes, takes_for
from f5_worker.text.language import language_by_script
from f5_worker.text.markup.pronunciations import of_voice
from f5_worker.text.normalize import ensure_speakable
from f5_worker.voices.info import LoadedVoice, VoiceDefaults
from f5_worker.voices.library import MAX_TRANSCRIPT_BYTES

if TYPE_CHECKING:
    from f5_worker.text.markup.script import Script
    from f5_worker.text.reading import Reading, ReadingOptions

DEFAULT_LANGUAGE = "en"
_URL = re.compile(r"\s*https?://\S+\s*")


AudioParts: TypeAlias = Generator[AudioPart, None, None]


@dataclass(frozen=True, eq=False)
class Speech:
    """A job's speech, prepared.

    Attributes:
        text: what the word times are of: the text as sent, without its markup.
        parts: the audio in order. The device begins when the first part is asked for; closing it stops the device.
        duration_s: about how long the audio will be, before it is padded.
        device_s: how long the device needs for it at least; None where that was not measured.
        model: name of the checkpoint.
        turns: who speaks which part of the text; empty where nothing says so.
        lines: of a dubbed track.
        speakers: of a track that is dubbed from a source.
        kept: the take of each segment that was checked, in order; complete with the last part.
    """

    text: str
    parts: AudioParts
    duration_s: float
    device_s: float | None
    params: SamplingParams
    model: str
    warnings: Sequence[str]
    turns: Sequence[SpeakerTurn] = ()
    lines: Sequence[LineResponse] = ()
    speakers: Sequence[SpeakerResponse] = ()
    kept: Sequence[KeptTake] = ()


@dataclass(frozen=True, eq=False)
class PlannedText:
    """A text ready to be spoken: its script, how that is read, and the segments that it is cut into."""

    script: Script
    reading: Reading
    plan: Plan
    params: SamplingParams
    model: Model
    warnings: list[str]


@contextmanager
def prepare_text(job: Job, request: SynthesizeInput, *, early: bool) -> Iterator[Speech]:
    """Prepare a text; the model stays loaded until the end of the block.

    Args:
        early: the caller hears the first segment while the others are spoken, so it is short.

    Raises:
        WorkerError: any that a caller can cause before the device begins.
    """
    with plan_text(job, request, early=early, at_once=request.fix_duration_s is not None) as text:
        passages = text.script.passages
        keeps_length = request.fix_duration_s is not None
        takes = takes_for(job, text.params, text.model, text.warnings, keeps_length=keeps_length)
        yield Speech(
            text=text.script.text.text,
            parts=_speak(job, request, text, takes, early=early),
            duration_s=request.fix_duration_s or text.plan.duration_s,
            device_s=job.worker.engine.seconds_for(text.model, text.plan.work),
            params=text.params,
            model=text.model.name,
            warnings=text.warnings,
            turns=[SpeakerTurn(passage.begin, passage.speaker) for passage in passages if len(passages) > 1],
            kept=takes.kept if takes else (),
        )


@contextmanager
def plan_text(job: Job, request: TextInput, *, early: bool = False, at_once: bool = True) -> Iterator[PlannedText]:
    """Read a text and cut it into segments, without the device; the model stays loaded until the end of the block.

    Args:
        at_once: make all segments now; otherwise those of a long text are made as they are taken.

    Raises:
        WorkerError: any that a caller can cause before the device begins.
    """
    from f5_worker.text.reading import read_passages

    settings = job.worker.settings
    script, voices = read_text(job, request)
    job.control.enter("preparing the text")
    first = voices[None if None in voices else script.voices[0]]
    with job.worker.models.use(request.model or first.defaults.model) as model:
        with job.stopwatch.stage("text_ms"):
            params = sampling_params(job, script.text.text, first, model)
            reading = read_passages(script, lambda name: reading_options(job, voices[name], params, model))
            spoken = " ".join(passage.sentences.plain.text for passage in reading.passages)
            ensure_speakable(spoken, len(request.text), script.warnings)
            plan = make_plan(
                _voiced(request, reading, voices, model.traits.one_sentence),
                model.vocabulary,
                params,
                settings,
                lead_s=reading.lead_s,
                first_s=request.first_segment_s or (settings.stream_first_s if early else None),
                one_sentence=model.traits.one_sentence,
                at_once=at_once,
            )
        own = [*reference_warnings(request, first.reference), *script.warnings, *_capitals_warning(spoken, model)]
        yield PlannedText(script, reading, plan, params, model, [*own, *plan.warnings])


def read_text(job: Job, request: TextInput) -> tuple[Script, dict[str | None, LoadedVoice]]:
    """Return a text without its markup, and its voices by name; None stands for the job's own.

    Raises:
        TextTooLong, TextUnspeakable, InvalidInput: of the text. Those of `voice_for`.
    """
    from f5_worker.text.markup.script import ScriptOptions, read_script  # compiles 20 ms of patterns

    check_chars(request.text, job.worker.settings)
    script = read_script(request.text, ScriptOptions(request.markup, request.directions, request.voices))
    ensure_speakable(script.text.text if script.voices else "", len(request.text), script.warnings)
    if len(script.voices) > MAX_TEXT_VOICES:
        raise InvalidInput(f"the text has {len(script.voices)} voices, at most {MAX_TEXT_VOICES}; send it in parts")
    job.control.enter("preparing the voice")
    with job.stopwatch.stage("reference_ms"):
        return script, {name: voice_for(job, name) for name in script.voices}


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
    known = next(iter(job.worker.models.languages(model)), voice.reference.language)
    stated = request.language or defaults.language
    return SamplingParams(
        language=stated or language_by_script(text) or known or DEFAULT_LANGUAGE,
        nfe=request.nfe_step or NFE_OF_QUALITY[request.quality or defaults.quality or "balanced"],
        guidance_scale=request.cfg_strength,
        sway_coefficient=request.sway_sampling_coef,
        seed=request.seed if request.seed is not None else secrets.randbelow(MAX_SEED + 1),
    )


def reading_options(job: Job, voice: LoadedVoice, params: SamplingParams, model: Model) -> ReadingOptions:
    """Return how a text is read in a voice; pronunciations of the job come before the voice's and the worker's."""
    from f5_worker.text.reading import ReadingOptions

    request, defaults = job.request, voice.defaults
    named = [entry.to_pronunciation() for entry in (*request.pronunciations, *(defaults.pronunciations or ()))]
    return ReadingOptions(
        language=request.language or defaults.language or params.language,
        by_script=not (request.language or defaults.language),
        expand=request.normalize,
        pronunciations=of_voice((*named, *job.worker.pronunciations), voice.name),
        traits=model.traits,
    )


class _TimedAligner:
    """An aligner whose time is counted."""

    def __init__(self, aligner: Aligner, stopwatch: Stopwatch) -> None:
        self._aligner, self._stopwatch = aligner, stopwatch

    def align(self, samples: Samples, text: str) -> Aligned | None:
        """Align as the inner aligner does."""
        with self._stopwatch.stage("timing_ms"):
            return self._aligner.align(samples, text)


def _speak(job: Job, request: SynthesizeInput, text: PlannedText, takes: Takes | None, *, early: bool) -> AudioParts:
    duration_s = request.fix_duration_s
    yield from assemble(
        text.plan,
        _submit(job, text, takes, early=early),
        cross_fade_s=request.cross_fade_s if duration_s is None else request.cross_fade_s or 0.0,
        n_samples=None if duration_s is None else round(duration_s * SAMPLE_RATE),
        aligner=aligner_for(job, text.params.language),
    )
    text.warnings.extend(warning for warning in text.plan.warnings if warning not in text.warnings)
    text.warnings.extend(takes.warnings() if takes else ())


def _submit(job: Job, text: PlannedText, takes: Takes | None, *, early: bool) -> Iterator[SegmentAudio]:
    """Yield the audio of all segments; a batch of them is made while the device speaks the one before."""
    submit = partial(job.worker.engine.submit, control=job.control, runner=text.model)
    with ExitStack() as submitted:
        audio: Iterator[SegmentAudio] = iter(())
        for batch, share in text.plan.batches():
            yield from audio
            results = submit(batch, early=early and not share[0], share=share)
            submitted.callback(results.close)
            if takes is not None:
                begin = len(text.plan.parts) - len(batch)
                results = takes.choose(results, _checked(text.plan.parts[begin:], batch, begin), in_order=early)
                submitted.callback(results.close)
            audio = results
        yield from audio


def _checked(parts: Sequence[PlannedSegment], segments: Sequence[Segment], begin: int) -> list[CheckedSegment]:
    """Return segments, the first of which has the index `begin` in its text, as they are checked."""
    pairs = enumerate(zip(parts, segments, strict=True), start=begin)
    return [CheckedSegment(part, segment, index + 1, (index,)) for index, (part, segment) in pairs]


def _caller_reference(given: ReferenceInput, worker: Worker) -> Reference:
    """Return the caller's clip, prepared once for all jobs that send the same."""
    data = read_audio_source(given.audio, worker.settings)
    transcript = read_transcript(given.transcript, worker)
    key = hashlib.sha256(repr((given.language, transcript)).encode() + data).hexdigest()
    return worker.caller_references.get(
        key, key, lambda: prepare(data, transcript, worker.settings, worker.recogniser, given.language)
    )


def _voiced(
    request: TextInput, reading: Reading, voices: Mapping[str | None, LoadedVoice], one_sentence: bool
) -> list[VoicedPassage]:
    """Return each passage with its voice, at the speed that was asked for, or the one that `fix_duration_s` needs."""
    used = [(passage, voices[passage.voice]) for passage in reading.passages]
    if request.fix_duration_s is None:
        return [
            VoicedPassage(passage, voice.reference, request.speed or voice.defaults.speed or 1.0)
            for passage, voice in used
        ]
    voiced = [VoicedPassage(passage, voice.reference) for passage, voice in used]
    speed = speed_into(request.fix_duration_s, voiced, reading.lead_s, one_sentence)
    return [replace(passage, speed=speed) for passage in voiced]


def _capitals_warning(spoken: str, model: Model) -> list[str]:
    from f5_worker.text.markup.capitals import capital_sentences

    count = 0 if model.traits.lower_capitals else sum(1 for _ in capital_sentences(spoken))
    if not count:
        return []
    number = "a sentence is" if count == 1 else f"{count} sentences are"
    return [f"{number} in capitals, which the model may read letter by letter; write small letters"]
