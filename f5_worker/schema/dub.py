"""The request of a dubbed track."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from f5_worker.schema.requests import MAX_SUBTITLE_CHARS, ResultFields, SpeechFields
from f5_worker.schema.voices import AnyVoiceName


class DubInput(SpeechFields, ResultFields):
    """`action: "dub"`: one track in which each line of the subtitles starts at its time."""

    action: Literal["dub"]
    subtitles: str = Field(
        min_length=1, max_length=MAX_SUBTITLE_CHARS, description="Lines to speak and their times: SRT, VTT, ASS, ..."
    )
    non_speech: Literal["skip", "speak"] = Field(
        "skip", description="Sounds and music (`[door slams]`, `(sighs)`, `♪ la la ♪`): silent, or `speak` them."
    )
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
        if self.trim_silence or self.pad_start_s:
            raise ValueError("trim_silence and pad_start_s would move the lines from their times; leave them out")
        return self
