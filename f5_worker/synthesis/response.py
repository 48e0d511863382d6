"""From a result to its response: captions are written, files delivered, metrics added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np

from f5_worker.alignment.timeline import Timeline, Word
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from f5_worker.delivery.artifacts import Artifact, Delivered, audio_artifact, caption_artifact, line_artifact
from f5_worker.delivery.choose import AudioEncoding, DeliveryChoice, choose, deliver
from f5_worker.delivery.inline import NoLimit
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.dub import DubInput
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
from f5_worker.subtitles.csv_json import elevenlabs_alignment
from f5_worker.subtitles.formats import write_subtitles
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.pipeline import run
from f5_worker.synthesis.result import Result
from f5_worker.synthesis.size import mode_of
from f5_worker.synthesis.takes import report_verified

Response = TypeVar("Response", bound=SpeechResponse)

RESERVE_BYTES = 2_000  # for the names of fields that hold files
LINE_RESERVE_BYTES = 150  # the same, for a line that is a file of its own


def speak(job: Job) -> SpeechResponse:
    """Do a job and return the whole response.

    Raises:
        WorkerError: any that a caller can cause, or that the device does.
    """
    (response,) = stream(job)
    assert not isinstance(response, AudioChunk)  # noqa: S101 - only a streaming job has them
    return response


def stream(job: Job) -> Iterator[AudioChunk | SpeechResponse]:
    """Do a job; if it streams, yield its audio in chunks; yield the response without what was sent in chunks.

    Raises:
        WorkerError: as `speak`; chunks that were yielded stay valid.
    """
    for item in run(job):
        yield respond(job, item) if isinstance(item, Result) else item


def respond(job: Job, result: Result) -> SpeechResponse:
    """Deliver a result's files and return its response.

    A streaming job's audio is in its chunks or, where they would be too large, in the bucket. Where the bucket is
    asked for, it gets the whole file even so.

    Raises:
        ResultTooLarge: nothing that is allowed fits.
        StorageFailed, FetchRefused, FetchFailed: the bucket did not take a file.
    """
    request = job.request
    encoding = AudioEncoding(request.format, request.sample_rate, result.duration_s)
    with job.stopwatch.stage("encode_ms"):
        captions = _captions(request, result.timeline, job.safe_id)
    if result.in_chunks and mode_of(job) != "s3":
        lines = _encode_lines(job, result, encoding)
        return _response(job, result, encoding, None, deliver([*captions, *lines], None, job.worker.settings))
    files: list[Artifact] | None = None
    if result.lines or not AUDIO_FORMATS[encoding.format].is_pcm:  # of PCM the size is known: too much is not encoded
        files = _encode(job, result, encoding)
    with job.stopwatch.stage("delivery_ms"):
        choice = _choose(job, result, encoding, files, captions)
    if choice.reencode is not None:
        encoding, files = replace(choice.reencode, duration_s=result.duration_s), None
        note = f"{request.format} was too large for the reply; this is {encoding.format} at {encoding.sample_rate} Hz"
        result = replace(result, warnings=[*result.warnings, note], file=None)
    if files is None:
        files = _encode(job, result, encoding)
    with job.stopwatch.stage("delivery_ms"):
        bucket = job.bucket if choice.to_bucket else None
        track, *lines = files
        delivered_track, *delivered = deliver([track, *captions, *lines], bucket, job.worker.settings)
    return _response(job, result, encoding, delivered_track, delivered)


def speak_complete(job: Job) -> SynthesizeResponse:
    """Do a job that speaks a text and does not stream, and return the response with all its files in it.

    However large it is: the caller decides where its files go.

    Raises:
        WorkerError: as `speak`.
    """
    (result,) = run(job)
    assert isinstance(result, Result)  # noqa: S101 - only a streaming job has chunks
    inline = job.request.model_copy(update={"delivery": "inline"})
    response = respond(replace(job, request=inline, limit=NoLimit()), result)
    assert isinstance(response, SynthesizeResponse)  # noqa: S101 - of a text
    return response


def store_files(job: Job, response: Response) -> Response:
    """Write the files of a response to the job's bucket; return the response with their addresses instead.

    Raises:
        StorageFailed, FetchRefused, FetchFailed: the bucket did not take a file.
    """
    audio, captions = response.audio, response.captions or {}
    files = [
        audio_artifact(job.safe_id, audio.format, audio.data or b""),
        *(caption_artifact(job.safe_id, name, caption.content or "") for name, caption in captions.items()),
    ]
    stored_audio, *stored = deliver(files, job.bucket, job.worker.settings)
    encoding = AudioEncoding(audio.format, audio.sample_rate, audio.duration_s)
    changes = {"audio": _audio_response(encoding, stored_audio), "captions": _caption_responses(stored) or None}
    return response.model_copy(update=changes)


def word_response(word: Word) -> WordResponse:
    """Return a word's times to the millisecond."""
    return WordResponse(
        text=word.text,
        start_s=round(word.start_s, 3),
        end_s=round(word.end_s, 3),
        confidence=None if word.confidence is None else round(word.confidence, 3),
    )


def _choose(
    job: Job, result: Result, encoding: AudioEncoding, files: list[Artifact] | None, captions: list[Artifact]
) -> DeliveryChoice:
    rest = _response(job, result, encoding, None, []).to_json()
    sizes_bytes = [_pcm_bytes(encoding)] if files is None else [len(file.data) for file in files]
    audio_bytes = sum(map(job.limit.audio_bytes, sizes_bytes))
    reserve_bytes = RESERVE_BYTES + LINE_RESERVE_BYTES * len(result.lines)
    lines_s = sum(map(len, result.lines)) / SAMPLE_RATE
    return choose(
        "s3" if job.streaming else mode_of(job),
        replace(encoding, duration_s=encoding.duration_s + lines_s),
        job.limit,
        response_bytes=job.limit.json_bytes(rest) + reserve_bytes + audio_bytes + job.limit.file_bytes(captions),
        audio_bytes=audio_bytes,
        has_bucket=job.bucket is not None,
        allow_reencode=job.request.allow_reencode,
    )


def _pcm_bytes(encoding: AudioEncoding) -> int:
    return AUDIO_FORMATS[encoding.format].max_bytes(encoding.sample_rate, encoding.duration_s)


def _encode(job: Job, result: Result, encoding: AudioEncoding) -> list[Artifact]:
    """Return the audio, and the lines that are files of their own."""
    data = result.file or _encode_file(job, result.samples, encoding)
    return [audio_artifact(job.safe_id, encoding.format, data), *_encode_lines(job, result, encoding)]


def _encode_lines(job: Job, result: Result, encoding: AudioEncoding) -> list[Artifact]:
    artifacts = []
    for index, samples in enumerate(result.lines):
        job.control.check()
        data = _encode_file(job, limit_peak(samples * np.float32(result.line_gain)), encoding)
        artifacts.append(line_artifact(job.safe_id, index, encoding.format, data))
    return artifacts


def _encode_file(job: Job, samples: Samples, encoding: AudioEncoding) -> bytes:
    encode, stopwatch = job.worker.encoders.encode, job.stopwatch
    with stopwatch.stage("encode_ms"):
        return encode(samples, encoding.format, encoding.sample_rate, stopwatch.add_encoding)


def _captions(request: SpeechRequest, timeline: Timeline | None, safe_id: str) -> list[Artifact]:
    if request.captions is None or timeline is None:
        return []
    style = request.captions.style
    formats = dict.fromkeys(request.captions.formats)
    return [caption_artifact(safe_id, name, write_subtitles(timeline, name, style)) for name in formats]


def _response(
    job: Job, result: Result, encoding: AudioEncoding, audio: Delivered | None, others: Sequence[Delivered]
) -> SpeechResponse:
    """Return the response. `others`: captions, and after them the lines that are files of their own."""
    n_captions = max(0, len(others) - len(result.lines))
    captions, lines = others[:n_captions], others[n_captions:]
    fields: dict[str, Any] = {
        "audio": _audio_response(encoding, audio),
        "seed": result.speech.params.seed,
        "model": result.speech.model,
        "timings": _timings(job.request, result.timeline),
        "captions": _caption_responses(captions) or None,
        "metrics": _metrics(job, result),
        "warnings": [*job.warnings, *result.warnings],
    }
    if isinstance(job.request, DubInput):
        files = {
            str(index): _audio_response(replace(encoding, duration_s=len(samples) / SAMPLE_RATE), file)
            for index, (samples, file) in enumerate(zip(result.lines, lines, strict=False))
        }
        speech = result.speech
        return DubResponse(
            lines=list(speech.lines), speakers=list(speech.speakers) or None, cue_files=files or None, **fields
        )
    segments = [
        SegmentResponse(
            text=segment.text,
            speaker=segment.speaker,
            start_s=round(segment.start_s, 6),
            end_s=round(segment.end_s, 6),
            verified=None if kept is None else report_verified([kept]),
        )
        for segment, kept in zip_longest(result.segments, result.speech.kept)
    ]
    return SynthesizeResponse(segments=segments, **fields)


def _audio_response(encoding: AudioEncoding, file: Delivered | None) -> AudioResponse:
    fields: dict[str, Any] = {
        "format": encoding.format,
        "sample_rate": encoding.sample_rate,
        "duration_s": round(encoding.duration_s, 6),
    }
    if file is not None:
        fields |= {"bytes": file.n_bytes, "data": file.data, "url": file.url, "key": file.key}
        fields["expires_at"] = file.expires_at
    return AudioResponse(**fields)


def _caption_responses(files: Sequence[Delivered]) -> dict[str, CaptionResponse]:
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
        words=[word_response(word) for word in timeline.words],
        alignment=elevenlabs_alignment(timeline) if request.timings == "characters" else None,
    )


def _metrics(job: Job, result: Result) -> Metrics:
    engine_s = sum(item.worked_s for item in result.spoken)
    return Metrics(
        queue_ms=round(job.queued_s * 1e3, 2),
        engine_wait_ms=round(sum(item.waited_s for item in result.spoken) * 1e3, 2),
        engine_ms=round(engine_s * 1e3, 2),
        total_ms=round(job.stopwatch.total_ms(), 2),
        nfe=result.speech.params.nfe,
        rtf=round(engine_s / result.duration_s, 4) if result.duration_s else 0.0,
        cpu_ms={name.removesuffix("_ms"): round(value, 2) for name, value in job.stopwatch.cpu_ms.items()},
        **{name: round(value, 2) for name, value in job.stopwatch.ms.items()},
    )
