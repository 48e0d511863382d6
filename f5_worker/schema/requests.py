"""The native contract's requests. The limits that no setting changes are here; responses are in responses.py."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.errors import InvalidInput, UnknownAction
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.schema.voices import KEY_FIELD, MAX_KEY_CHARS, MAX_VOICE_CHARS, MIN_KEY_CHARS, AnyVoiceName, KeyedInput

MAX_TEXT_CHARS = 20_000
MAX_SUBTITLE_CHARS = 400_000  # the SRT of ten hours of speech
MAX_SEED = 2**32 - 1
MAX_FAULTS = 20  # of one request that are told
VOICE_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
LANGUAGE = r"^[a-z]{2,3}$"

NFE_OF_QUALITY: Mapping[str, int] = {"fast": 7, "balanced": 16, "best": 32}
Quality = Literal["fast", "balanced", "best"]
AudioFormatName = Literal["wav", "wav_f32", "flac", "mp3", "opus", "aac", "pcm_s16le"]
SampleRate = Literal[8_000, 16_000, 22_050, 24_000, 44_100, 48_000]
CaptionFormat = Literal["srt", "vtt", "ass", "csv", "json"]
VoiceName = Annotated[str, Field(pattern=VOICE_NAME)]
Language = Annotated[str, Field(pattern=LANGUAGE)]


class Input(BaseModel):
    """The base of all requests: unknown fields, other types and infinite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class ReferenceInput(Input):
    """A clip of the caller's own."""

    audio: str = Field(min_length=1, description="The clip, up to 10 minutes: base64, a data URL, or an https URL.")
    transcript: str | None = Field(
        None,
        max_length=MAX_SUBTITLE_CHARS,
        description="Exactly the words spoken in the clip: text or subtitles. Absent: the recogniser writes them.",
    )
    language: Language | None = Field(None, description="Its language, such as `en`; absent: detected.")


class CaptionsInput(Input):
    """The subtitle files of a result."""

    formats: tuple[CaptionFormat, ...] = Field(
        ("srt",), min_length=1, max_length=5, strict=False, description="Any of srt, vtt, ass, csv, json."
    )
    style: SubtitleStyle = Field(default_factory=SubtitleStyle, description="How cues are made; see below.")


class _SpeechFields(KeyedInput, Input):
    """The fields that decide how the model speaks."""

    model: str | None = Field(None, max_length=64, description="Another checkpoint that this worker has, by name.")
    language: Language | None = Field(
        None, description="Language of the text: `en`; absent: the voice's or the model's."
    )
    normalize: bool = Field(True, description="Write out numbers, dates, units and abbreviations before speaking.")
    quality: Quality | None = Field(None, description="Steps of the model: fast 7, balanced 16 (default), best 32.")
    nfe_step: int | None = Field(None, ge=4, le=64, description="Or the number of steps itself, 4..64.")
    cfg_strength: float = Field(2.0, ge=0, le=10, description="How closely to follow text and voice, 0..10.")
    sway_sampling_coef: float | None = Field(
        -1.0, ge=-1, le=1, description="Sway sampling, -1..1: a negative value puts more steps early. null: even steps."
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="The same input and seed give the same audio.")


class _ResultFields(Input):
    """The fields that decide what is returned."""

    format: AudioFormatName = Field(
        "wav", description="wav, wav_f32, flac, mp3, opus (in ogg), aac (ADTS) or pcm_s16le (raw)."
    )
    sample_rate: SampleRate = Field(24_000, description="8000, 16000, 22050, 24000, 44100 or 48000 Hz.")
    loudness_lufs: float | None = Field(None, ge=-40, le=-8, description="Loudness by BS.1770, peaks below -1 dBTP.")
    trim_silence: bool = Field(False, description="Cut silence off both ends.")
    pad_start_s: float = Field(0.0, ge=0, le=10, description="Silence before the audio.")
    pad_end_s: float = Field(0.0, ge=0, le=10, description="Silence after the audio.")
    timings: Literal["words", "characters"] | None = Field(
        None, description="Times of each word; `characters` adds those of each character."
    )
    captions: CaptionsInput | None = Field(None, description="Subtitles: `{formats, style}`.")
    delivery: Literal["auto", "inline", "s3"] | None = Field(
        None, description="Where the result goes; `auto`: into the response while it fits, else to the bucket."
    )
    allow_reencode: bool = Field(False, description="Return a result that is too large as opus or mp3 instead.")

    @model_validator(mode="after")
    def _rate_exists(self) -> _ResultFields:
        rates = AUDIO_FORMATS[self.format].sample_rates
        if self.sample_rate not in rates:
            raise ValueError(f"{self.format} does not have {self.sample_rate} Hz; use {', '.join(map(str, rates))}")
        return self

    @property
    def wants_times(self) -> bool:
        """Return whether word times are needed."""
        return self.timings is not None or self.captions is not None


class SynthesizeInput(_SpeechFields, _ResultFields):
    """`action: "synthesize"`: speak a text in the voice of a reference."""

    action: Literal["synthesize"] = Field("synthesize", description="The action; this is the default.")
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, description="The text to speak, 1..20,000 characters.")
    voice: AnyVoiceName | None = Field(None, description="A voice of the library, by name.")
    reference: ReferenceInput | None = Field(None, description="Or a clip of your own: `{audio, transcript}`.")
    speed: float | None = Field(None, ge=0.5, le=2, description="Speaking rate relative to the reference's, 0.5..2.")
    fix_duration_s: float | None = Field(
        None, gt=0, le=3_600, description="Exact length of the result in seconds; `speed` is then ignored."
    )
    cross_fade_s: float | None = Field(
        None, ge=0, le=1, description="Overlap segments by this. Absent: they are trimmed and set apart by a pause."
    )
    first_segment_s: float | None = Field(
        None, ge=1, le=20, description="Target length of the first segment; when streaming, short by default."
    )

    @model_validator(mode="after")
    def _consistent(self) -> SynthesizeInput:
        if self.voice is not None and self.reference is not None:
            raise ValueError('give either voice: "<name>" or reference: {audio, transcript}')
        if self.fix_duration_s is not None and self.trim_silence:
            raise ValueError("give either fix_duration_s or trim_silence")
        _one_quality(self)
        return self


class DubInput(_SpeechFields, _ResultFields):
    """`action: "dub"`: one track in which each line of the subtitles starts at its time."""

    action: Literal["dub"]
    subtitles: str = Field(
        min_length=1, max_length=MAX_SUBTITLE_CHARS, description="Lines to speak and their times: SRT, VTT, ASS, ..."
    )
    non_speech: Literal["skip", "speak"] = Field(
        "skip", description="Sounds and music (`[door slams]`, `(sighs)`, `♪ la la ♪`): silent, or `speak` them."
    )
    voice: AnyVoiceName | None = Field(None, description="The voice of lines without a speaker.")
    reference: ReferenceInput | None = Field(None, description="Or a clip of your own: `{audio, transcript}`.")
    voices: dict[str, AnyVoiceName] = Field(
        default_factory=dict, max_length=32, description="Voices of the speakers: `{speaker: voice}`."
    )
    min_speed: float = Field(0.8, ge=0.5, le=1, description="Slowest speed of a line.")
    max_speed: float = Field(1.5, ge=1, le=2, description="Fastest speed of a line.")
    track_s: float | None = Field(
        None, gt=0, le=14_400, description="Length of the track; absent: until the last line's end."
    )

    @model_validator(mode="after")
    def _consistent(self) -> DubInput:
        if self.voice is not None and self.reference is not None:
            raise ValueError('give either voice: "<name>" or reference: {audio, transcript}')
        if self.trim_silence or self.pad_start_s:
            raise ValueError("trim_silence and pad_start_s would move the lines from their times; leave them out")
        _one_quality(self)
        return self


def _one_quality(job: _SpeechFields) -> None:
    if job.quality is not None and job.nfe_step is not None:
        raise ValueError("give either quality or nfe_step")


class VoiceDefaultsInput(Input):
    """The values of requests in this voice that do not set their own."""

    speed: float | None = Field(None, ge=0.5, le=2, description="Speaking rate.")
    quality: Quality | None = Field(None, description="Steps of the model.")
    language: Language | None = Field(None, description="Language of the text.")
    model: str | None = Field(None, max_length=64, description="Checkpoint.")


class VoicesAddInput(KeyedInput, Input):
    """`action: "voices.add"`: store a voice under a name."""

    action: Literal["voices.add"]
    name: VoiceName = Field(description="Small letters, digits, `-` and `_`, up to 64.")
    audio: str = Field(min_length=1, description="The clip, up to 10 minutes: base64, a data URL, or an https URL.")
    transcript: str | None = Field(
        None, max_length=MAX_SUBTITLE_CHARS, description="Its words: text or subtitles. Absent: from the recogniser."
    )
    consent: str | None = Field(
        None, description="Who agreed to the use of this voice, when and for what, in 10 to 2,000 characters."
    )
    defaults: VoiceDefaultsInput = Field(default_factory=VoiceDefaultsInput, description="Its defaults.")
    replace: bool = Field(False, description="Replace a voice of that name.")


class VoicesListInput(KeyedInput, Input):
    """`action: "voices.list"`: all voices, in order of their names."""

    action: Literal["voices.list"]
    after: str | None = Field(None, max_length=MAX_VOICE_CHARS, description="Names after this one.")
    limit: int = Field(1_000, ge=1, le=1_000, description="Number of voices, 1..1000.")


class VoicesGetInput(KeyedInput, Input):
    """`action: "voices.get"`: one voice, with its clip if asked for."""

    action: Literal["voices.get"]
    name: AnyVoiceName = Field(description="The voice.")
    with_audio: bool = Field(False, description="Also return the clip, as it was sent.")


class VoicesDeleteInput(KeyedInput, Input):
    """`action: "voices.delete"`: delete a voice, its clip and all copies."""

    action: Literal["voices.delete"]
    name: AnyVoiceName = Field(description="The voice.")


class VoicesReportInput(KeyedInput, Input):
    """`action: "voices.report"`: how well a clip, or a stored voice, will clone."""

    action: Literal["voices.report"]
    name: AnyVoiceName | None = Field(None, description="A voice of the library.")
    reference: ReferenceInput | None = Field(None, description="Or a clip: `{audio, transcript}`.")

    @model_validator(mode="after")
    def _one(self) -> VoicesReportInput:
        if (self.name is None) == (self.reference is None):
            raise ValueError('give either name: "<voice>" or reference: {audio, transcript}')
        return self


class HealthInput(Input):
    """`action: "health"`: the state of the worker; answered without the model."""

    action: Literal["health"]


class DiagnoseInput(Input):
    """`action: "diagnose"`: the boot report; answered without the model, and also when the worker could not start."""

    action: Literal["diagnose"]


VoiceRequest = VoicesAddInput | VoicesListInput | VoicesGetInput | VoicesDeleteInput | VoicesReportInput
SpeechRequest = SynthesizeInput | DubInput
Request = SpeechRequest | VoiceRequest | HealthInput | DiagnoseInput
ACTIONS: Mapping[str, type[Request]] = {
    get_args(kind.model_fields["action"].annotation)[0]: kind for kind in get_args(Request)
}

Checked = TypeVar("Checked", bound=BaseModel)

_JSON_NAMES = {
    type(None): "null",
    str: "a string",
    list: "a list",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


def parse_input(value: object) -> Request:
    """Parse the job's `input`.

    Raises:
        UnknownAction: `action` is not one of ACTIONS.
        InvalidInput: every fault of the input, each with field, value and accepted range.
    """
    if not isinstance(value, dict):
        kind = _JSON_NAMES.get(type(value), "not an object")
        raise InvalidInput(f'input is {kind}; send a JSON object such as {{"text": "Hello.", "voice": "joe"}}')
    action = value.get("action", "synthesize")
    if not isinstance(action, str) or action not in ACTIONS:
        raise UnknownAction(f"action {show(action)} does not exist{_nearest(action, ACTIONS)}; use {_either(ACTIONS)}")
    return check(ACTIONS[action], value)


def check(model: type[Checked], value: Mapping[str, Any]) -> Checked:
    """Validate `value` as a model.

    Raises:
        InvalidInput: every fault, up to MAX_FAULTS, each with field, value and accepted range.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [_fault(item, model) for item in error.errors(include_url=False)[:MAX_FAULTS]]
        more = error.error_count() - len(faults)
        raise InvalidInput("; ".join([*faults, f"and {more} more"] if more else faults)) from None


def _fault(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Describe one fault. The values of text fields are not repeated: they may be long or private."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, item["loc"][:-1])
        return f"unknown field {show(path)}{_nearest(item['loc'][-1], known)}"
    if item["type"] == "missing":
        return f"{path} is missing"
    message: str = item["msg"].removeprefix("Value error, ")
    if not path:
        return message
    if item["type"] == "string_unicode":
        return f"{path} holds a character that is not valid Unicode (a lone surrogate); remove it"
    given = item["input"]
    is_short = isinstance(given, int | float) or item["type"] == "literal_error"
    shown = f"={show(given)}" if is_short and item["loc"][-1] != KEY_FIELD else ""
    if item["type"].startswith("string_too"):
        shown = f" ({len(given)} characters)"
    if item["loc"][-1] == KEY_FIELD and item["type"].startswith("too_"):
        return f"{path} ({len(given)} characters): it should have {MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters"
    return f"{path}{shown}: {message[0].lower()}{message[1:]}"


def _fields_at(model: type[BaseModel], path: Iterable[object]) -> Iterable[str]:
    """Return the field names of the object at `path`."""
    for name in path:
        field = model.model_fields.get(str(name))
        inner = [kind for kind in _kinds(field.annotation) if isinstance(kind, type)] if field else []
        found = next((kind for kind in inner if issubclass(kind, BaseModel)), None)
        if found is None:
            return ()
        model = found
    return model.model_fields


def _kinds(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) or (annotation,)


def show(value: object) -> str:
    """Return a value for a message, cut to 40 characters, and before it is written: it may be 30 MB long."""
    text = repr(value[:41]) if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _nearest(name: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name)[:64], list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
