"""Parse a transcript as people have it: plain text, SRT, WebVTT or a table, recognised by its content.

No words are lost: a text that looks like subtitles is read to the last line or refused with the line that is wrong,
and everything else is plain text, whatever commas, arrows or times it has.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Literal

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.csv import find_layout, parse_table
from f5_worker.transcripts.cues import Cue, is_time_line, parse_srt, parse_vtt, sort_cues

__all__ = ["Cue", "Transcript", "decode_transcript", "parse_transcript"]

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_VTT_HEAD = re.compile(r"WEBVTT(?:[ \t]|$)")


@dataclass(frozen=True)
class Transcript:
    """The words of a recording, and the times of its cues.

    Attributes:
        cues: by their start; they may overlap, as they may in the file. Empty for plain text.
        text: all words; of cues, on one line.
    """

    kind: Literal["plain", "srt", "vtt", "csv"]
    cues: tuple[Cue, ...]
    text: str


def decode_transcript(data: bytes) -> str:
    """Decode a file's bytes: UTF-8, UTF-16 with its mark, or else Windows' Western encoding (cp1252)."""
    if data.startswith(_UTF16_MARKS):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def parse_transcript(text: str) -> Transcript:
    """Parse a transcript of any kind, in time linear in its length.

    Raises:
        SubtitlesUnreadable: subtitles or a table with a line that cannot be read, with times that make no sense,
            with more than MAX_CUES cues or without any words; or binary data instead of text.
    """
    if "\0" in text:
        raise SubtitlesUnreadable("the transcript holds binary data, it is not text in UTF-8; save it as UTF-8")
    plain = text.removeprefix("\ufeff").replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in plain.split("\n")]
    first_lines = [line for line in lines if line][:2]
    if not first_lines:
        return Transcript("plain", (), "")
    if _VTT_HEAD.match(first_lines[0]):
        return _timed("vtt", parse_vtt(lines))
    if is_time_line(first_lines[0]) or (first_lines[0].isdecimal() and is_time_line(first_lines[-1])):
        return _timed("srt", parse_srt(lines))
    if layout := find_layout(first_lines[0]):
        return _timed("csv", parse_table(plain, layout))
    return Transcript("plain", (), plain.strip())


def _timed(kind: Literal["srt", "vtt", "csv"], parsed: list[Cue]) -> Transcript:
    cues = sort_cues(parsed)
    return Transcript(kind, cues, " ".join(cue.text for cue in cues))
