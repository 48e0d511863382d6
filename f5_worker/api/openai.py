"""OpenAI's speech call as queue endpoints carry it: `{"openai_route": "/v1/audio/speech", "openai_input": {...}}`.

A queue endpoint answers in JSON, so the sound comes back as in any other reply; a streaming worker sends
OpenAI's server-sent events instead where `stream_format` is `sse`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import MAX_TEXT_CHARS, AudioFormatName, Input, SynthesizeInput, check
from f5_worker.schema.responses import ChunkResponse

ROUTE = "/v1/audio/speech"
FORMATS: Mapping[str, AudioFormatName] = {
    "mp3": "mp3",
    "opus": "opus",
    "aac": "aac",
    "flac": "flac",
    "wav": "wav",
    "pcm": "pcm_s16le",
}
OPUS_RATE = 48_000
_FOREIGN_MODELS = ("tts-", "gpt-")  # names of OpenAI's own models, which clients send by default


class VoiceId(Input):
    id: str = Field(min_length=1, max_length=64)


class SpeechInput(Input):
    """The body of `POST /v1/audio/speech`."""

    model: str = Field("", max_length=64)
    input: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    voice: str | VoiceId
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(None, max_length=MAX_TEXT_CHARS)


def is_openai(value: Mapping[str, Any]) -> bool:
    return "openai_route" in value or "openai_input" in value


def read(value: Mapping[str, Any]) -> tuple[SynthesizeInput, bool]:
    """The job, and whether its reply is wanted as server-sent events.

    Raises:
        InvalidInput: another route, or a field that is wrong, by OpenAI's name for it.
    """
    if value.get("openai_route") != ROUTE:
        raise InvalidInput(f"openai_route {value.get('openai_route')!r} is not served; use {ROUTE!r}")
    body = value.get("openai_input")
    if not isinstance(body, dict):
        raise InvalidInput('openai_input is no object; send {"input": "...", "voice": "..."}')
    speech = check(SpeechInput, body)
    job: dict[str, Any] = {
        "text": speech.input,
        "voice": speech.voice if isinstance(speech.voice, str) else speech.voice.id,
        "format": FORMATS[speech.response_format],
        "speed": min(max(speech.speed, 0.5), 2.0),  # this worker's range; OpenAI's is wider
    }
    if speech.model and not speech.model.startswith(_FOREIGN_MODELS):
        job["model"] = speech.model
    if speech.response_format == "opus":
        job["sample_rate"] = OPUS_RATE
    return check(SynthesizeInput, job), speech.stream_format == "sse"


def event(chunk: ChunkResponse) -> str:
    """One piece of sound as a server-sent event."""
    return _event({"type": "speech.audio.delta", "audio": chunk.audio.base64})


def done_event(characters: int, audio_s: float) -> str:
    """The last event. OpenAI counts tokens; characters and seconds are what there is to count here."""
    return _event({"type": "speech.audio.done", "usage": {"input_characters": characters, "audio_seconds": audio_s}})


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"
