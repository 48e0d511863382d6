"""ElevenLabs' speech call, as its clients write and read it.

Its voices' settings are those of another model: `speed` has an effect here, the others are ignored with a warning.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field

from f5_worker.alignment.build import character_times
from f5_worker.alignment.timeline import Word
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
from f5_worker.audio.formats import AUDIO_FORMATS, ELEVENLABS_FORMATS
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import check
from f5_worker.schema.faults import show
from f5_worker.schema.requests import MAX_SEED, MAX_TEXT_CHARS, Input, SynthesizeInput
from f5_worker.schema.responses import SpeechResponse
from f5_worker.schema.verify import VerifyFields
from f5_worker.schema.voices import AnyVoiceName, KeyedInput
from f5_worker.synthesis.encoding import AudioChunk

DEFAULT_OUTPUT_FORMAT = "mp3_44100_128"
TIME_DECIMALS = 3
_OUTPUT_FORMAT = re.compile(r"([a-z0-9]+)_([0-9]{4,5})(?:_([0-9]{2,3}))?")
_WITHOUT_EFFECT = ("stability", "similarity_boost", "style", "use_speaker_boost")


class SpeakerSettings(Input, extra="ignore"):
    """The body's `voice_settings`."""

    speed: float | None = None


class ElevenLabsBody(KeyedInput, VerifyFields, Input, extra="ignore"):
    """The body of `POST /v1/text-to-speech/{voice}`."""

    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, description="The text to speak.")
    model_id: str = Field("", max_length=64, description="A checkpoint; `eleven_...` means the default.")
    language_code: str = Field("", description="Language of the text, such as `en`.")
    voice_settings: dict[str, Any] = Field(default_factory=dict, description="`speed`; others are ignored.")
    seed: int | None = Field(None, description="The same call and seed give the same audio.")
    apply_text_normalization: Literal["auto", "on", "off"] = Field("auto", description="`off`: text as it is spoken.")


class ElevenLabsInput(ElevenLabsBody, extra="ignore"):
    """A speech call: its body, and what its address says."""

    voice: AnyVoiceName
    output_format: str = DEFAULT_OUTPUT_FORMAT


class OutputFormat(NamedTuple):
    """An output format as this worker makes it, and the bit rate that was asked for, if any."""

    format: str
    sample_rate: int
    kbit_per_s: int | None


class Character(NamedTuple):
    """A character of the text, and when it is spoken."""

    character: str
    start_s: float
    end_s: float


class ElevenLabsContract(Contract):
    """ElevenLabs' speech call: the fields of ElevenLabsInput.

    Args:
        timed: the times of characters are asked for.

    Attributes:
        warnings: about what has no effect; set by `read`.
    """

    warnings: Sequence[str] = ()
    _value: Mapping[str, Any]

    def __init__(self, value: Mapping[str, Any], job_id: str, *, timed: bool) -> None:
        super().__init__(value, job_id)
        self._timed = timed

    def _parse(self) -> OtherServiceSpeech:
        """Parse the call; faults are named by ElevenLabs' names of the fields."""
        given = without_nulls(self._value)
        speech = check(ElevenLabsInput, given)
        warnings = warn_of_unknown(given, ElevenLabsInput)
        if ignored := [name for name in _WITHOUT_EFFECT if speech.voice_settings.get(name) is not None]:
            warnings.append(f"voice_settings: {', '.join(ignored)} ignored: the voice's clip decides")
        request = _request(speech, self._timed, warnings)
        self.warnings = tuple(warnings)
        self._characters = CharacterTimes(request.text)
        return OtherServiceSpeech(request, self.warnings)

    def whole(self, data: bytes, response: SpeechResponse) -> Json:
        """Return the whole audio, whose chunks came before the response, with the times of its characters."""
        assert response.timings is not None, "times were asked for"  # noqa: S101
        return _timed_audio(data, response.timings.alignment)

    def chunk(self, index: int, chunk: AudioChunk) -> Json:
        """Return a chunk with the times of its characters in the whole audio."""
        characters = self.take_characters(chunk)
        alignment = None
        if characters:
            alignment = {
                "characters": [each.character for each in characters],
                "character_start_times_seconds": [round(each.start_s, TIME_DECIMALS) for each in characters],
                "character_end_times_seconds": [round(each.end_s, TIME_DECIMALS) for each in characters],
            }
        return _timed_audio(chunk.data, alignment)

    def take_characters(self, chunk: AudioChunk) -> list[Character]:
        """Return the characters that became known with a chunk, which comes after the one of the last call."""
        return self._characters.take(chunk.words)

    @property
    def has_all_characters(self) -> bool:
        """Return whether no character comes after those that were taken."""
        return self._characters.is_complete


class CharacterTimes:
    """The times of a text's characters out of those of its words, word by word.

    A word's time is shared among its letters, marks between letters take none, nor does white space, which comes with
    the word before it.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._n_taken = 0
        self._at_s = 0.0

    @property
    def is_complete(self) -> bool:
        """Return whether all were taken."""
        return self._n_taken == len(self._text)

    def take(self, words: Iterable[Word]) -> list[Character]:
        """Return the characters up to the last of the words, and the white space behind it."""
        taken: list[Character] = []
        for word in words:
            taken += self._silent(word.begin)
            taken += [
                Character(character, *times) for character, times in zip(word.text, character_times(word), strict=True)
            ]
            self._n_taken, self._at_s = word.end, word.end_s
        if taken:
            rest = self._text[self._n_taken :]
            taken += self._silent(self._n_taken + len(rest) - len(rest.lstrip()))
        return taken

    def _silent(self, end: int) -> list[Character]:
        begin, self._n_taken = self._n_taken, max(self._n_taken, end)
        return [Character(character, self._at_s, self._at_s) for character in self._text[begin:end]]


def parse_output_format(name: str) -> OutputFormat:
    """Return the format that a name such as `mp3_44100_128` stands for.

    Raises:
        InvalidInput: this worker does not make it; the message has those that it does.
    """
    found = _OUTPUT_FORMAT.fullmatch(name)
    format = ELEVENLABS_FORMATS.get(found[1]) if found else None
    if found is None or format is None or int(found[2]) not in AUDIO_FORMATS[format].sample_rates:
        raise InvalidInput(f"output_format {show(name)} is not made here; use {', '.join(_output_formats())}")
    return OutputFormat(format, int(found[2]), int(found[3]) if found[3] else None)


def _timed_audio(data: bytes, alignment: Json | None) -> Json:
    audio = base64.b64encode(data).decode("ascii")
    return {"audio_base64": audio, "alignment": alignment, "normalized_alignment": alignment}


def _output_formats() -> Iterable[str]:
    for prefix, name in ELEVENLABS_FORMATS.items():
        for sample_rate in AUDIO_FORMATS[name].sample_rates:
            bits_per_s = AUDIO_FORMATS[name].codec.bits_per_s(sample_rate)
            yield f"{prefix}_{sample_rate}" + ("" if bits_per_s is None else f"_{bits_per_s // 1_000}")


def _request(speech: ElevenLabsInput, timed: bool, warnings: list[str]) -> SynthesizeInput:
    """Return the native request; warnings about values that were changed are appended."""
    output = parse_output_format(speech.output_format)
    bits_per_s = AUDIO_FORMATS[output.format].codec.bits_per_s(output.sample_rate)
    if output.kbit_per_s is not None and bits_per_s is not None and output.kbit_per_s * 1_000 != bits_per_s:
        warnings.append(f"output_format: {output.format} has {bits_per_s // 1_000} kbit/s here")
    fields: dict[str, Any] = {
        "text": speech.text,
        "voice": speech.voice,
        "voices_key": speech.voices_key,
        "format": output.format,
        "sample_rate": output.sample_rate,
        "model": own_model(speech.model_id),
        "language": read_language("language_code", speech.language_code, warnings),
        "normalize": speech.apply_text_normalization != "off",
        "timings": "characters" if timed else None,
        "delivery": "inline",
        **speech.verify_fields,
    }
    settings = check(SpeakerSettings, speech.voice_settings)
    if settings.speed is not None:
        fields["speed"] = clip_number("speed", settings.speed, MIN_SPEED, MAX_SPEED, warnings)
    if speech.seed is not None:
        fields["seed"] = clip_number("seed", speech.seed, 0, MAX_SEED, warnings)
    return check(SynthesizeInput, fields)
