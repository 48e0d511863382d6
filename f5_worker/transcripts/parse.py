"""Parse a transcript as people have it: plain text, or words with times in one of many forms, known by its content.

No words are lost: a text that looks like subtitles is read to the last line or refused with the line that is wrong,
and everything else is plain text, whatever commas, arrows or times it has. A text whose lines begin with times is
never plain text: read aloud, they would be spoken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from f5_worker.errors import InvalidInput, SubtitlesUnreadable
from f5_worker.schema.requests import MAX_SUBTITLE_CHARS
from f5_worker.transcripts.csv import count_rows, find_layout, parse_table, skip_separator_line
from f5_worker.transcripts.cues import (
    Cue,
    holds_times,
    is_time_line,
    is_timed,
    join_lines,
    line_error,
    parse_srt,
    parse_vtt,
    sort_cues,
)
from f5_worker.transcripts.encodings import decode_transcript, refuse_documents
from f5_worker.transcripts.json_segments import is_json, parse_json
from f5_worker.transcripts.library import PlayerFormat, find_marked_line, find_player_format, parse_player_format
from f5_worker.transcripts.rolling import has_word_times, unroll
from f5_worker.transcripts.tidy import tidy, tidy_lines
from f5_worker.transcripts.timed_lines import (
    count_starts,
    find_stamped_line,
    has_headings,
    is_comma_range,
    is_frame_range,
    is_range_line,
    parse_headings,
    parse_premiere,
    parse_ranges,
    parse_sbv,
    parse_starts,
    split_run_together,
)

__all__ = ["Cue", "Transcript", "TranscriptKind", "parse_transcript"]

TranscriptKind: TypeAlias = (
    Literal["plain", "srt", "vtt", "csv", "json", "sbv", "premiere", "stdout", "starts"] | PlayerFormat
)

_VTT_HEAD = re.compile(r"WEBVTT(?:[ \t]|$)")
_MIN_TIME_LINES = 2  # of subtitles that begin with something else


@dataclass(frozen=True)
class Transcript:
    """The words of a recording, and the times of its cues.

    Attributes:
        cues: by their start; they may overlap, as they may in the file. Empty for plain text.
        text: all words; of cues, on one line.
        warning: for the caller: the encoding that the file's bytes are taken to be in; None for text, and for UTF-8.
    """

    kind: TranscriptKind
    cues: tuple[Cue, ...]
    text: str
    warning: str | None = None


def parse_transcript(source: str | bytes) -> Transcript:
    """Parse a transcript of any kind, text or a file's bytes, in time linear in its length.

    Raises:
        SubtitlesUnreadable: subtitles or a table with a line that cannot be read, with times that make no sense,
            with more than MAX_CUES cues or without any words; or a document, binary data or an unknown encoding
            instead of text.
        InvalidInput: more than MAX_SUBTITLE_CHARS characters.
    """
    if isinstance(source, bytes):
        text, warning = decode_transcript(source)
        return replace(_parse(text), warning=warning)
    return _parse(source)


def _parse(source: str) -> Transcript:
    if len(source) > MAX_SUBTITLE_CHARS:
        raise InvalidInput(
            f"the transcript has {len(source)} characters, at most {MAX_SUBTITLE_CHARS}; "
            "send that of a shorter recording"
        )
    if "\0" in source:
        raise SubtitlesUnreadable("the transcript holds binary data, it is not text in UTF-8; save it as UTF-8")
    refuse_documents(source[:1_000].encode(errors="replace"))
    text = skip_separator_line(tidy(source))
    lines = tidy_lines(text)
    first_lines = [line for line in lines if line][:2]
    if not first_lines:
        return Transcript("plain", (), "")
    kind, parsed = _parse_timed(text, lines, first_lines)
    if isinstance(parsed, str):
        return Transcript(kind, (), parsed.strip())
    cues = sort_cues(_finish(parsed, has_word_times(text), may_roll=kind != "csv"))
    stamped = next((cue for cue in cues if holds_times(cue.text)), None)
    if stamped is not None and kind not in ("csv", "json"):
        raise line_error(stamped.number, "there are times among its words that cannot be read", "cue")
    return Transcript(kind, cues, " ".join(cue.text for cue in cues))


def _parse_timed(text: str, lines: Sequence[str], first_lines: Sequence[str]) -> tuple[TranscriptKind, list[Cue] | str]:
    """Return the kind of a transcript, and its cues or, of plain text, its words."""
    first = first_lines[0]
    if _VTT_HEAD.match(first):
        return "vtt", parse_vtt(lines)
    if is_json(text):
        return _parse_json(text)
    if is_range_line(first) or (first.isdecimal() and is_range_line(first_lines[-1])):
        return "stdout", parse_ranges(lines)
    if is_time_line(first) or (first.isdecimal() and is_time_line(first_lines[-1])):
        return "srt", parse_srt(lines)
    if is_comma_range(first) or (first[0] == "[" and any(map(is_comma_range, lines))):
        return "sbv", parse_sbv(lines)
    if is_frame_range(first):
        return "premiere", parse_premiere(lines)
    if player_format := find_player_format(text, first):
        return player_format, parse_player_format(text, player_format)
    if layout := find_layout(first):
        return "csv", parse_table(text, layout)
    return _parse_unmarked(text, lines)


def _parse_json(text: str) -> tuple[TranscriptKind, list[Cue] | str]:
    parsed = parse_json(text)
    return ("plain" if isinstance(parsed, str) else "json"), parsed


def _parse_unmarked(text: str, lines: Sequence[str]) -> tuple[TranscriptKind, list[Cue] | str]:
    """Parse what its first lines do not tell: lines that begin with times, subtitles after something else, or text.

    Raises:
        SubtitlesUnreadable: it has the times of subtitles in it, and is none that can be read.
    """
    if count_starts(lines):
        return "starts", parse_starts(lines)
    if has_headings(lines):
        return "starts", parse_headings(lines)
    if run_together := split_run_together(" ".join(lines).strip()):
        return "starts", parse_starts(run_together)
    if sum(map(is_time_line, lines)) >= _MIN_TIME_LINES:
        return "srt", parse_srt(lines)
    if any(map(is_range_line, lines)):
        return "stdout", parse_ranges(lines)
    if count_rows(lines) >= _MIN_TIME_LINES:
        raise SubtitlesUnreadable(
            "the transcript is a table without a known header; begin it with Start (s),End (s),Text"
        )
    for number, line in enumerate(lines, start=1):
        if is_timed(line):
            raise line_error(number, "it has the times of subtitles, in no format that is known")
        if player_format := find_marked_line(line):
            return player_format, parse_player_format(text, player_format)
    if stamped := find_stamped_line(lines):
        raise line_error(stamped, "it has times among its words, in no format that is known")
    return "plain", text


def _finish(parsed: Sequence[Cue], word_times: bool, *, may_roll: bool) -> list[Cue]:
    """Return the cues by their start with every word once, on one line, with their numbers in the file."""
    numbered = [replace(cue, number=cue.number or number) for number, cue in enumerate(parsed, start=1)]
    ordered = sorted(numbered, key=lambda cue: cue.start_s)
    once = unroll(ordered, word_times=word_times) if may_roll else ordered
    return [replace(cue, text=join_lines(cue.text)) for cue in once]
