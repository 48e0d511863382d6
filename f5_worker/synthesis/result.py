"""From a job's sound to its reply: shape, encode, write subtitles, deliver."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from f5_worker.alignment.build import AlignedSegment
from f5_worker.alignment.timeline import Timeline, Word, shifted
from f5_worker.audio.encode import encode
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.audio.loudness import level
from f5_worker.delivery.artifacts import Artifact, Delivered, audio_artifact, caption_artifact, safe_id
from f5_worker.delivery.choose import Delivery, Sound, Way, choose, deliver, wanted
from f5_worker.delivery.inline import embedded_bytes
from f5_worker.engine.types import SegmentAudio
from f5_worker.schema.requests import DubInput, SpeechRequest
from f5_worker.schema.responses import (
    AudioResponse,
    CaptionResponse,
    DubResponse,
    Metrics,
    SegmentResponse,
    SpeechResponse,
    SynthesizeResponse,
    TimingsResponse,
    WordResponse,
)
from f5_worker.subtitles.formats import elevenlabs_alignment, write
from f5_worker.synthesis import dub
from f5_worker.synthesis.plan import SamplingParams
from f5_worker.synthesis.postprocess import pad, trim_silence
from f5_worker.synthesis.prepare import Job

LOUDNESS_TOLERANCE_LU = 0.5
RESERVE_BYTES = 2_000  # for the names of fields that hold files


@dataclass(frozen=True, eq=False)
class Rendered:
    """A job's whole sound, `[nw]` at 24 kHz, and what its reply says of it.

    segments: in order; of a dubbed track, empty. lines: of a dubbed track.
    """

    samples: Samples
    timeline: Timeline | None
    spoken: Sequence[SegmentAudio]
    params: SamplingParams
    model: str
    segments: Sequence[AlignedSegment] = ()
    lines: Sequence[dub.Line] = ()
    warnings: Sequence[str] = ()

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def shaped(request: SpeechRequest, rendered: Rendered) -> Rendered:
    """Trimmed, brought to its loudness and padded, as asked; times move with the sound."""
    samples, shift_s, warnings = rendered.samples, 0.0, list(rendered.warnings)
    if request.trim_silence:
        trimmed = trim_silence(samples)
        samples, shift_s = trimmed.samples, trimmed.shift_s
    if request.loudness_lufs is not None:
        levelled = level(samples, request.loudness_lufs)
        samples = levelled.samples
        if abs(levelled.lufs - request.loudness_lufs) > LOUDNESS_TOLERANCE_LU:
            warnings.append(
                f"the result is at {levelled.lufs:.1f} LUFS, not at {request.loudness_lufs:g}: "
                "its peaks leave no more room; ask for less"
            )
    padded = pad(samples, request.pad_start_s, request.pad_end_s)
    return moved(dataclasses.replace(rendered, samples=padded.samples, warnings=warnings), shift_s + padded.shift_s)


def moved(rendered: Rendered, shift_s: float) -> Rendered:
    """With all times later by `shift_s`, and inside the sound."""
    end_s = rendered.duration_s
    return dataclasses.replace(
        rendered,
        timeline=None if rendered.timeline is None else shifted(rendered.timeline, shift_s, end_s),
        segments=[
            dataclasses.replace(
                segment,
                start_s=min(max(segment.start_s + shift_s, 0.0), end_s),
                end_s=min(max(segment.end_s + shift_s, 0.0), end_s),
            )
            for segment in rendered.segments
        ],
    )


def reply_of(job: Job, rendered: Rendered) -> SpeechResponse:
    """The reply with its files delivered.

    Raises:
        ResultTooLarge: nothing that is allowed fits. StorageFailed: the bucket did not take a file.
    """
    request = job.request
    sound = Sound(request.format, request.sample_rate, rendered.duration_s)
    identifier = safe_id(job.job_id)
    with job.watch.stage("encode_ms"):
        files = [_audio(identifier, sound, rendered.samples), *_captions(request, rendered.timeline, identifier)]
    with job.watch.stage("delivery_ms"):
        way = _way(job, sound, files, rendered)
    if way.smaller is not None:
        sound = way.smaller
        rendered = dataclasses.replace(rendered, warnings=[*rendered.warnings, _reencoded(request.format, sound)])
        with job.watch.stage("encode_ms"):
            files[0] = _audio(identifier, sound, rendered.samples)
    with job.watch.stage("delivery_ms"):
        audio, *captions = deliver(files, job.bucket if way.s3 else None, job.worker.settings)
    return _reply(job, rendered, sound, audio, captions)


def _reencoded(asked: str, sound: Sound) -> str:
    return f"{asked} was too large for the reply; this is {sound.format} at {sound.sample_rate} Hz"


def last_reply(job: Job, rendered: Rendered) -> SpeechResponse:
    """The end of a stream: what `reply_of` says, without the sound that was sent already.

    Where the bucket is asked for by name it gets the whole file as well.
    """
    if _delivery(job) == "s3":
        return reply_of(job, rendered)
    request = job.request
    sound = Sound(request.format, request.sample_rate, rendered.duration_s)
    files = _captions(request, rendered.timeline, safe_id(job.job_id))
    return _reply(job, rendered, sound, None, deliver(files, None, job.worker.settings))


def _delivery(job: Job) -> Delivery:
    return wanted(job.request.delivery, job.worker.settings, own_bucket=job.own_bucket is not None)


def _way(job: Job, sound: Sound, files: list[Artifact], rendered: Rendered) -> Way:
    rest = _reply(job, rendered, sound, None, []).to_json()
    return choose(
        _delivery(job),
        sound,
        reply_bytes=len(json.dumps(rest)) + RESERVE_BYTES + embedded_bytes(files),
        sound_bytes=embedded_bytes(files[:1]),
        max_reply_bytes=job.worker.settings.max_reply_bytes,
        bucket=job.bucket is not None,
        allow_reencode=job.request.allow_reencode,
    )


def _audio(identifier: str, sound: Sound, samples: Samples) -> Artifact:
    return audio_artifact(identifier, sound.format, encode(samples, sound.format, sound.sample_rate))


def _captions(request: SpeechRequest, timeline: Timeline | None, identifier: str) -> list[Artifact]:
    if request.captions is None or timeline is None:
        return []
    style = request.captions.style
    formats = dict.fromkeys(request.captions.formats)
    return [caption_artifact(identifier, name, write(timeline, name, style)) for name in formats]


def _reply(
    job: Job, rendered: Rendered, sound: Sound, audio: Delivered | None, captions: Sequence[Delivered]
) -> SpeechResponse:
    kind = DubResponse if isinstance(job.request, DubInput) else SynthesizeResponse
    facts = {
        "audio": _audio_reply(sound, audio),
        "seed": rendered.params.seed,
        "model": rendered.model,
        "timings": _timings(job.request, rendered.timeline),
        "captions": _caption_replies(captions) or None,
        "metrics": metrics(job, rendered.spoken, rendered.params.nfe, rendered.duration_s),
        "warnings": list(rendered.warnings),
    }
    if kind is DubResponse:
        return DubResponse(lines=dub.report(rendered.lines), **facts)
    segments = [
        SegmentResponse(text=segment.text, start_s=round(segment.start_s, 6), end_s=round(segment.end_s, 6))
        for segment in rendered.segments
    ]
    return SynthesizeResponse(segments=segments, **facts)


def _audio_reply(sound: Sound, file: Delivered | None) -> AudioResponse:
    facts = {"format": sound.format, "sample_rate": sound.sample_rate, "duration_s": round(sound.duration_s, 6)}
    if file is None:
        return AudioResponse(**facts)
    return AudioResponse(
        **facts, bytes=file.bytes, base64=file.base64, url=file.url, key=file.key, expires_at=file.expires_at
    )


def _caption_replies(files: Sequence[Delivered]) -> dict[str, CaptionResponse]:
    return {
        file.name.rpartition(".")[2]: CaptionResponse(
            content=file.text, url=file.url, key=file.key, expires_at=file.expires_at
        )
        for file in files
    }


def _timings(request: SpeechRequest, timeline: Timeline | None) -> TimingsResponse | None:
    if request.timings is None or timeline is None:
        return None
    return TimingsResponse(
        source=timeline.source,
        words=[word_reply(word) for word in timeline.words],
        alignment=elevenlabs_alignment(timeline) if request.timings == "characters" else None,
    )


def word_reply(word: Word) -> WordResponse:
    """A word's times to the millisecond."""
    confidence = None if word.confidence is None else round(word.confidence, 3)
    return WordResponse(
        text=word.text, start_s=round(word.start_s, 3), end_s=round(word.end_s, 3), confidence=confidence
    )


def metrics(job: Job, spoken: Sequence[SegmentAudio], nfe: int, duration_s: float) -> Metrics:
    """Where the time went."""
    engine_s = sum(item.worked_s for item in spoken)
    return Metrics(
        queue_ms=round(job.queued_s * 1e3, 2),
        engine_wait_ms=round(sum(item.waited_s for item in spoken) * 1e3, 2),
        engine_ms=round(engine_s * 1e3, 2),
        total_ms=round(job.watch.total_ms(), 2),
        nfe=nfe,
        rtf=round(engine_s / duration_s, 4) if duration_s else 0.0,
        **{name: round(value, 2) for name, value in job.watch.ms.items()},
    )
