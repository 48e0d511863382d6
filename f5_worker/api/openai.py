"""OpenAI's speech call as queue endpoints carry it: `{"openai_route": "/v1/audio/speech", "openai_input": {...}}`.

A queue endpoint answers in JSON, so the audio comes back as in any other response; a streaming worker sends OpenAI's
server-sent events instead where `stream_format` is `sse`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from f5_worker.api.native import Contract, Json
from f5_worker.audio.formats import OPENAI_FORMATS
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import MAX_TEXT_CHARS, Input, SynthesizeInput, check, show
from f5_worker.schema.responses import SpeechResponse
from f5_worker.schema.voices import AnyVoiceName, KeyedInput
from f5_worker.synthesis.encoding import AudioChunk

ROUTE = "/v1/audio/speech"
OPUS_RATE = 48_000
_OPENAI_MODELS = ("tts-", "gpt-")  # prefixes of OpenAI's own models, which clients send by default


class VoiceId(Input):
    """A voice as an object."""

    id: AnyVoiceName


class SpeechInput(KeyedInput, Input):
    """The body of `POST /v1/audio/speech`."""

    model: str = Field("", max_length=64)
    input: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    voice: str | VoiceId
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(None, max_length=MAX_TEXT_CHARS)


def is_openai(value: Mapping[str, Any]) -> bool:
    """Return whether a job's input is a call of OpenAI's API."""
    return "openai_route" in value or "openai_input" in value


class OpenAIContract(Contract):
    """OpenAI's speech call."""

    _value: Mapping[str, Any]
    _sends_events = False

    def _parse(self) -> SynthesizeInput:
        """Parse the call; faults are named by OpenAI's names of the fields."""
        route = self._value.get("openai_route")
        if route != ROUTE:
            raise InvalidInput(f"openai_route {show(route)} is not served; use {ROUTE!r}")
        body = self._value.get("openai_input")
        if not isinstance(body, dict):
            raise InvalidInput('openai_input is not an object; send {"input": "...", "voice": "..."}')
        speech = check(SpeechInput, body)
        self._sends_events = speech.stream_format == "sse"
        return _request(speech)

    def chunk(self, index: int, chunk: AudioChunk) -> Json | str:
        """Return a chunk as a server-sent event, if events were asked for."""
        if not self._sends_events:
            return super().chunk(index, chunk)
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk.data).decode("ascii")})

    def last(self, response: SpeechResponse) -> Json | str:
        """Return the last event. OpenAI counts tokens; this worker counts characters and seconds."""
        if not self._sends_events:
            return super().last(response)
        usage = {"input_characters": len(self.request.text), "audio_seconds": response.audio.duration_s}
        return _event({"type": "speech.audio.done", "usage": usage})


def _request(speech: SpeechInput) -> SynthesizeInput:
    fields: dict[str, Any] = {
        "text": speech.input,
        "voice": speech.voice if isinstance(speech.voice, str) else speech.voice.id,
        "voices_key": speech.voices_key,
        "format": OPENAI_FORMATS[speech.response_format],
        "speed": min(max(speech.speed, 0.5), 2.0),  # this worker's range; OpenAI's is wider
    }
    if speech.model and not speech.model.startswith(_OPENAI_MODELS):
        fields["model"] = speech.model
    if speech.response_format == "opus":
        fields["sample_rate"] = OPUS_RATE
    return check(SynthesizeInput, fields)


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"
