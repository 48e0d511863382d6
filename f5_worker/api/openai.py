"""OpenAI's speech call as queue endpoints carry it: `{"openai_route": "/v1/audio/speech", "openai_input": {...}}`.

A queue endpoint answers in JSON, so the audio comes back as in any other response; a streaming worker sends OpenAI's
server-sent events instead where `stream_format` is `sse`. Its clients send what this worker does not know: that is
ignored, with a warning in the response.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from f5_worker.api.native import Contract, Json
from f5_worker.api.other_services import (
    MAX_SPEED,
    MIN_SPEED,
    OtherServiceSpeech,
    clip_number,
    own_model,
    read_language,
    warn_of_unknown,
    without_nulls,
)
from f5_worker.audio.formats import OPENAI_FORMATS
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import check
from f5_worker.schema.faults import show
from f5_worker.schema.requests import MAX_SEED, MAX_TEXT_CHARS, Input, SynthesizeInput
from f5_worker.schema.responses import SpeechResponse
from f5_worker.schema.verify import VerifyFields
from f5_worker.schema.voices import AnyVoiceName, KeyedInput
from f5_worker.synthesis.encoding import AudioChunk

ROUTE = "/v1/audio/speech"
OPUS_RATE = 48_000


class VoiceId(Input, extra="ignore"):
    """A voice as an object."""

    id: AnyVoiceName


class SpeechInput(KeyedInput, VerifyFields, Input, extra="ignore"):
    """The body of `POST /v1/audio/speech`, and fields of this worker's."""

    model: str = Field("", max_length=64)
    input: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    voice: str | VoiceId | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = 1.0
    stream_format: str = "audio"
    instructions: str = ""
    seed: int | None = None
    language: str = ""


def is_openai(value: Mapping[str, Any]) -> bool:
    """Return whether a job's input is a call of OpenAI's API."""
    return "openai_route" in value or "openai_input" in value


class OpenAIContract(Contract):
    """OpenAI's speech call.

    Attributes:
        sends_events: `stream_format` is `sse`; set by `read`.
        warnings: about what has no effect; set by `read`.
    """

    sends_events = False
    warnings: Sequence[str] = ()
    _value: Mapping[str, Any]

    def _parse(self) -> OtherServiceSpeech:
        """Parse the call; faults are named by OpenAI's names of the fields."""
        route = self._value.get("openai_route")
        if route != ROUTE:
            raise InvalidInput(f"openai_route {show(route)} is not served; use {ROUTE!r}")
        body = self._value.get("openai_input")
        if not isinstance(body, dict):
            raise InvalidInput('openai_input is not an object; send {"input": "...", "voice": "..."}')
        given = without_nulls(body)
        speech = check(SpeechInput, given)
        self.sends_events = speech.stream_format == "sse"
        warnings = _ignored(given, speech)
        request = _request(speech, warnings)
        self.warnings = tuple(warnings)
        return OtherServiceSpeech(request, self.warnings)

    def chunk(self, index: int, chunk: AudioChunk) -> Json | str:
        """Return a chunk as a server-sent event, if events were asked for."""
        if not self.sends_events:
            return super().chunk(index, chunk)
        return _event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk.data).decode("ascii")})

    def last(self, response: SpeechResponse) -> Json | str:
        """Return the last event. OpenAI counts tokens; this worker counts characters and seconds."""
        if not self.sends_events:
            return super().last(response)
        usage = {"input_characters": len(self.request.text), "audio_seconds": response.audio.duration_s}
        done = {"type": "speech.audio.done", "usage": usage}
        return _event(done | ({"warnings": response.warnings} if response.warnings else {}))


def _ignored(given: Mapping[str, Any], speech: SpeechInput) -> list[str]:
    """Return the warnings about what has no effect."""
    warnings = warn_of_unknown(given, SpeechInput)
    if speech.instructions:
        warnings.append("instructions ignored: the voice decides how the text is spoken")
    if speech.stream_format not in ("audio", "sse"):
        warnings.append(f"stream_format={show(speech.stream_format)} ignored: it is audio or sse")
    return warnings


def _request(speech: SpeechInput, warnings: list[str]) -> SynthesizeInput:
    """Return the native request; warnings about values that were changed are appended."""
    fields: dict[str, Any] = {
        "text": speech.input,
        "voice": speech.voice.id if isinstance(speech.voice, VoiceId) else speech.voice or None,
        "voices_key": speech.voices_key,
        "format": OPENAI_FORMATS[speech.response_format],
        "speed": clip_number("speed", speech.speed, MIN_SPEED, MAX_SPEED, warnings),
        "model": own_model(speech.model),
        **speech.verify_fields,
    }
    if speech.response_format == "opus":
        fields["sample_rate"] = OPUS_RATE
    if speech.seed is not None:
        fields["seed"] = clip_number("seed", speech.seed, 0, MAX_SEED, warnings)
    fields["language"] = read_language("language", speech.language, warnings)
    return check(SynthesizeInput, fields)


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"
