"""Read the caption formats of players in a process of its own, which may fail, hang or be killed without harm.

They are read by pysubs2 and by Python's XML parser, which are made for files that one trusts: a line of 400,000 tags
takes pysubs2 minutes, or gigabytes. What is in `cues.py` and `timed_lines.py` needs no process: it is bounded.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from typing import Any, Literal, TypeAlias

from f5_worker import cancellation
from f5_worker.audio.sandbox import ROOT, child_environment
from f5_worker.errors import InternalError, SubtitlesUnreadable
from f5_worker.transcripts.cues import Cue, check_cue_count, checked_span_s, line_error

PlayerFormat: TypeAlias = Literal["ass", "ttml", "sami", "microdvd", "mpl2", "tmp"]

NAMES: dict[PlayerFormat, str] = {
    "ass": "ASS/SSA",
    "ttml": "TTML",
    "sami": "SAMI",
    "microdvd": "MicroDVD",
    "mpl2": "MPL2",
    "tmp": "TMP",
}
MEMORY_BYTES = 128 * 2**20  # besides the interpreter; 10,000 cues take 20 MiB
CPU_S = 1.0  # 10,000 cues take 0.3 s
WALL_S = 30.0  # for a machine that is busy with other work

_ASS = re.compile(
    r"\[(?:script info|events|v4\+? styles)\]|dialogue:[^,\n]{0,20},\s{0,3}-?\d|format:[^\n]{0,200}\bstart\s?,",
    re.IGNORECASE,
)
_XML = re.compile(r"<\?xml\b|<!--|<!doctype\s+tt\b|<(?:\w{1,20}:)?tt[\s>]", re.IGNORECASE)
_TTML = re.compile(r"<(?:\w{1,20}:)?tt[\s>]")
_SAMI = re.compile(r"<sami\b", re.IGNORECASE)
_MICRODVD = re.compile(r"\{\s{0,3}\d{1,9}\s{0,3}\}\s{0,3}\{\s{0,3}\d{0,9}\s{0,3}\}", flags=re.ASCII)
_MPL2 = re.compile(r"\[-?\d{1,9}\]\s?\[-?\d{0,9}\]", flags=re.ASCII)
_TMP = re.compile(r"\d{1,2}:\d\d:\d\d[:=](?!\d\d)", flags=re.ASCII)
_MARKED_LINES: dict[PlayerFormat, re.Pattern[str]] = {
    "ass": re.compile(r"^\W?(?:dialogue|comment):\s{0,3}[^,]{0,20},[^,]{0,20}:", re.IGNORECASE),
    "ttml": re.compile(r"<p\b[^<>]{0,200}\bbegin=|</tt>", re.IGNORECASE),
    "sami": re.compile(r"<sync\w?\s+start\b|</?sami>", re.IGNORECASE),
    "microdvd": re.compile(r"^\W{0,2}\d?\{.{0,9}\}\W?\w?\{\d"),
    "mpl2": re.compile(r"^\W{0,2}\d{0,9}\[?[^\[\]]{0,9}\]\W?\[\d"),
    "tmp": re.compile(r"^\W?\d\d:\d\d:\d\d:\D"),
}
_REMNANTS: dict[PlayerFormat, re.Pattern[str]] = {  # of times and tags among the words
    "ass": re.compile(r"\d[:.]\d\d[.,]\d\d,|\bdialogue:", re.IGNORECASE),
    "microdvd": re.compile(r"\}\s?\{|\{\d|\d\}"),
    "mpl2": re.compile(r"\]\s?\[|\[\d|\d\]"),
    "tmp": re.compile(r"\d\d:\d\d:\d\d"),
    "sami": re.compile(r"<\w|<p\b|\bsync\b.{0,5}\bstart\b|\b(?:start|class)=", re.IGNORECASE),
    "ttml": re.compile(r"\b(?:begin|end|dur)=", re.IGNORECASE),
}
_HEAD_CHARS = 20_000  # comments and a declaration may come before `<tt`


def find_player_format(text: str, first_line: str) -> PlayerFormat | None:
    """Return which of these formats a transcript is in; None if it is none of them.

    Raises:
        SubtitlesUnreadable: it is XML of another kind.
    """
    if _XML.match(first_line):
        head = text[:_HEAD_CHARS]
        if _TTML.search(head):
            return "ttml"
        if _SAMI.search(head):
            return "sami"
        raise SubtitlesUnreadable("the transcript is XML, and not TTML or SAMI; send SRT, or the words as plain text")
    heads: tuple[tuple[re.Pattern[str], PlayerFormat], ...] = (
        (_ASS, "ass"), (_SAMI, "sami"), (_MICRODVD, "microdvd"), (_MPL2, "mpl2"), (_TMP, "tmp")
    )  # fmt: skip
    return next((kind for pattern, kind in heads if pattern.match(first_line)), None)


def find_marked_line(line: str) -> PlayerFormat | None:
    """Return the format of which a line certainly is, wherever it is in a file that begins with something else."""
    return next((kind for kind, pattern in _MARKED_LINES.items() if pattern.search(line)), None)


def parse_player_format(text: str, kind: PlayerFormat) -> list[Cue]:
    """Return the cues of a file.

    Raises:
        SubtitlesUnreadable: it cannot be read, with the line where that is known, or takes too much time or memory.
        InternalError: the process cannot be started.
    """
    cues: list[Cue] = []
    for number, (start_s, end_s, words, speaker, is_open) in enumerate(_run(text, kind)["cues"], start=1):
        if _REMNANTS[kind].search(words):
            raise line_error(number, f"this is {NAMES[kind]}, and there are times or tags among its words", "cue")
        span_s = checked_span_s(number, max(0.0, start_s), end_s, "cue")
        cues.append(Cue(*span_s, words, speaker, is_open=is_open))
        check_cue_count(cues)
    return cues


def _run(text: str, kind: PlayerFormat) -> dict[str, Any]:
    """Return the answer of a process of library_child.py, which is killed when the job has to stop."""
    arguments = [sys.executable, "-m", "f5_worker.transcripts.library_child", kind, str(MEMORY_BYTES), str(CPU_S)]
    until = time.monotonic() + WALL_S
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=child_environment(),
        )
    except OSError as error:
        raise InternalError(f"the process that reads captions could not be started ({error.strerror})") from None
    with process, cancellation.abort_after(WALL_S, process.kill):
        output, _ = process.communicate(text.encode(errors="replace"))
    cancellation.check()
    if time.monotonic() >= until:
        raise _refused(kind, f"takes more than {WALL_S:g} s to read")
    if process.returncode == -signal.SIGPROF:
        raise _refused(kind, f"takes more than {CPU_S:g} s of processor time to read")
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        raise _refused(kind, "cannot be read: its reader ended, or needed too much memory") from None
    return check_answer(answer, kind)


def check_answer(answer: dict[str, Any], kind: PlayerFormat) -> dict[str, Any]:
    """Return the answer of the process if it has cues.

    Raises:
        SubtitlesUnreadable: it has the reason why not.
    """
    if "error" in answer:
        if answer["line"]:
            raise line_error(answer["line"], f"this is {NAMES[kind]}, and {answer['error']}")
        raise _refused(kind, answer["error"])
    return answer


def _refused(kind: PlayerFormat, reason: str) -> SubtitlesUnreadable:
    return SubtitlesUnreadable(f"the transcript is {NAMES[kind]} and {reason}; send SRT, or the words as plain text")
