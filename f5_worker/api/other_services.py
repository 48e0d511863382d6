"""What the calls of other services have in common: voices and values that this worker reads in its own way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from f5_worker.api.native import Translated
from f5_worker.errors import UnknownVoice, list_some
from f5_worker.schema.faults import show
from f5_worker.schema.text import LANGUAGE
from f5_worker.settings import variable
from f5_worker.synthesis.context import Worker

MIN_SPEED, MAX_SPEED = 0.5, 2.0  # this worker's range; OpenAI's is 0.25 to 4, ElevenLabs' 0.7 to 1.2
MAX_TAG_CHARS = 35  # of a language tag, RFC 5646 4.4.1
MAX_NAMED = 8  # fields, and voices, in a warning or an error
OPENAI_VOICES = frozenset("alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar".split())
ELEVENLABS_VOICE_CHARS = 20  # letters and digits, such as JBFqnCBsd6RMkjVDRZzb
_OTHER_MODELS = ("tts-", "gpt-", "eleven_")  # prefixes of the services' own models, which clients send by default
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class OtherServiceSpeech(Translated):
    """A call whose voice may be missing, or one of another service: `with_voice` replaces it."""


def with_voice(speech: OtherServiceSpeech, worker: Worker) -> Translated:
    """Return the request with a voice of this worker for a missing one, a name of another service's, or an alias.

    A voice that this worker has under that name comes first, then F5_VOICE_ALIASES, then F5_DEFAULT_VOICE.

    Raises:
        UnknownVoice: neither says what a missing voice, or another service's, stands for.
    """
    name, aliases = speech.request.voice, worker.settings.voice_alias_names
    if name is not None and name not in aliases and service_of_voice(name) is None:
        return speech
    names = worker.voices.of(speech.request.voices_key).names()
    if name in names:
        return speech
    voice = aliases.get(name or "", worker.settings.default_voice)
    if voice is None:
        raise _no_voice_error(name, names)
    warnings = speech.warnings if name is None else (*speech.warnings, f"voice {name!r} is spoken by {voice!r} here")
    return Translated(speech.request.model_copy(update={"voice": voice}), warnings)


def service_of_voice(name: str) -> str | None:
    """Return whose voices have names of this form; None for a name of this worker's."""
    if name in OPENAI_VOICES:
        return "OpenAI"
    is_mixed = name.isascii() and name.isalnum() and name != name.lower()
    return "ElevenLabs" if is_mixed and len(name) == ELEVENLABS_VOICE_CHARS else None


def own_model(name: str) -> str | None:
    """Return the name of a checkpoint that a call asks for; None for no name, or a model of another service."""
    return name if name and not name.startswith(_OTHER_MODELS) else None


def clip_number(name: str, value: _Number, low: _Number, high: _Number, warnings: list[str]) -> _Number:
    """Return the value within the range; append a warning where it was outside."""
    clipped = min(max(value, low), high)
    if clipped != value:
        warnings.append(f"{name}={show(value)} is outside {low}..{high} and was read as {clipped}")
    return clipped


def read_language(name: str, tag: str, warnings: list[str]) -> str | None:
    """Return the language of a tag such as `en-US`, None for none; append a warning about one that is not a tag."""
    language = re.split("[-_]", tag[:MAX_TAG_CHARS].strip().lower())[0]
    if not tag or re.fullmatch(LANGUAGE, language):
        return language or None
    warnings.append(f"{name}={show(tag)} ignored: send two letters, such as 'en'")
    return None


def warn_of_unknown(given: Iterable[str], model: type[BaseModel]) -> list[str]:
    """Return the warning about fields that are not in this worker's form of a call, if there are any."""
    unknown = [show(name) for name in given if name not in model.model_fields]
    return [f"{list_some(unknown, MAX_NAMED)} ignored: not in this worker's form of the call"] if unknown else []


def without_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null: in these calls null means absent."""
    return {name: value for name, value in body.items() if value is not None}


def _no_voice_error(name: str | None, names: Sequence[str]) -> UnknownVoice:
    said = "voice is missing" if name is None else f"voice {name!r} is one of {service_of_voice(name)}'s"
    setting = variable("default_voice") + ("" if name is None else f" or {variable('voice_aliases')}")
    have = list_some(names, MAX_NAMED) or "no voices"
    return UnknownVoice(f"{said}, and {setting} does not say which is meant; this worker has {have}")
