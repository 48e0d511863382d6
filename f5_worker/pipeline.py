"""The way of a job, from top to bottom.

input -> reference -> text -> segments -> engine -> join -> encode -> reply
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from f5_worker.audio.encode import encode
from f5_worker.audio.join import Joined, fit, join
from f5_worker.control import JobControl
from f5_worker.delivery.inline import encode_base64
from f5_worker.engine.batcher import Batcher, Segment, Spoken
from f5_worker.engine.config import FRAMES_PER_S, MAX_SEGMENT_FRAMES, SAMPLE_RATE, mel_frames
from f5_worker.errors import InvalidInput, TextTooLong
from f5_worker.net.fetch import read_audio_source
from f5_worker.schema import (
    MAX_SEED,
    AudioReply,
    Metrics,
    SegmentReply,
    SynthesizeInput,
    SynthesizeReply,
)
from f5_worker.settings import Settings
from f5_worker.text.chunk import Chunk, byte_budget, chunk
from f5_worker.text.duration import target_frames
from f5_worker.text.normalize import ensure_speakable, normalize
from f5_worker.text.seed import segment_seed
from f5_worker.text.tokens import Vocabulary, tokenize
from f5_worker.voice.library import Library
from f5_worker.voice.reference import Reference, prepare

SPEED_RANGE = (0.25, 4.0)  # how far fix_duration_s may bend the reference's pace


@dataclass(frozen=True)
class Service:
    """What jobs need of the worker: everything here is loaded once and shared."""

    settings: Settings
    model: str
    device: str
    precision: str
    vocabulary: Vocabulary
    voices: Library
    batcher: Batcher


@dataclass(frozen=True)
class Plan:
    """A text cut into segments: what each says, how the model is asked, and what the caller should know."""

    chunks: list[Chunk]
    segments: list[Segment]
    warnings: list[str]


class Stopwatch:
    """Milliseconds of each stage."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.ms[name] = (time.monotonic() - begun) * 1e3

    def total_ms(self) -> float:
        return (time.monotonic() - self.started) * 1e3


def synthesize(job: SynthesizeInput, service: Service, control: JobControl, queued_s: float = 0.0) -> SynthesizeReply:
    """Do one synthesis job.

    Args:
        queued_s: how long the job waited before it came here.

    Raises:
        WorkerError: any of errors.py that a caller can cause, or that the device does.
    """
    watch = Stopwatch()
    seed = job.seed if job.seed is not None else secrets.randbelow(MAX_SEED + 1)
    with watch.stage("reference_ms"):
        reference = take_reference(job, service)
    control.check()
    with watch.stage("text_ms"):
        plan = make_plan(job, reference, service, seed)
    spoken = list(service.batcher.submit(plan.segments, control))
    with watch.stage("post_ms"):
        joined = assemble(job, plan.chunks, spoken)
    control.check()
    with watch.stage("encode_ms"):
        data = encode(joined.samples, job.format, job.sample_rate)
    duration_s = len(joined.samples) / SAMPLE_RATE
    return SynthesizeReply(
        audio=AudioReply(
            format=job.format,
            sample_rate=job.sample_rate,
            duration_s=round(duration_s, 6),
            bytes=len(data),
            base64=encode_base64(data),
        ),
        segments=[
            SegmentReply(text=piece.text, start_s=round(start, 6), end_s=round(end, 6))
            for piece, (start, end) in zip(plan.chunks, joined.bounds, strict=True)
        ],
        seed=seed,
        model=service.model,
        metrics=_metrics(watch, spoken, job.nfe, duration_s, queued_s),
        warnings=[*reference.warnings, *plan.warnings],
    )


def take_reference(job: SynthesizeInput, service: Service) -> Reference:
    """The voice to speak in: one that ships with the model, or the caller's own clip."""
    if job.reference is None:
        return service.voices.reference(job.voice or "")
    data = read_audio_source(job.reference.audio, service.settings)
    return prepare(data, job.reference.transcript, service.settings)


def make_plan(job: SynthesizeInput, reference: Reference, service: Service, seed: int) -> Plan:
    """Cut the text into segments and say how long each will sound."""
    limit = service.settings.max_text_chars
    if len(job.text) > limit:
        raise TextTooLong(f"text has {len(job.text)} characters, at most {limit} (F5_MAX_TEXT_CHARS); send it in parts")
    text = normalize(job.text)
    ensure_speakable(text, len(job.text))
    speed = _speed(job, text, reference)
    budget = byte_budget(len(reference.transcript.encode()), reference.duration_s, speed)
    chunks = chunk(text, budget)
    frames = [_frames(piece.text, reference, speed) for piece in chunks]
    _check_length(sum(frames) / FRAMES_PER_S, service.settings)
    segments, unknown = [], set[str]()
    for index, (piece, target) in enumerate(zip(chunks, frames, strict=True)):
        tokens, missing = service.vocabulary.encode(tokenize(reference.transcript + piece.text))
        unknown.update(missing)
        segments.append(_segment(job, reference, tokens, target, segment_seed(seed, index)))
    return Plan(chunks, segments, _unknown_warning(unknown))


def assemble(job: SynthesizeInput, chunks: Sequence[Chunk], spoken: Sequence[Spoken]) -> Joined:
    """Join the segments' sound; with `fix_duration_s` to the very sample."""
    sounds = [item.samples for item in spoken]
    pauses_s = [piece.pause_s for piece in chunks[:-1]]
    if job.fix_duration_s is None:
        return join(sounds, pauses_s=pauses_s, cross_fade_s=job.cross_fade_s)
    joined = join(sounds, pauses_s=pauses_s, cross_fade_s=job.cross_fade_s or 0.0)
    samples = fit(joined.samples, round(job.fix_duration_s * SAMPLE_RATE))
    end_s = len(samples) / SAMPLE_RATE
    return Joined(samples, tuple((min(a, end_s), min(b, end_s)) for a, b in joined.bounds))


def _frames(text: str, reference: Reference, speed: float) -> int:
    return target_frames(text, reference.transcript, mel_frames(len(reference.samples)), speed)


def _segment(job: SynthesizeInput, reference: Reference, tokens: Sequence[int], target: int, seed: int) -> Segment:
    # Upstream keeps at least one frame more than tokens (cfm.py, `duration`).
    frames = max(mel_frames(len(reference.samples)) + target, len(tokens) + 1)
    if frames > MAX_SEGMENT_FRAMES:
        raise InvalidInput(
            f"a segment would last {frames / FRAMES_PER_S:.0f} s with its reference, "
            f"at most {MAX_SEGMENT_FRAMES / FRAMES_PER_S:.0f} s; raise speed, lower fix_duration_s, "
            "or use a reference that speaks faster"
        )
    return Segment(
        reference=reference.samples,
        tokens=tuple(tokens),
        frames=frames,
        nfe=job.nfe,
        guidance=job.cfg_strength,
        sway=job.sway_sampling_coef,
        seed=seed,
    )


def _speed(job: SynthesizeInput, text: str, reference: Reference) -> float:
    """The pace to speak at: as asked, or what `fix_duration_s` makes necessary."""
    if job.fix_duration_s is None:
        return job.speed
    natural_s = _frames(text, reference, 1.0) / FRAMES_PER_S
    speed = natural_s / job.fix_duration_s
    low, high = SPEED_RANGE
    if not low <= speed <= high:
        raise InvalidInput(
            f"fix_duration_s={job.fix_duration_s:g}: the text takes about {natural_s:.1f} s in this voice; "
            f"it can be fitted into {natural_s / high:.1f}..{natural_s / low:.1f} s"
        )
    return speed


def _check_length(target_s: float, settings: Settings) -> None:
    if target_s > settings.max_audio_s:
        raise TextTooLong(
            f"the text would sound for about {target_s:.0f} s, at most {settings.max_audio_s:.0f} s "
            "(F5_MAX_AUDIO_S); send it in parts or raise speed"
        )


def _unknown_warning(unknown: set[str]) -> list[str]:
    if not unknown:
        return []
    shown = " ".join(sorted(unknown)[:10]) + (" ..." if len(unknown) > 10 else "")
    return [f"{len(unknown)} characters are unknown to the model and were read as spaces: {shown}"]


def _metrics(watch: Stopwatch, spoken: Sequence[Spoken], nfe: int, duration_s: float, queued_s: float) -> Metrics:
    engine_s = sum(item.worked_s for item in spoken)
    stages = {name: round(value, 2) for name, value in watch.ms.items()}
    return Metrics(
        queue_ms=round(queued_s * 1e3, 2),
        engine_wait_ms=round(sum(item.waited_s for item in spoken) * 1e3, 2),
        engine_ms=round(engine_s * 1e3, 2),
        total_ms=round(watch.total_ms(), 2),
        nfe=nfe,
        rtf=round(engine_s / duration_s, 4),
        **stages,
    )
