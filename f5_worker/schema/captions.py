"""The style of subtitles: the part of a request that sets how they look."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_CHARS_PER_LINE = 42  # what broadcasters and streaming services require for Latin script
NARROW_MAX_CHARS_PER_LINE = 20  # what fits in large letters into the width of a telephone held upright


class SubtitleStyle(BaseModel):
    """Settings of subtitles. In lengths and reading speed a Chinese, Japanese or Korean character counts as two."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mode: Literal["phrase", "word"] = Field("phrase", description="Cues of one or two lines, or one cue per word.")
    max_chars_per_line: int | None = Field(
        None, ge=10, le=100, description="Length of a line, 10..100. Absent: 42; in ass for 1080x1920: 20."
    )
    max_lines: int = Field(2, ge=1, le=3, description="Lines of a cue, 1..3.")
    max_chars_per_s: float = Field(
        20.0, ge=5, le=60, description="Reading speed, 5..60: a cue spoken faster stays on during the pause after it."
    )
    min_duration_s: float = Field(
        0.8, ge=0, le=5, description="Shortest time that a cue is shown if the next one leaves room for it, 0..5."
    )
    max_duration_s: float = Field(7.0, ge=1, le=30, description="Longest time that a cue is shown, 1..30.")
    min_gap_s: float = Field(0.08, ge=0, le=1, description="Gap between two cues, 0..1; 0.08 is two frames of a film.")
    new_cue_pause_s: float = Field(0.6, ge=0.1, le=5, description="Silence that starts a new cue, 0.1..5.")
    fill_gaps_s: float = Field(
        0.0, ge=0, le=5, description="A cue stays on until the next one if the gap is at most this, 0..5."
    )
    speakers: bool = Field(
        False,
        description="Name who speaks: `<v Ann>` in vtt, the event's name in ass, `Ann: ` where a turn begins in srt. A "
        "cue ends with its speaker's turn in any case, and json has the speakers.",
    )
    karaoke: bool | None = Field(
        None, description="Mark each word as it is spoken: \\k in ass, inline times in vtt. Absent: in ass only."
    )
    frame: Literal["1080x1920", "1920x1080"] = Field("1080x1920", description="Size of the video that ass is made for.")
    text_color: str = Field("#FFFFFF", pattern=r"^#[0-9A-Fa-f]{6}$", description="Colour of the letters in ass.")
    highlight_color: str = Field(
        "#FFD400", pattern=r"^#[0-9A-Fa-f]{6}$", description="Colour of the words already spoken, in ass with karaoke."
    )

    @model_validator(mode="after")
    def _consistent(self) -> SubtitleStyle:
        if self.min_duration_s > self.max_duration_s:
            raise ValueError(
                f"min_duration_s={self.min_duration_s:g} exceeds max_duration_s={self.max_duration_s:g}; lower it"
            )
        return self
