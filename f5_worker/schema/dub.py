"""The request of a dubbed track: subtitles, the recording that they are a translation of, and how lines are fitted."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from f5_worker.schema.requests import MAX_SUBTITLE_CHARS, Input, ResultFields, SpeechFields
from f5_worker.schema.text import Language
from f5_worker.schema.voices import AnyVoiceName

MAX_SPEAKERS = 32
_NUMBER = r"\s*\d{1,5}\s*(?:-\s*\d{1,5}\s*)?"
_RANGE = re.compile(r"(\d+)\s*(?:-\s*(\d+))?")
CueNumbers = Annotated[str, Field(max_length=2_000, pattern=rf"^{_NUMBER}(?:,{_NUMBER})*$")]


class CueRange(NamedTuple):
    """Cues from `first` to `last`, both included, by their numbers in the file, and who speaks them."""

    first: int
    last: int
    speaker: str


class SourceInput(Input):
    """The original recording, from which the voice of each speaker is cut."""

    audio: str = Field(min_length=1, description="The recording: base64, a data URL, or an https URL.")
    subtitles: str = Field(
        min_length=1, max_length=MAX_SUBTITLE_CHARS, description="What is said in it, and when, in its own language."
    )
    speakers: dict[str, CueNumbers] = Field(
        default_factory=dict,
        max_length=MAX_SPEAKERS,
        description='Who speaks which of its cues, where they do not say so: `{"Ann": "1-4, 7", "Bob": "5-6"}`.',
    )
    language: Language | None = Field(None, description="Its language, such as `en`; absent: detected.")

    @property
    def cue_ranges(self) -> list[CueRange]:
        """Return `speakers` as ranges of cues, in order of these."""
        ranges = [
            CueRange(int(match[1]), int(match[2] or match[1]), speaker)
            for speaker, numbers in self.speakers.items()
            for match in _RANGE.finditer(numbers)
        ]
        return sorted(ranges)

    @model_validator(mode="after")
    def _one_speaker_each(self) -> SourceInput:
        before = CueRange(0, 0, "")
        for cues in self.cue_ranges:
            if cues.last < cues.first or cues.first < 1:
                raise ValueError(f"speakers has {cues.first}-{cues.last}; cues are counted from 1, upwards")
            if cues.first <= before.last:
                raise ValueError(
                    f"speakers gives cue {cues.first} to {before.speaker[:40]!r} and {cues.speaker[:40]!r}"
                )
            before = cues
        return self


class FitInput(Input):
    """Policy for a line that is too long for its cue, applied in this order."""

    accept: float = Field(1.2, ge=1, le=2, description="Speed up to which it is spoken within its cue, 1..2.")
    use_gaps: bool = Field(True, description="Then let it last until shortly before the next line begins.")
    max_speed: float = Field(1.5, ge=1, le=2, description="Then speak faster, up to this speed, 1..2.")
    on_overrun: Literal["shorten_pause", "overlap", "fail"] = Field(
        "shorten_pause",
        description="And what is longer even so: the next line waits for it, and the pauses after it are shorter "
        "until the lines are at their times again; or both are heard; or the job fails.",
    )
    max_delay_s: float | None = Field(
        None, ge=0, le=600, description="No line waits longer; it then begins over the one before it. Absent: no limit."
    )

    @model_validator(mode="after")
    def _speeds_ascend(self) -> FitInput:
        if self.accept > self.max_speed:
            raise ValueError(f"accept={self.accept:g} exceeds max_speed={self.max_speed:g}; lower it")
        return self


class DubInput(SpeechFields, ResultFields):
    """`action: "dub"`: one track in which each line of the subtitles starts at its time."""

    action: Literal["dub"]
    subtitles: str = Field(
        min_length=1, max_length=MAX_SUBTITLE_CHARS, description="Lines to speak and their times: SRT, VTT, ASS, ..."
    )
    source: SourceInput | None = Field(
        None, description="The original recording, whose speakers' voices are used: `{audio, subtitles}`; see below."
    )
    non_speech: Literal["skip", "speak"] = Field(
        "skip", description="Sounds and music (`[door slams]`, `(sighs)`, `♪ la la ♪`): silent, or `speak` them."
    )
    voices: dict[str, AnyVoiceName] = Field(
        default_factory=dict, max_length=MAX_SPEAKERS, description="Voices of the speakers: `{speaker: voice}`."
    )
    min_speed: float = Field(0.8, ge=0.5, le=1, description="Slowest speed of a line.")
    max_speed: float = Field(1.5, ge=1, le=2, description="Fastest speed of a line; with `fit`, its own.")
    fit: FitInput | None = Field(None, description="How long lines are fitted to their times; see below.")
    track_s: float | None = Field(
        None, gt=0, le=14_400, description="Length of the track; absent: until the last line's end."
    )
    loudness: Literal["source"] | None = Field(
        None, description="`source`: each speaker is as loud as in the source. Absent: as the voice's reference."
    )
    cue_files: bool = Field(False, description="Also return each line as a file of its own.")

    @model_validator(mode="after")
    def _consistent(self) -> DubInput:
        if self.trim_silence or self.pad_start_s:
            raise ValueError("trim_silence and pad_start_s would move the lines from their times; leave them out")
        if self.fit is not None and "max_speed" in self.model_fields_set:
            raise ValueError("give either fit or max_speed: fit has its own")
        if self.loudness is not None and self.source is None:
            raise ValueError('loudness: "source" needs the source')
        if self.loudness is not None and self.loudness_lufs is not None:
            raise ValueError("give either loudness or loudness_lufs")
        return self
