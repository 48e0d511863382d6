"""The table of caption formats: `srt, vtt, ass, csv, json`.

How each format treats text that would break the file which carries it:

- All: white space of any kind becomes one space and control characters are removed, so that no text ends a line or
  a cue.
- srt has no escapes: `-->` becomes an arrow, anything else stays as it is.
- vtt: `&`, `<` and `>` are written as entities, as its specification says.
- ass: braces and backslashes, which begin commands, become their full-width twins (ass.py).
- csv: quoted after RFC 4180. A field that begins with `=`, `+`, `-` or `@` is not escaped against spreadsheets:
  the file is read by programs that would show the escape as part of the line, and the text is the caller's own.

Estimated times are marked in vtt (NOTE), ass (comment) and json; srt and csv have no place for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from f5_worker.alignment.timeline import Timeline
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.subtitles.ass import write_ass
from f5_worker.subtitles.csv_json import write_csv, write_json
from f5_worker.subtitles.srt_vtt import write_srt, write_vtt


class SubtitleFormat(NamedTuple):
    """A caption format: its MIME type without parameters, its file extension without a dot, and its writer."""

    mime: str
    extension: str
    write: Callable[[Timeline, SubtitleStyle], str]

    @property
    def content_type(self) -> str:
        """MIME type with the charset: every format is written in UTF-8."""
        return f"{self.mime}; charset=utf-8"


SUBTITLE_FORMATS: Mapping[str, SubtitleFormat] = {
    "srt": SubtitleFormat("application/x-subrip", "srt", write_srt),
    "vtt": SubtitleFormat("text/vtt", "vtt", write_vtt),
    "ass": SubtitleFormat("text/x-ssa", "ass", write_ass),
    "csv": SubtitleFormat("text/csv", "csv", write_csv),
    "json": SubtitleFormat("application/json", "json", write_json),
}


def write_subtitles(timeline: Timeline, format: str, style: SubtitleStyle | None = None) -> str:
    """Write a timeline as the text of a caption file.

    In each format cues are in order, none overlaps another, and none is shorter than the format's resolution:
    1 ms, in ass 10 ms. json holds words and phrases, whatever the mode.

    Args:
        format: a key of SUBTITLE_FORMATS.
        style: None for the defaults of SubtitleStyle.
    """
    return SUBTITLE_FORMATS[format].write(timeline, style or SubtitleStyle())
