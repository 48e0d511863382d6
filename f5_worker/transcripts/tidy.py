"""Remove from a transcript what editors, chats and keyboards put around its words and into its times."""

from __future__ import annotations

import re

from f5_worker.text.scripts import strip_invisible

_LINE_END = re.compile(r"\r{1,2}\n|\r")
_FENCE = re.compile(r"(?:\A\s*|^[ \t]*)(?:```|~~~)[ \t]*[\w+-]{0,20}[ \t]*$", flags=re.MULTILINE)
_CAPTION_BLOCK = re.compile(
    r"^[ \t]*```[ \t]*(?:srt|vtt|webvtt|sbv|ass|ssa|lrc|ttml|json|csv|tsv)[ \t]*\n(.*?)(?:^[ \t]*```|\Z)",
    flags=re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
FULLWIDTH_SIGNS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
_NUMBER = re.compile(r"#?(\d{1,6})[.):]?", flags=re.ASCII)  # of a cue
_MAX_TIME_LINE_CHARS = 200
_CLOCK_CHARS = r"\d[\d:.,; \t]{2,40}"
_ARROW = r"(?:[-\u2010-\u2015=][ \t]?){1,5}(?:>|&gt;)|[\u2192\u2794\u279c\u27f6\u21d2]"
# Two clocks and an arrow of any kind, with WebVTT's settings behind them.
_ARROW_LINE = re.compile(
    rf"(?P<start>{_CLOCK_CHARS})(?:{_ARROW})[ \t]*(?P<end>{_CLOCK_CHARS})(?P<rest>(?:[ \t]+[A-Za-z]\w*:\S+)*)",
    flags=re.ASCII,
)
_AROUND_SEPARATOR = re.compile(r"[ \t]*([:.,;])[ \t]*")
_COLON_FRACTION = re.compile(r"(\d{1,9}:\d{1,2}:\d{1,2})[:;](\d{3})")


def tidy(text: str) -> str:
    """Return a transcript without invisible characters and code fences.

    Of a chat's answer that is its first block of captions; other fences are removed where it begins with one.
    """
    plain = _LINE_END.sub("\n", strip_invisible(text))
    if block := _CAPTION_BLOCK.search(plain):
        return block[1]
    if _FENCE.match(plain):
        plain = _FENCE.sub("", plain)
    return plain


def tidy_lines(text: str) -> list[str]:
    """Return the stripped lines of a transcript, those of two times as SRT writes them."""
    lines = [_tidy_times(line.strip()) for line in text.split("\n")]
    return [
        number[1] if "-->" in after and (number := _NUMBER.fullmatch(line)) else line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
    ]


def _tidy_times(line: str) -> str:
    """Return a line of two times as SRT writes it; any other line as it is."""
    if not line or len(line) > _MAX_TIME_LINE_CHARS or not line[0].isdigit():
        return line
    match = _ARROW_LINE.fullmatch(line.translate(FULLWIDTH_SIGNS))
    if match is None:
        return line
    return f"{_tidy_clock(match['start'])} --> {_tidy_clock(match['end'])}{match['rest']}"


def _tidy_clock(clock: str) -> str:
    return _COLON_FRACTION.sub(r"\1.\2", _AROUND_SEPARATOR.sub(r"\1", clock.strip()))
