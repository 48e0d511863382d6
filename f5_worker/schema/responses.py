"""The native contract's responses. Fields that are None are left out."""

from __future__ import annotations

import base64
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from f5_worker.schema.requests import AudioFormatName

Data: TypeAlias = bytes  # `bytes` is a field's name below


class Response(BaseModel):
    """Any response."""

    model_config = ConfigDict(defer_build=True)  # as for requests: built when it is first used

    def to_json(self) -> dict[str, Any]:
        """Return the response as JSON values, without the fields that are None."""
        return self.model_dump(exclude_none=True, by_alias=True)


class _WithData(Response):
    """A response that may carry a file, which JSON has as `base64`."""

    @field_serializer("data", check_fields=False)
    def _to_base64(self, data: Data | None) -> str | None:
        return None if data is None else base64.b64encode(data).decode("ascii")


class AudioResponse(_WithData):
    """The audio: the file itself, or its key in the bucket. `bytes` is its size; `expires_at` is ISO 8601."""

    format: AudioFormatName
    sample_rate: int
    duration_s: float
    bytes: int | None = None
    data: Data | None = Field(None, serialization_alias="base64")
    url: str | None = None
    key: str | None = None
    expires_at: str | None = None


class CaptionResponse(Response):
    """One subtitle file: its text, or its key in the bucket."""

    content: str | None = None
    url: str | None = None
    key: str | None = None
    expires_at: str | None = None


class VerifiedResponse(Response):
    """Verdict of the recogniser on a segment, or on a line, in the take that was kept.

    Attributes:
        passed: it says its text, within the limits that were asked for.
        wer: share of its words that are wrong, missing or too many.
        run: how many of them in a row.
        similarity: of its voice to the reference, -1..1; where a speaker encoder is there and it is not too short.
        takes: how often it was spoken.
        seed: of a request that speaks it with the noise of this take, whose length may be another.
        faults: what is wrong, and `heard`: what was heard instead; where it did not pass.
    """

    passed: bool
    wer: float
    run: int
    similarity: float | None = None
    takes: int
    seed: int
    faults: list[str] | None = None
    heard: str | None = None


class SegmentResponse(Response):
    """One segment of the text, and when it is spoken; `speaker` where the text names one."""

    text: str
    speaker: str | None = None
    start_s: float
    end_s: float
    verified: VerifiedResponse | None = None


class WordResponse(Response):
    """One word of the text as sent; `confidence` only where its time was measured."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


class TimingsResponse(Response):
    """When each word is spoken; `alignment` has the form of ElevenLabs' responses."""

    source: Literal["aligned", "estimated"]
    words: list[WordResponse]
    alignment: dict[str, list[Any]] | None = None


class LineResponse(Response):
    """One line of a dubbed track: the times it was asked for and those at which it is spoken.

    Attributes:
        fit: what its length took, where the request has `fit`: `slot`, `gap`, `speed` or `overrun`.
    """

    index: int
    speaker: str | None = None
    text: str
    slot_start_s: float
    slot_end_s: float
    start_s: float
    end_s: float
    speed: float
    overlap_s: float
    fit: Literal["slot", "gap", "speed", "overrun"] | None = None
    verified: VerifiedResponse | None = None


class SpeakerResponse(Response):
    """The voice that speaks the lines of a speaker in a dub from a source.

    Attributes:
        speaker: absent: of the lines without one.
        voice: of the library; absent: a clip, of the source or the request's own.
        transcript, clip_s: of the clip that is cloned.
        clip_start_s: where it begins in the source.
        verdict: see `voices.report`.
    """

    speaker: str | None = None
    voice: str | None = None
    transcript: str
    clip_s: float
    clip_start_s: float | None = None
    verdict: Literal["good", "usable", "poor"]


class Metrics(Response):
    """Time spent in each stage, in milliseconds; `rtf` is engine time per second of audio."""

    queue_ms: float
    reference_ms: float
    text_ms: float
    engine_wait_ms: float
    engine_ms: float
    verify_ms: float = 0.0
    timing_ms: float = 0.0
    post_ms: float = 0.0
    encode_ms: float = 0.0
    delivery_ms: float = 0.0
    total_ms: float
    nfe: int
    rtf: float


class SpeechResponse(Response):
    """The fields that every spoken result has."""

    audio: AudioResponse
    seed: int
    model: str
    timings: TimingsResponse | None = None
    captions: dict[str, CaptionResponse] | None = None
    metrics: Metrics
    warnings: list[str]


class TakeResponse(Response):
    """One of several takes of a text: `audio` of those that are not the response's own."""

    seed: int
    verified: VerifiedResponse | None = None
    audio: AudioResponse | None = None


class SynthesizeResponse(SpeechResponse):
    """The response to `synthesize`: of the best take, where there are several."""

    segments: list[SegmentResponse]
    takes: list[TakeResponse] | None = None


class DubResponse(SpeechResponse):
    """The response to `dub`.

    Attributes:
        speakers: with a source.
        cue_files: each line as a file of its own, by its index, if asked for.
    """

    lines: list[LineResponse]
    speakers: list[SpeakerResponse] | None = None
    cue_files: dict[str, AudioResponse] | None = None


class ErrorResponse(Response):
    """An error of a part of a job, as `code` and what would follow it in the error of a whole job."""

    code: str
    message: str


class BatchItemResponse(Response):
    """One item of a batch with its `result` or its `error`.

    Attributes:
        index: its place in the request.
        resumed: it was found, spoken by an earlier job with the same `resume_key`.
    """

    id: str
    index: int
    resumed: bool | None = None
    result: SynthesizeResponse | None = None
    error: ErrorResponse | None = None


class BatchResponse(Response):
    """The response to `batch`: how many items have a result and an error. `items` is absent in the end of a stream."""

    succeeded: int
    failed: int
    items: list[BatchItemResponse] | None = None


class ChunkAudioResponse(_WithData):
    """A part of the file; joined in order the parts are the file."""

    format: AudioFormatName
    sample_rate: int
    data: Data = Field(serialization_alias="base64")


class ChunkResponse(Response):
    """One item of a stream. `start_s` and `duration_s` are of the audio that this item adds."""

    index: int
    audio: ChunkAudioResponse
    start_s: float
    duration_s: float
    words: list[WordResponse] | None = None


class ChangePreview(Response):
    """A part of the text as sent, `[begin, end)` in its characters, that is said otherwise than it is written."""

    begin: int
    end: int
    written: str
    spoken: str


class SentencePreview(Response):
    """A sentence as it will be spoken, the span in the text that it is from, and what differs between the two.

    Attributes:
        segment: index of the segment that it begins in.
        voice: None for the request's own.
    """

    spoken: str
    begin: int
    end: int
    language: str
    voice: str | None = None
    speaker: str | None = None
    segment: int
    changes: list[ChangePreview]


class SegmentPreview(Response):
    """A segment. estimated_s: its length; pause_s: the silence after it, `exact` where the text asks for it."""

    text: str
    voice: str | None = None
    speaker: str | None = None
    estimated_s: float
    pause_s: float
    exact: bool


class PreviewResponse(Response):
    """The reading of a text, without speech.

    lead_s: the silence before the first segment; estimated_s: the length of the whole.
    """

    model: str
    language: str
    sentences: list[SentencePreview]
    segments: list[SegmentPreview]
    lead_s: float
    estimated_s: float
    warnings: list[str]


class AttentionResponse(Response):
    """What computes attention for a class of rows, and the microseconds that it took for an example of them."""

    backend: str
    us: float


class HealthResponse(Response):
    """The response to `health`.

    Attributes:
        engine: `upstream` where f5-tts runs the model.
        devices: all that jobs are shared out to; `device` is the first.
        attention: by class of rows, on a GPU once it was measured.
        voices: those that are not in a bucket.
        bucket: `none`, `ok` or what is wrong.
    """

    status: Literal["ok"] = "ok"
    version: str
    model: str
    models: list[str]
    engine: Literal["own", "upstream"]
    device: str
    devices: list[str]
    precision: str
    attention: dict[str, AttentionResponse]
    voices: list[str]
    recogniser: bool
    speaker_encoder: bool
    bucket: str
    streaming: bool
    uptime_s: float
    jobs_running: int


class UnavailableResponse(Response):
    """The response to `health` of a worker that could not start."""

    status: Literal["unavailable"] = "unavailable"
    version: str
    reason: str
