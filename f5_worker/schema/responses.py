"""What comes back: the shapes of all replies. Fields that are None are left out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from f5_worker.schema.requests import AudioFormatName


class Response(BaseModel):
    """Any reply."""

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class AudioResponse(Response):
    """The sound: in base64, or where it lies in the bucket. `bytes` is the file's size; `expires_at` is ISO 8601."""

    format: AudioFormatName
    sample_rate: int
    duration_s: float
    bytes: int | None = None
    base64: str | None = None
    url: str | None = None
    key: str | None = None
    expires_at: str | None = None


class CaptionResponse(Response):
    """One subtitle file: its text, or where it lies."""

    content: str | None = None
    url: str | None = None
    key: str | None = None
    expires_at: str | None = None


class SegmentResponse(Response):
    """One piece of the text and where it is heard."""

    text: str
    start_s: float
    end_s: float


class WordResponse(Response):
    """One word of the text as sent; `confidence` only where its time was measured."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


class TimingsResponse(Response):
    """When each word is heard; `alignment` has ElevenLabs' shape."""

    source: Literal["aligned", "estimated"]
    words: list[WordResponse]
    alignment: dict[str, list[Any]] | None = None


class LineResponse(Response):
    """One line of a dubbed track: where it was asked for and where it is heard."""

    index: int
    speaker: str | None = None
    text: str
    slot_start_s: float
    slot_end_s: float
    start_s: float
    end_s: float
    speed: float
    overlap_s: float


class Metrics(Response):
    """Where the time went, in milliseconds; `rtf` is engine time per second of audio."""

    queue_ms: float
    reference_ms: float
    text_ms: float
    engine_wait_ms: float
    engine_ms: float
    timing_ms: float = 0.0
    post_ms: float = 0.0
    encode_ms: float = 0.0
    delivery_ms: float = 0.0
    total_ms: float
    nfe: int
    rtf: float


class SpeechResponse(Response):
    """What every spoken result has."""

    audio: AudioResponse
    seed: int
    model: str
    timings: TimingsResponse | None = None
    captions: dict[str, CaptionResponse] | None = None
    metrics: Metrics
    warnings: list[str]


class SynthesizeResponse(SpeechResponse):
    """What `synthesize` returns."""

    segments: list[SegmentResponse]


class DubResponse(SpeechResponse):
    """What `dub` returns."""

    lines: list[LineResponse]


class ChunkAudioResponse(Response):
    """A piece of the file; joined in order the pieces are the file."""

    format: AudioFormatName
    sample_rate: int
    base64: str


class ChunkResponse(Response):
    """One streamed piece. `start_s` and `duration_s`: of the sound that was joined to the stream with it."""

    index: int
    audio: ChunkAudioResponse
    start_s: float
    duration_s: float
    words: list[WordResponse] | None = None


class HealthResponse(Response):
    """What `health` returns. `voices` are those not in a bucket; `bucket` is `none`, `ok` or what is wrong with it."""

    status: Literal["ok"] = "ok"
    version: str
    model: str
    models: list[str]
    device: str
    precision: str
    voices: list[str]
    recogniser: bool
    bucket: str
    streaming: bool
    uptime_s: float
    jobs_running: int
