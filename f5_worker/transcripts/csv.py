"""Transcripts as tables: `Start (s),End (s),Segment` and what is like it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.cues import CLOCK, Cue, clock_s, ensure_few, on_one_line, span_s, unreadable

_SEPARATORS = (",", ";", "\t")
_NUMBER = re.compile(r"\d{1,9}(?:[.,]\d{1,12})?(?:[eE][+-]?\d{1,2})?", flags=re.ASCII)
# A table without a header is known by times that nobody writes in prose: with a fraction or an hour, no space between.
_SURE_TIME = re.compile(r"\d{1,9}\.\d{1,12}|\d{1,9}:\d\d:\d\d(?:\.\d{1,9})?", flags=re.ASCII)

_MAX_NAME_CHARS = 40
_NAMES = {
    "start": "start starttime begin from onset",
    "end": "end endtime stop to offset",
    "text": "segment text sentence transcript transcription caption subtitle content words",
    "speaker": "speaker voice",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_MILLISECONDS = {"ms", "msec", "millisecond", "milliseconds"}
_UNITS = {"s", "sec", "secs", "second", "seconds", "time", "timestamp", *_MILLISECONDS}
# Whisper's tables give whole milliseconds and do not say so. No segment of speech lasts so many seconds.
MAX_MEAN_SEGMENT_S = 100.0


@dataclass(frozen=True)
class Layout:
    """Which column holds what. per_s: units of time in a second; None where the header does not say."""

    separator: str
    start: int
    end: int
    text: int
    speaker: int | None
    width: int
    has_header: bool
    per_s: int | None


@dataclass(frozen=True)
class _Time:
    """As written; `whole` if it may be a number of milliseconds."""

    value: float
    whole: bool


def find_layout(line: str) -> Layout | None:
    """The layout of a table whose first line that is; None if it is none."""
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            continue
        if layout := _headed(cells, separator) or _headless(cells, separator):
            return layout
    return None


def _headed(cells: list[str], separator: str) -> Layout | None:
    words = [re.findall("[a-z]+", cell.lower()) if len(cell) <= _MAX_NAME_CHARS else [] for cell in cells]
    names = ["".join(word for word in cell if word not in _UNITS) for cell in words]
    place = {_ROLES[name]: index for index, name in reversed(list(enumerate(names))) if name in _ROLES}
    if not {"start", "end", "text"} <= place.keys():
        return None
    units = set(words[place["start"]])
    per_s = 1_000 if units & _MILLISECONDS else 1 if units & (_UNITS - {"time", "timestamp"}) else None
    return Layout(separator, place["start"], place["end"], place["text"], place.get("speaker"), len(cells), True, per_s)


def _headless(cells: list[str], separator: str) -> Layout | None:
    if len(cells) < 3 or not all(_SURE_TIME.fullmatch(cell) for cell in cells[:2]):
        return None
    return Layout(separator, 0, 1, 2, None, 3, False, 1)


def parse_table(text: str, layout: Layout) -> list[Cue]:
    """The rows as cues.

    Raises:
        SubtitlesUnreadable: a row that has no times or no text, naming its line.
    """
    found: list[tuple[int, _Time, _Time, str, str | None]] = []
    for line, row in _rows(text, layout.separator)[int(layout.has_header) :]:
        cells = _fitted(row, layout)
        if len(cells) != layout.width:
            raise unreadable(line, f"it has {len(cells)} columns instead of {layout.width}")
        start, end = _time(line, cells[layout.start]), _time(line, cells[layout.end])
        speaker = None if layout.speaker is None else on_one_line(cells[layout.speaker]) or None
        found.append((line, start, end, on_one_line(cells[layout.text]), speaker))
        ensure_few(found)
    per_s = layout.per_s or _guessed_per_s([(start, end) for _, start, end, _, _ in found])
    return [
        Cue(*span_s(line, start.value / per_s, end.value / per_s), words, speaker)
        for line, start, end, words, speaker in found
    ]


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Rows that are not empty and the lines they end on; quotes that do not pair stand for themselves."""
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        reader = csv.reader(io.StringIO(text), delimiter=separator, quoting=quoting, strict=True)
        try:
            return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except csv.Error:
            line = reader.line_num
    raise SubtitlesUnreadable(
        f"line {line} of the transcript is no row of a table, or longer than {csv.field_size_limit()} characters; "
        "correct it, or send the words as plain text"
    )


def _fitted(row: list[str], layout: Layout) -> list[str]:
    """A text with separators that nobody quoted, put together again, where it is the last column."""
    if layout.text + 1 < layout.width:
        return row
    return [*row[: layout.text], layout.separator.join(row[layout.text :])] if len(row) > layout.text else row


def _time(line: int, cell: str) -> _Time:
    bare = cell.strip()
    if _NUMBER.fullmatch(bare):
        return _Time(float(bare.replace(",", ".")), bare.isdecimal())
    if match := CLOCK.fullmatch(bare):
        return _Time(clock_s(line, *match.groups()), False)
    raise unreadable(line, "its times cannot be read, write them in seconds or as 00:00:01.500")


def _guessed_per_s(spans: list[tuple[_Time, _Time]]) -> int:
    whole = all(start.whole and end.whole for start, end in spans)
    total = sum(end.value - start.value for start, end in spans)
    return 1_000 if whole and total > MAX_MEAN_SEGMENT_S * len(spans) else 1
