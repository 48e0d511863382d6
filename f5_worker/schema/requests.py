"""The native contract's requests and the fields that they share; the limits that no setting changes are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.schema.text import Language, MarkupFields, Pronunciations, SpokenTextFields
from f5_worker.schema.verify import MAX_TAKES, VerifyFields
from f5_worker.schema.voices import MAX_VOICE_CHARS, AnyVoiceName, KeyedInput

MAX_TEXT_CHARS = 20_000
MAX_SUBTITLE_CHARS = 400_000  # the SRT of ten hours of speech
MAX_SEED = 2**32 - 1
VOICE_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"

NFE_OF_QUALITY: Mapping[str, int] = {"fast": 7, "balanced": 16, "best": 32}
Quality = Literal["fast", "balanced", "best"]
AudioFormatName = Literal["wav", "wav_f32", "flac", "mp3", "opus", "aac", "pcm_s16le", "ulaw", "alaw"]
SampleRate = Literal[8_000, 16_000, 22_050, 24_000, 44_100, 48_000]
CaptionFormat = Literal["srt", "vtt", "ass", "csv", "json"]
VoiceName = Annotated[str, Field(pattern=VOICE_NAME)]


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


class SpeechFields(KeyedInput, SpokenTextFields, VerifyFields, Input):
    """The fields that decide how the model speaks."""

    voice: AnyVoiceName | None = Field(None, description="A voice of the library, by name.")
    reference: ReferenceInput | None = Field(None, description="Or a clip of your own: `{audio, transcript}`.")
    model: str | None = Field(None, max_length=64, description="Another checkpoint that this worker has, by name.")
    quality: Quality | None = Field(None, description="Steps of the model: fast 7, balanced 16 (default), best 32.")
    nfe_step: int | None = Field(None, ge=4, le=64, description="Or the number of steps itself, 4..64.")
    cfg_strength: float = Field(2.0, ge=0, le=10, description="How closely to follow text and voice, 0..10.")
    sway_sampling_coef: float | None = Field(
        -1.0, ge=-1, le=1, description="Sway sampling, -1..1: a negative value puts more steps early. null: even steps."
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="The same input and seed give the same audio.")

    @model_validator(mode="after")
    def _one_voice(self) -> SpeechFields:
        if self.voice is not None and self.reference is not None:
            raise ValueError('give either voice: "<name>" or reference: {audio, transcript}')
        if self.quality is not None and self.nfe_step is not None:
            raise ValueError("give either quality or nfe_step")
        return self


class ResultFields(Input):
    """The fields that decide what is returned."""

    format: AudioFormatName = Field(
        "wav", description="wav, wav_f32, flac, mp3, opus (in ogg), aac (ADTS), pcm_s16le, ulaw or alaw (raw)."
    )
    sample_rate: SampleRate = Field(
        24_000, description="8000, 16000, 22050, 24000, 44100 or 48000 Hz; ulaw, alaw: 8000."
    )
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
    def _rate_exists(self) -> ResultFields:
        rates = AUDIO_FORMATS[self.format].sample_rates
        if self.sample_rate not in rates:
            raise ValueError(f"{self.format} does not have {self.sample_rate} Hz; use {', '.join(map(str, rates))}")
        return self

    @property
    def wants_times(self) -> bool:
        """Return whether word times are needed."""
        return self.timings is not None or self.captions is not None


class TextInput(MarkupFields, SpeechFields, ResultFields):
    """A text to speak in the voice of a reference."""

    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS, description="The text to speak, 1..20,000 characters.")
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
    def _consistent(self) -> TextInput:
        if self.fix_duration_s is not None and self.trim_silence:
            raise ValueError("give either fix_duration_s or trim_silence")
        return self


class SynthesizeInput(TextInput):
    """`action: "synthesize"`: speak a text in the voice of a reference."""

    action: Literal["synthesize"] = Field("synthesize", description="The action; this is the default.")
    takes: int = Field(
        1, ge=1, le=MAX_TAKES, description="Speak the text so many times, 1..5, with other seeds, to choose from."
    )

    @model_validator(mode="after")
    def _one_kind_of_takes(self) -> SynthesizeInput:
        if self.takes > 1 and self.verify is not None:
            raise ValueError("give either takes, to choose from, or verify: {takes}, of which the best is chosen")
        return self


class PreviewInput(TextInput):
    """`action: "preview"`: what `synthesize` would speak, without speaking it; the fields are the same."""

    action: Literal["preview"]


class VoiceDefaultsInput(Input):
    """The values of requests in this voice that do not set their own."""

    speed: float | None = Field(None, ge=0.5, le=2, description="Speaking rate.")
    quality: Quality | None = Field(None, description="Steps of the model.")
    language: Language | None = Field(None, description="Language of the text.")
    model: str | None = Field(None, max_length=64, description="Checkpoint.")
    pronunciations: Pronunciations | None = Field(None, description="How words are said in this voice, up to 100.")


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
