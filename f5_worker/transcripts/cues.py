"""Read SRT and WebVTT into timed cues, also where programs or people wrote them loosely."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.text.scripts import JOINED_WITHOUT_SPACE
from f5_worker.transcripts.tidy import FULLWIDTH_SIGNS

MAX_CUES = 10_000
MAX_TIME_S = 86_400.0
# As pysubs2 estimates the end of a cue that has none: 15 characters a second, and half a second.
OPEN_END_S, OPEN_END_S_PER_CHAR = 0.5, 0.067

_CLOCK_PATTERN = r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,2})(?:[.,](\d{1,9}))?"
_ARROWS = ("-->", "->", "–>", "—>", "→")
# Bounded or disjoint repetitions only: no text makes these slow.
_TIME_LINE = re.compile(
    rf"{_CLOCK_PATTERN}[ \t]*(?:{'|'.join(_ARROWS)})[ \t]*{_CLOCK_PATTERN}(?:[ \t]+[A-Za-z]\w*:\S+)*", flags=re.ASCII
)
CLOCK = re.compile(_CLOCK_PATTERN, flags=re.ASCII)
_TIME_CHARS = "0123456789:.,"
_COMMENT_HEAD = re.compile(r"(?:NOTE|STYLE|REGION|WEBVTT|X-TIMESTAMP-MAP)(?:[ \t=]|$)")  # or of a joined file
# A time to the millisecond, or with hours and any fraction: it is not written like this in prose.
_EXACT_TIME = r"(?<!\d)\d{1,3}[:;]\d{1,2}(?:[.,]\d{3}|[:;]\d{1,2}[.,:;]\d{1,3})(?!\d)"
_ZERO_HOURS = r"(?<!\d)0?0[:;]\d{1,2}[:;]"
_EXACT = re.compile(_EXACT_TIME, flags=re.ASCII)
# What is left of such a time, or of one in brackets or by an arrow, where a letter of it is missing.
_TIME_REMNANT = re.compile(
    rf"{_EXACT_TIME}|{_ZERO_HOURS}\S|[:;]\d{{1,2}}[.,]\d{{3}}(?!\d)|(?<!\d)00:\d{{0,2}}:?(?:\Z|[A-Za-z])|[A-Za-z]00:\d\d"
    r"|[\[<]\d{1,3}[:;]\d|[:;]\d\d(?:[.,]\d{1,3})?[\]>]|[:;]\d{1,2}\]?\s?-{1,2}>|-->\s?\[?\d{1,3}[:;]",
    flags=re.ASCII,
)
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d:\d\d", flags=re.ASCII)
_SIGNS_AROUND_TIMES = re.compile(r"[\[\]<>=\u2192]|\d;\d\d;\d")
_MARKS, _MAX_TIME_CHARS = ".,:;!?\"'()[]<>-", 40
_TIMED_BEGINNING = re.compile(rf"\W{{0,3}}(?:{_EXACT_TIME}|{_ZERO_HOURS})|\[\W?\d{{1,3}}[:;]\d", flags=re.ASCII)

_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^\s<>][^<>]{0,99})>")
_BRACKETED = re.compile(r"\s*\[([^\[\]\n]{1,64})\]:\s*")
_SRT_TAG = re.compile(
    r"<[ \t]{0,4}(?:i|b|u|s|p|br|em|strong|font|span|c|v|lang|ruby|rt|sub|sup|big|small|center|div)(?:[\s./][^<>]*)?>"
    r"|<[ \t]{0,4}/[^<>]*>|\{\\[^{}]*\}",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br[ \t]{0,4}/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});", flags=re.ASCII)
_VTT_TAG = re.compile(r"<[^<>]*>|<\d{1,3}:[\d:.]*\Z", flags=re.ASCII)
_NEEDLESS_BREAK = re.compile(rf"(?<=[{JOINED_WITHOUT_SPACE}])\n(?=[{JOINED_WITHOUT_SPACE}])")


@dataclass(frozen=True)
class Cue:
    """The words spoken from `start_s` to `end_s`, on one line, without markup; `speaker` where the file names one.

    Attributes:
        number: its place in the file, from 1.
        is_open: the file does not say when it ends, `end_s` is an estimate.
    """

    start_s: float
    end_s: float
    text: str
    speaker: str | None
    number: int = field(default=0, compare=False)
    is_open: bool = field(default=False, compare=False)


@dataclass
class _Block:
    """A cue as it is in the file; `line` is that of its times, counted from 1."""

    line: int
    start_s: float
    end_s: float
    lines: list[str]


def line_error(number: int, reason: str, unit: str = "line") -> SubtitlesUnreadable:
    """Return the error for a line, or another unit, that cannot be read."""
    return SubtitlesUnreadable(
        f"{unit} {number} of the transcript: {reason}; correct it, or send the words as plain text"
    )


def checked_span_s(number: int, start_s: float, end_s: float, unit: str = "line") -> tuple[float, float]:
    """Return the times of a cue if they are in order and within a day.

    Raises:
        SubtitlesUnreadable: with the line, or the number of another unit.
    """
    if end_s < start_s:
        raise line_error(number, f"it ends at {end_s:g} s, before it starts at {start_s:g} s", unit)
    if end_s > MAX_TIME_S:
        raise line_error(number, f"it ends at {end_s:g} s, at most {MAX_TIME_S:.0f} s (24 hours)", unit)
    return start_s, end_s


def parse_clock_s(line: int, hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    """Return the groups of CLOCK in seconds. Without hours, minutes may exceed 59.

    Raises:
        SubtitlesUnreadable: with the line.
    """
    if int(seconds) > 59 or (hours and int(minutes) > 59):
        raise line_error(line, f"{minutes[:9]}:{seconds} is not a time, minutes and seconds end at 59")
    return round(int(hours or 0) * 3_600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}"), 6)


def is_time_line(line: str) -> bool:
    """Return True for the line of an SRT or WebVTT cue that has its times, readable or almost."""
    return _TIME_LINE.fullmatch(line) is not None or _is_almost_time_line(line)


def _is_almost_time_line(line: str) -> bool:
    """Return True for times with an arrow that cannot be read, but not for prose: `10:30 --> 11:30 at noon`."""
    head, arrow, tail = (part.strip() for part in line.partition(_ARROWS[0]))
    is_alone = " " not in head and " " not in tail
    n_digits = sum(map(str.isdigit, line))
    is_broken = (n_digits > 9 or (line.count(":") > 1 and n_digits > 5)) and sum(map(str.isalpha, line)) < 4
    return bool(arrow) and (_is_certainly_time(head) or is_broken or (is_alone and _is_certainly_time(tail)))


def _is_certainly_time(text: str) -> bool:
    """Return True for digits and separators only, and more of these than people write in prose."""
    return not text.strip(_TIME_CHARS) and (text.count(":") > 1 or (":" in text and ("." in text or "," in text)))


def holds_times(words: str) -> bool:
    """Return True for words of a cue with a time of the file in them, or what is left of one."""
    plain = words.translate(FULLWIDTH_SIGNS)
    return _TIME_REMNANT.search(plain) is not None or any(map(_is_broken_time, plain.split()))


def _is_broken_time(word: str) -> bool:
    """Return True for a word with more digits and colons than a time of the day has; `17:02:51` is one."""
    bare = word.strip(_MARKS)
    n_colons, n_digits = bare.count(":") + bare.count(";"), sum(map(str.isdecimal, bare))
    is_long = (n_colons > 0 and n_digits > 5) or (n_colons > 1 and n_digits > 3)
    return is_long and not (_TIME_OF_DAY.fullmatch(bare) and not bare.startswith("00"))


def is_timed(line: str) -> bool:
    """Return True for a line that begins as no sentence does, with a time of subtitles, or has one beside an arrow."""
    plain = line.translate(FULLWIDTH_SIGNS)
    if _TIMED_BEGINNING.match(plain) or _is_broken_time(plain[:_MAX_TIME_CHARS].split(" ", 1)[0]):
        return True
    return _EXACT.search(plain) is not None and _SIGNS_AROUND_TIMES.search(plain) is not None


def sort_cues(cues: Sequence[Cue]) -> tuple[Cue, ...]:
    """Return the cues that have words, by their start.

    Raises:
        SubtitlesUnreadable: none has words.
    """
    spoken = sorted((cue for cue in cues if cue.text), key=lambda cue: cue.start_s)
    if not spoken:
        raise SubtitlesUnreadable(f"the transcript has {len(cues)} cues and no words in them; send the words with it")
    return tuple(spoken)


def check_cue_count(cues: Sequence[object]) -> None:
    """Raise SubtitlesUnreadable for more than MAX_CUES cues."""
    if len(cues) > MAX_CUES:
        raise SubtitlesUnreadable(f"the transcript has more than {MAX_CUES} cues; send it in parts")


def parse_srt(lines: Sequence[str]) -> list[Cue]:
    """Parse SRT: with numbers or without, comma or point, markup, entities, blank lines inside a cue."""
    cues = _all_cues(_blocks(lines, 0, vtt=False), _SRT_TAG)
    return [replace(cue, text=unescape(cue.text)) for cue in cues]


def parse_vtt(lines: Sequence[str]) -> list[Cue]:
    """Parse WebVTT; the words of each voice in a cue become a cue of their own.

    Browsers skip text that they cannot interpret; here none is skipped.
    """
    head = next(index for index, line in enumerate(lines) if line)
    body = (index for index in range(head + 1, len(lines)) if not lines[index] or is_time_line(lines[index]))
    blocks = _blocks(lines, next(body, len(lines)), vtt=True)
    return [replace(cue, text=html.unescape(cue.text)) for cue in _all_cues(blocks, _VTT_TAG)]


def _blocks(lines: Sequence[str], begin: int, *, vtt: bool) -> list[_Block]:
    """Return the cues from `lines[begin:]` on; all lines are stripped."""
    blocks: list[_Block] = []
    preamble: list[str] = []  # the text before the first cue
    preamble_line = 0  # the number of its first line
    is_numbered = is_comment = False
    for index in range(begin, len(lines)):
        line = lines[index]
        is_after_blank = index == 0 or not lines[index - 1]
        begins_comment = vtt and is_after_blank and _COMMENT_HEAD.match(line) is not None
        is_comment = bool(line) and (is_comment or begins_comment)
        if is_comment:
            continue
        if times := _TIME_LINE.fullmatch(line):
            above = blocks[-1].lines if blocks else preamble
            is_numbered = is_numbered or (not blocks and next(filter(None, reversed(preamble)), "").isdecimal())
            _drop_name(above, len(blocks) + 1, is_numbered=is_numbered, vtt=vtt)
            if not blocks and any(preamble):
                raise line_error(preamble_line, "there is text before the first cue")
            number, group = index + 1, times.groups()
            start_s, end_s = parse_clock_s(number, *group[:4]), parse_clock_s(number, *group[4:])
            blocks.append(_Block(number, *checked_span_s(number, start_s, end_s), []))
            check_cue_count(blocks)
        elif _is_almost_time_line(line):
            raise line_error(index + 1, "its times cannot be read, write them as 00:00:01,000 --> 00:00:02,500")
        else:
            (blocks[-1].lines if blocks else preamble).append(line)
            preamble_line = preamble_line or (index + 1 if line else 0)
    return blocks


def _drop_name(above: list[str], number: int, *, is_numbered: bool, vtt: bool) -> None:
    """Remove the number or, in WebVTT, the name of the next cue from the lines above its times."""
    last = next((index for index in reversed(range(len(above))) if above[index]), None)
    if last is None:
        return
    name = above[last]
    is_adjacent = last + 1 == len(above)  # some programs leave blank lines between all lines
    is_number = is_numbered and name.isdecimal() and (is_adjacent or name == str(number))
    is_name = vtt and is_adjacent and (last == 0 or not above[last - 1])
    is_twice = is_number and above[last - 1 : last] == [name] and not any(above[last - 2 : last - 1])
    if is_number or is_name:
        del above[last - int(is_twice) :]


def open_end_s(start_s: float, words: str) -> float:
    """Return an estimate of when words end that begin at `start_s`."""
    return start_s + OPEN_END_S + OPEN_END_S_PER_CHAR * len(words)


def unescape(text: str) -> str:
    """Replace the entities of HTML that are written out, also where a program did that twice; `AT&T` stays."""
    once = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return _ENTITY.sub(lambda match: html.unescape(match[0]), once)


def _all_cues(blocks: Sequence[_Block], tag: re.Pattern[str]) -> list[Cue]:
    numbered = enumerate(blocks, start=1)
    return [
        replace(cue, number=number) for number, block in numbered for cue in _cues(block, "\n".join(block.lines), tag)
    ]


def _cues(block: _Block, text: str, tag: re.Pattern[str]) -> Iterator[Cue]:
    """Yield one cue, or one for each voice in it; the words are on the lines that they have in the file."""
    first, *voices = _VOICE.split(text)
    spans = [(None, first), *zip(voices[::2], voices[1::2], strict=True)]
    for voice, marked_up in spans:
        words, speaker = tag.sub("", _BREAK.sub("\n", marked_up)), voice
        if voice is None and (named := _BRACKETED.match(words)):
            speaker, words = named[1], words[named.end() :]
        if voice is not None and not words.strip():
            continue
        yield Cue(block.start_s, block.end_s, words, speaker.strip() if speaker else None)


def join_lines(text: str) -> str:
    """Replace white space of any kind by one space, or by none between ideographs where only the line ended."""
    return " ".join(_NEEDLESS_BREAK.sub("", text).split())
