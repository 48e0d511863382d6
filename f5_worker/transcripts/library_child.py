"""The process that reads the caption formats of players: a file on its input, its cues as JSON on its output.

    python -m f5_worker.transcripts.library_child FORMAT MEMORY_BYTES CPU_S

pysubs2 parses; what it skips without a word is refused here with its line, and what it does not know is translated
into what it does: the order of ASS's columns, a rate for MicroDVD's frames, the ends of SAMI's cues.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from f5_worker.audio.sandbox import confine
from f5_worker.transcripts.cues import open_end_s
from f5_worker.transcripts.ttml import TtmlError, parse_ttml

_ASS_COLUMNS = "layer start end style name marginl marginr marginv effect text".split()
_ASS_EVENT = re.compile(r"dialogue\s*:", re.IGNORECASE)
_ASS_FORMAT = re.compile(r"format\s*:", re.IGNORECASE)
_ASS_TIME = re.compile(r"-?\d{1,2}:\d{1,2}:\d{1,2}(?:[.,]\d{1,3})?", flags=re.ASCII)
_MAX_TAGS = 2_000  # in a line: pysubs2 takes time with their square
_LINES = {
    "microdvd": re.compile(r"\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}.*|\{[A-Za-z][^{}]*\}.*"),
    "mpl2": re.compile(r"\[-?\d+\]\[-?\d+\].*"),
    "tmp": re.compile(r"\d{1,2}:\d\d:\d\d:.*"),
}


class Unreadable(Exception):
    """The reason, and the line that has it; 0 where the whole file does."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


class Event(NamedTuple):
    """A cue as JSON carries it; `is_open`: its end is an estimate of the library."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None
    is_open: bool


def main() -> None:
    """Read one file. No file can be opened any more when it begins: all modules are loaded before."""
    kind, memory_bytes, cpu_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    text = sys.stdin.buffer.read().decode()
    for sample, name in (("{1}{1}25", "microdvd"), ("", kind)):
        read_captions(sample, name)  # loads all modules now, or never
    warnings.simplefilter("ignore")  # of pysubs2 about styles; to print one opens a file
    confine(memory_bytes)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    sys.stdout.write(json.dumps(read_captions(text, kind)))
    sys.stdout.flush()
    os._exit(0)


def read_captions(text: str, kind: str) -> dict[str, Any]:
    """Return the cues of a file, or the reason why it cannot be read and its line, 0 where the whole file is wrong."""
    try:
        return {"cues": READERS[kind](text)}
    except Unreadable as error:
        return {"error": error.reason, "line": error.line}
    except TtmlError as error:
        return {"error": str(error), "line": 0}
    except (ValueError, KeyError, TypeError, OverflowError, AssertionError):  # what pysubs2 raises for broken files
        return {"error": "cannot be read", "line": 0}


def _read_ass(text: str) -> list[Event]:
    """Read the events; the order of their columns is that of the `Format` line, which pysubs2 takes for granted."""
    columns, lines, body = _ASS_COLUMNS, [], ["[Events]"]
    for number, line in enumerate(text.split("\n"), start=1):
        if match := _ASS_FORMAT.match(line):
            named = [name.strip().lower() for name in line[match.end() :].split(",")]
            columns = named if "text" in named and "start" in named else columns
        elif match := _ASS_EVENT.match(line.strip()):
            cells = line.strip()[match.end() :].strip().split(",", len(columns) - 1)
            if len(cells) < len(columns):
                raise Unreadable(f"it has {len(cells)} columns instead of {len(columns)}", number)
            cell = dict(zip(columns, cells, strict=True))
            start, end = cell["start"].strip(), cell.get("end", "").strip()
            if not (_ASS_TIME.fullmatch(start) and _ASS_TIME.fullmatch(end)):
                raise Unreadable("its times cannot be read, write them as 0:00:01.50", number)
            if cell["text"].count("{") > _MAX_TAGS:
                raise Unreadable(f"it has more than {_MAX_TAGS} tags", number)
            name = (cell.get("name") or cell.get("actor") or "").strip()[:64]
            lines.append(number)
            body.append(f"Dialogue: 0,{start},{end},Default,{name},0,0,0,,{cell['text']}")
    read = _read("\n".join(body), "ass")
    seen: set[Event] = set()  # one line on several layers is read once
    return [event for event in read if event not in seen and not seen.add(event)]  # type: ignore[func-returns-value]


def _read_lines(kind: str) -> Callable[[str], list[Event]]:
    def read(text: str) -> list[Event]:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip() and not _LINES[kind].fullmatch(line.strip()):
                raise Unreadable("it has no times", number)
        return _read(text, kind)

    return read


def _read_microdvd(text: str) -> list[Event]:
    from pysubs2.exceptions import UnknownFPSError

    try:
        return _read_lines("microdvd")(text)
    except UnknownFPSError:
        reason = "counts frames without saying how many are in a second: begin it with a line {1}{1}25, or your rate"
        raise Unreadable(reason) from None


def _read_sami(text: str) -> list[Event]:
    """Read SAMI; a cue ends where an empty one begins, which is there for that; else pysubs2 estimates it."""
    events = _read(f"{text}</SAMI>", "sami")  # without an end pysubs2 loses the last cue
    ended = [
        event._replace(end_s=later.start_s) if not later.text.strip() else event._replace(is_open=True)
        for event, later in pairwise(events)
    ]
    return [*ended, *(event._replace(is_open=True) for event in events[-1:])]


def _read_tmp(text: str) -> list[Event]:
    return [event._replace(is_open=True) for event in _read_lines("tmp")(text)]


def _read(text: str, kind: str) -> list[Event]:
    import pysubs2

    events = pysubs2.SSAFile.from_string(text, format_=kind).events
    return [
        Event(event.start / 1_000, event.end / 1_000, event.plaintext, event.name or None, False)
        for event in events
        if event.is_text
    ]


def _read_ttml(text: str) -> list[Event]:
    """Read TTML; a paragraph without an end is there until the next one begins."""
    cues = sorted(parse_ttml(text), key=lambda cue: cue[0])
    starts = [start_s for start_s, _, _ in cues[1:]] + [float("inf")]
    return [
        Event(start_s, min(later_s, open_end_s(start_s, words)) if end_s is None else end_s, words, None, end_s is None)
        for (start_s, end_s, words), later_s in zip(cues, starts, strict=True)
    ]


READERS: dict[str, Callable[[str], Sequence[Event]]] = {
    "ass": _read_ass,
    "ttml": _read_ttml,
    "sami": _read_sami,
    "microdvd": _read_microdvd,
    "mpl2": _read_lines("mpl2"),
    "tmp": _read_tmp,
}


if __name__ == "__main__":
    main()
