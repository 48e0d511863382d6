"""OpenAI's speech call as queue endpoints carry it: `{"openai_route": "/v1/audio/speech", "openai_input": {...}}`.

A queue endpoint answers in JSON, so the audio comes back as in any other response; a streaming worker sends OpenAI's
server-sent events instead where `stream_format` is `sse`. Its clients send what this worker does not know: that is
ignored, with a warning in the response.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import Field

from f5_worker.api.native import Contract, Json, Translated
from f5_worker.audio.formats import OPENAI_FORMATS
from f5_worker.errors import InvalidInput, UnknownVoice
from f5_worker.schema.faults import show
from f5_worker.schema.requests import MAX_SEED, MAX_TEXT_CHARS, Input, SynthesizeInput, check
from f5_worker.schema.responses import SpeechResponse
from f5_worker.schema.text import LANGUAGE
from f5_worker.schema.voices import AnyVoiceName, KeyedInput
from f5_worker.settings import variable
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk

ROUTE = "/v1/audio/speech"
OPUS_RATE = 48_000
MIN_SPEED, MAX_SPEED = 0.5, 2.0  # this worker's range; OpenAI's is 0.25 to 4
OPENAI_VOICES = frozenset("alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar".split())
MAX_TAG_CHARS = 35  # of a language tag, RFC 5646 4.4.1
MAX_NAMED = 8  # fields, and voices, in a warning or an error
_Number = TypeVar("_Number", int, float)
_OPENAI_MODELS = ("tts-", "gpt-")  # prefixes of OpenAI's own models, which clients send by default


class VoiceId(Input, extra="ignore"):
    """A voice as an object."""

    id: AnyVoiceName


class SpeechInput(KeyedInput, Input, extra="ignore"):
    """The body of `POST /v1/audio/speech`, and two fields of this worker's."""

    model: str = Field("", max_length=64)
    input: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    voice: str | VoiceId | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = 1.0
    stream_format: str = "audio"
    instructions: str = ""
    seed: int | None = None
    language: str = ""


@dataclass(frozen=True)
class OpenAISpeech(Translated):
    """A call whose voice may be missing, or a name of OpenAI's: `with_voice` replaces it."""


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

    def _parse(self) -> OpenAISpeech:
        """Parse the call; faults are named by OpenAI's names of the fields."""
        route = self._value.get("openai_route")
        if route != ROUTE:
            raise InvalidInput(f"openai_route {show(route)} is not served; use {ROUTE!r}")
        body = self._value.get("openai_input")
        if not isinstance(body, dict):
            raise InvalidInput('openai_input is not an object; send {"input": "...", "voice": "..."}')
        given = {name: value for name, value in body.items() if value is not None}
        speech = check(SpeechInput, given)
        self.sends_events = speech.stream_format == "sse"
        warnings = _ignored(given, speech)
        request = _request(speech, warnings)
        self.warnings = tuple(warnings)
        return OpenAISpeech(request, self.warnings)

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


def with_voice(speech: OpenAISpeech, worker: Worker) -> Translated:
    """Return the request with a voice of this worker for a missing one, a name of OpenAI's, or an alias.

    A voice that this worker has under that name comes first, then F5_VOICE_ALIASES, then F5_DEFAULT_VOICE.

    Raises:
        UnknownVoice: neither says what a missing voice, or OpenAI's, stands for.
    """
    name, aliases = speech.request.voice, worker.settings.voice_alias_names
    if name is not None and name not in OPENAI_VOICES | aliases.keys():
        return speech
    names = worker.voices.of(speech.request.voices_key).names()
    if name in names:
        return speech
    voice = aliases.get(name or "", worker.settings.default_voice)
    if voice is None:
        raise _no_voice_error(name, names)
    warnings = speech.warnings if name is None else (*speech.warnings, f"voice {name!r} is spoken by {voice!r} here")
    return Translated(speech.request.model_copy(update={"voice": voice}), warnings)


def _no_voice_error(name: str | None, names: Sequence[str]) -> UnknownVoice:
    said = "voice is missing" if name is None else f"voice {name!r} is one of OpenAI's"
    setting = variable("default_voice") + ("" if name is None else f" or {variable('voice_aliases')}")
    have = _listed(names) or "no voices"
    return UnknownVoice(f"{said}, and {setting} does not say which is meant; this worker has {have}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{more}"


def _ignored(given: Mapping[str, Any], speech: SpeechInput) -> list[str]:
    """Return the warnings about what has no effect."""
    warnings = []
    if unknown := [show(name) for name in given if name not in SpeechInput.model_fields]:
        warnings.append(f"{_listed(unknown)} ignored: not in this worker's form of the call")
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
        "speed": _clip("speed", speech.speed, MIN_SPEED, MAX_SPEED, warnings),
    }
    if speech.model and not speech.model.startswith(_OPENAI_MODELS):
        fields["model"] = speech.model
    if speech.response_format == "opus":
        fields["sample_rate"] = OPUS_RATE
    if speech.seed is not None:
        fields["seed"] = _clip("seed", speech.seed, 0, MAX_SEED, warnings)
    if speech.language:
        language = re.split("[-_]", speech.language[:MAX_TAG_CHARS].strip().lower())[0]  # en-US
        if re.fullmatch(LANGUAGE, language):
            fields["language"] = language
        else:
            warnings.append(f"language={show(speech.language)} ignored: send two letters, such as 'en'")
    return check(SynthesizeInput, fields)


def _clip(name: str, value: _Number, low: _Number, high: _Number, warnings: list[str]) -> _Number:
    clipped = min(max(value, low), high)
    if clipped != value:
        warnings.append(f"{name}={show(value)} is outside {low}..{high} and was read as {clipped}")
    return clipped


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, separators=(',', ':'))}\n\n"
