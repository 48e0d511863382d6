"""The job contract: what a caller may send and what comes back. The limits that no setting moves live here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from f5_worker.errors import InvalidInput, UnknownAction

MAX_TEXT_CHARS = 20_000
MAX_SEED = 2**32 - 1

NFE_OF_QUALITY: Mapping[str, int] = {"fast": 7, "balanced": 16, "best": 32}
Format = Literal["wav", "flac", "mp3", "opus", "pcm_s16le"]
SampleRate = Literal[8_000, 16_000, 22_050, 24_000, 44_100, 48_000]
OPUS_RATES = (8_000, 16_000, 24_000, 48_000)  # RFC 6716 knows no others (and 12 kHz)


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ReferenceInput(_Input):
    """The caller's own clip."""

    audio: str = Field(min_length=1, description="The clip: base64, a data URL, or an https URL.")
    transcript: str = Field(max_length=MAX_TEXT_CHARS, description="Exactly the words spoken in the clip.")


class SynthesizeInput(_Input):
    """`action: "synthesize"`: speak a text in the voice of a reference."""

    action: Literal["synthesize"] = Field("synthesize", description="What to do; this is the default.")
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, description="What to say, 1..20,000 characters.")
    voice: str | None = Field(None, max_length=64, description="A voice that ships with the model, by name.")
    reference: ReferenceInput | None = Field(None, description="Or a clip of your own: `{audio, transcript}`.")
    quality: Literal["fast", "balanced", "best"] | None = Field(
        None, description="Steps of the model: fast 7, balanced 16 (default), best 32."
    )
    nfe_step: int | None = Field(None, ge=4, le=64, description="Or the number of steps itself, 4..64.")
    cfg_strength: float = Field(2.0, ge=0, le=10, description="How closely to follow text and voice, 0..10.")
    sway_sampling_coef: float | None = Field(
        -1.0, ge=-1, le=1, description="Where the steps lie, -1..1; negative: more of them early. null: evenly."
    )
    speed: float = Field(1.0, ge=0.5, le=2, description="Speaking rate against the reference's, 0.5..2.")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Same input and seed give the same samples.")
    fix_duration_s: float | None = Field(
        None, gt=0, le=3_600, description="Exact length of the result in seconds; `speed` is then ignored."
    )
    cross_fade_s: float | None = Field(
        None, ge=0, le=1, description="Overlap segments by this much. Absent: trimmed and set apart by a pause."
    )
    format: Format = Field("wav", description="wav, flac, mp3, opus (in ogg) or pcm_s16le (raw).")
    sample_rate: SampleRate = Field(24_000, description="8000, 16000, 22050, 24000, 44100 or 48000 Hz.")

    @model_validator(mode="after")
    def _consistent(self) -> SynthesizeInput:
        if (self.voice is None) == (self.reference is None):
            raise ValueError('give either voice: "<name>" or reference: {audio, transcript}')
        if self.quality is not None and self.nfe_step is not None:
            raise ValueError("give either quality or nfe_step")
        if self.format == "opus" and self.sample_rate not in OPUS_RATES:
            raise ValueError(f"opus has no {self.sample_rate} Hz; use {', '.join(map(str, OPUS_RATES))}")
        return self

    @property
    def nfe(self) -> int:
        return self.nfe_step or NFE_OF_QUALITY[self.quality or "balanced"]


class HealthInput(_Input):
    """`action: "health"`: is the worker up; answered without the model."""

    action: Literal["health"]


class DiagnoseInput(_Input):
    """`action: "diagnose"`: what boot found and decided; answered without the model, and when it could not start."""

    action: Literal["diagnose"]


class AudioReply(BaseModel):
    """The sound: `bytes` is the size of the decoded base64."""

    format: Format
    sample_rate: int
    duration_s: float
    bytes: int
    base64: str


class SegmentReply(BaseModel):
    """One piece of the text and where it is heard."""

    text: str
    start_s: float
    end_s: float


class Metrics(BaseModel):
    """Where the time went, in milliseconds; `rtf` is engine time per second of audio."""

    queue_ms: float
    reference_ms: float
    text_ms: float
    engine_wait_ms: float
    engine_ms: float
    post_ms: float
    encode_ms: float
    total_ms: float
    nfe: int
    rtf: float


class SynthesizeReply(BaseModel):
    """What a synthesis returns."""

    audio: AudioReply
    segments: list[SegmentReply]
    seed: int
    model: str
    metrics: Metrics
    warnings: list[str]


class HealthReply(BaseModel):
    """What `health` returns."""

    status: Literal["ok"] = "ok"
    version: str
    model: str
    device: str
    precision: str
    voices: list[str]
    uptime_s: float
    jobs_running: int


Request = SynthesizeInput | HealthInput | DiagnoseInput
ACTIONS: Mapping[str, type[Request]] = {
    "synthesize": SynthesizeInput,
    "health": HealthInput,
    "diagnose": DiagnoseInput,
}


_JSON_NAMES = {
    type(None): "null",
    str: "a string",
    list: "a list",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


def parse_input(value: object) -> Request:
    """The job's `input` as a request.

    Raises:
        UnknownAction: `action` is none of ACTIONS.
        InvalidInput: every fault of the input, each with field, value and accepted range.
    """
    if not isinstance(value, dict):
        kind = _JSON_NAMES.get(type(value), "no object")
        raise InvalidInput(f'input is {kind}; send a JSON object such as {{"text": "Hello.", "voice": "joe"}}')
    action = value.get("action", "synthesize")
    if not isinstance(action, str) or action not in ACTIONS:
        raise UnknownAction(f"action {_show(action)} does not exist{_nearest(action, ACTIONS)}; use {_either(ACTIONS)}")
    try:
        return ACTIONS[action].model_validate(value)
    except ValidationError as error:
        faults = [_fault(item, ACTIONS[action]) for item in error.errors(include_url=False)]
        raise InvalidInput("; ".join(faults)) from None


def _fault(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One fault in words. The values of text fields are not repeated: they may be long or private."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = ReferenceInput.model_fields if len(item["loc"]) > 1 else model.model_fields
        name = str(item["loc"][-1])
        return f"unknown field {_show(path)}{_nearest(name, known)}"
    if item["type"] == "missing":
        return f"{path} is missing"
    message: str = item["msg"].removeprefix("Value error, ")
    if not path:
        return message
    if item["type"] == "string_unicode":
        return f"{path} holds a character that is not valid Unicode (a lone surrogate); remove it"
    given = item["input"]
    shown = f"={_show(given)}" if isinstance(given, int | float) or item["type"] == "literal_error" else ""
    if item["type"].startswith("string_too"):
        shown = f" ({len(given)} characters)"
    return f"{path}{shown}: {message[0].lower()}{message[1:]}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _nearest(name: object, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(str(name)[:64], known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _either(names: Mapping[str, object]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
