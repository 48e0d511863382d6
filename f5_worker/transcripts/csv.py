"""Read transcripts that are tables: `Start (s),End (s),Segment` and similar ones."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.cues import (
    CLOCK,
    Cue,
    check_cue_count,
    checked_span_s,
    join_lines,
    line_error,
    parse_clock_s,
)

_SEPARATORS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r"\s*\"?sep=[^\n]{1,3}\n", flags=re.IGNORECASE)  # of Excel
_NUMBER = re.compile(r"\d{1,9}(?:[.,]\d{1,12})?(?:[eE][+-]?\d{1,2})?", flags=re.ASCII)
# A table without a header is recognised by times as they are not written in prose: a fraction or an hour, no space.
_CERTAIN_TIME = re.compile(r"\d{1,9}\.\d{1,12}|\d{1,9}:\d\d:\d\d(?:\.\d{1,9})?", flags=re.ASCII)
# A row of a table whose header is not known; `1, 2, buckle my shoe` is none.
_ROW = re.compile(r"(?:\"?\d{0,9}\"?[,;\t|])?(?:\"?(?:\d{1,9}\.\d{1,12}|\d{3,9})\"?[,;\t|]){2}", flags=re.ASCII)
# The times of a row whose line end is missing: `first words",6.5,8.25,"next words`.
_ROW_IN_TEXT = re.compile(r"([,;\t])\d{1,9}[.,]\d{1,12}\1\d{1,9}[.,]\d{1,12}\1", flags=re.ASCII)

_MAX_NAME_CHARS = 40
_HEADER_NAMES = {
    "start": "start starttime starttimecode begin from onset in timein",
    "end": "end endtime endtimecode stop to offset out timeout",
    "duration": "duration length",
    "text": "segment text sentence transcript transcription caption subtitle subtitles content words dialogue",
    "speaker": "speaker speakername voice",
}
_ROLES = {name: role for role, names in _HEADER_NAMES.items() for name in names.split()}
_MILLISECONDS = {"ms", "msec", "millisecond", "milliseconds"}
_UNITS = {"s", "sec", "secs", "second", "seconds", "time", "timestamp", *_MILLISECONDS}
_CLOCK_LETTERS = {"h", "hh", "hour", "hours", "m", "mm", "min", "ss", "ff"}
# Whisper's tables give whole milliseconds and do not say so. No segment of speech lasts so many seconds.
MAX_MEAN_SEGMENT_S = 100.0


@dataclass(frozen=True)
class TableLayout:
    """The columns of a table.

    Attributes:
        end_is_duration: the column has durations instead of ends.
        units_per_s: units of time in a second; None where the header does not say.
    """

    separator: str
    start: int
    end: int
    end_is_duration: bool
    text: int
    speaker: int | None
    width: int
    has_header: bool
    units_per_s: int | None


@dataclass(frozen=True)
class _Time:
    """A time as it is written; a whole number may be one of milliseconds, a clock tells its units."""

    value: float
    is_whole: bool
    is_clock: bool = False

    def seconds(self, units_per_s: int) -> float:
        return self.value if self.is_clock else self.value / units_per_s


def count_rows(lines: Sequence[str]) -> int:
    """Return how many lines are rows of a table with two times."""
    return sum(_ROW.match(line) is not None for line in lines)


def skip_separator_line(text: str) -> str:
    """Return a table without the line that tells Excel its separator."""
    return _SEPARATOR_LINE.sub("", text, count=1) if _SEPARATOR_LINE.match(text) else text


def find_layout(line: str) -> TableLayout | None:
    """Return the layout of the table whose first line this is; None if it is not one."""
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            continue
        if layout := _layout_from_header(cells, separator) or _layout_from_row(cells, separator):
            return layout
    return None


def _layout_from_header(cells: list[str], separator: str) -> TableLayout | None:
    words = [re.findall("[a-z]+", cell.lower()) if len(cell) <= _MAX_NAME_CHARS else [] for cell in cells]
    names = [_role_name(cell) for cell in words]
    column = {_ROLES[name]: index for index, name in reversed(list(enumerate(names))) if name in _ROLES}
    end = column.get("end", column.get("duration"))
    if end is None or not {"start", "text"} <= column.keys():
        return None
    units = set(words[column["start"]])
    units_per_s = 1_000 if units & _MILLISECONDS else 1 if units & (_UNITS - {"time", "timestamp"}) else None
    return TableLayout(
        separator=separator,
        start=column["start"],
        end=end,
        end_is_duration="end" not in column,
        text=column["text"],
        speaker=column.get("speaker"),
        width=len(cells),
        has_header=True,
        units_per_s=units_per_s,
    )


def _role_name(words: Sequence[str]) -> str:
    """Return the name of a column without its unit: `Start time in milliseconds` is `start`."""
    bare = [word for word in words if word not in _UNITS and word not in _CLOCK_LETTERS]
    return "".join(bare[:-1] if len(bare) > 1 and bare[-1] == "in" else bare)


def _layout_from_row(cells: list[str], separator: str) -> TableLayout | None:
    if len(cells) < 3 or not all(_CERTAIN_TIME.fullmatch(cell) for cell in cells[:2]):
        return None
    return TableLayout(
        separator, start=0, end=1, end_is_duration=False, text=2, speaker=None, width=3, has_header=False, units_per_s=1
    )


def parse_table(text: str, layout: TableLayout) -> list[Cue]:
    """Return the rows as cues.

    Raises:
        SubtitlesUnreadable: a row has no times or no text, with its line.
    """
    rows: list[tuple[int, _Time, _Time, str, str | None]] = []
    for line, row in _read_rows(text, layout.separator)[int(layout.has_header) :]:
        cells = _join_unquoted_text(row, layout)
        if len(cells) != layout.width:
            raise line_error(line, f"it has {len(cells)} columns instead of {layout.width}")
        if _ROW_IN_TEXT.search(cells[layout.text]):
            raise line_error(line, "another row begins in its text")
        start = _parse_time(line, cells[layout.start])
        end = _parse_time(line, cells[layout.end])
        speaker = None if layout.speaker is None else join_lines(cells[layout.speaker]) or None
        rows.append((line, start, end, join_lines(cells[layout.text]), speaker))
        check_cue_count(rows)
    spans = [(start, end) for _, start, end, _, _ in rows]
    units_per_s = layout.units_per_s or _guess_units_per_s(spans, are_durations=layout.end_is_duration)
    cues = []
    for line, start, end, words, speaker in rows:
        start_s, end_s = start.seconds(units_per_s), end.seconds(units_per_s)
        if layout.end_is_duration:
            end_s = round(start_s + end_s, 6)
        cues.append(Cue(*checked_span_s(line, start_s, end_s), words, speaker))
    return cues


def _read_rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty and the lines they end on; quotes that do not pair are text."""
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        reader = csv.reader(io.StringIO(text), delimiter=separator, quoting=quoting, strict=True)
        try:
            return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except csv.Error:
            line = reader.line_num
    raise SubtitlesUnreadable(
        f"line {line} of the transcript is not a row of a table, or longer than {csv.field_size_limit()} characters; "
        "correct it, or send the words as plain text"
    )


def _join_unquoted_text(row: list[str], layout: TableLayout) -> list[str]:
    """Join a text again that was split at unquoted separators, where it is the last column."""
    if layout.text + 1 < layout.width:
        return row
    return [*row[: layout.text], layout.separator.join(row[layout.text :])] if len(row) > layout.text else row


def _parse_time(line: int, cell: str) -> _Time:
    bare = cell.strip()
    if _NUMBER.fullmatch(bare):
        return _Time(float(bare.replace(",", ".")), bare.isdecimal())
    if match := CLOCK.fullmatch(bare):
        return _Time(parse_clock_s(line, *match.groups()), False, is_clock=True)
    raise line_error(line, "its times cannot be read, write them in seconds or as 00:00:01.500")


def _guess_units_per_s(spans: Sequence[tuple[_Time, _Time]], *, are_durations: bool) -> int:
    are_whole = all(start.is_whole and end.is_whole for start, end in spans)
    total = sum(end.value - (0.0 if are_durations else start.value) for start, end in spans)
    return 1_000 if are_whole and total > MAX_MEAN_SEGMENT_S * len(spans) else 1
