"""Timed pieces of a transcript, and SRT and WebVTT read into them, also where programs or people wrote them loosely."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from f5_worker.errors import SubtitlesUnreadable

MAX_CUES = 10_000
MAX_TIME_S = 86_400.0

_CLOCK = r"(?:(\d{1,9}):)?(\d{1,9}):(\d{1,2})(?:[.,](\d{1,9}))?"
ARROWS = ("-->", "->", "–>", "—>", "→")
# Bounded or disjoint repetitions only: no text makes these slow.
_TIMES = re.compile(rf"{_CLOCK}[ \t]*(?:{'|'.join(ARROWS)})[ \t]*{_CLOCK}(?:[ \t]+[A-Za-z]\w*:\S+)*", flags=re.ASCII)
CLOCK = re.compile(_CLOCK, flags=re.ASCII)
_TIME_SIGNS = "0123456789:.,"
_ASIDE = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)")

_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^\s<>][^<>]{0,99})>")
_BRACKETED = re.compile(r"\s*\[([^\[\]\n]{1,64})\]:\s*")
_SRT_TAG = re.compile(
    r"</?(?:i|b|u|s|em|strong|font|span|c|v|lang|ruby|rt)(?:[\s.][^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE
)
_VTT_TAG = re.compile(r"<[^<>]*>")
_IDEOGRAPH = "[\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff00-\uff9f\U00020000-\U0003ffff]"
_NEEDLESS_BREAK = re.compile(rf"(?<={_IDEOGRAPH})\n(?={_IDEOGRAPH})")


@dataclass(frozen=True)
class Cue:
    """What is said from `start_s` to `end_s`, on one line and without markup; `speaker` where the file names one."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None


@dataclass
class _Block:
    """A cue as it stands in the file; `line` is that of its times, counted from 1."""

    line: int
    start_s: float
    end_s: float
    lines: list[str]


def unreadable(line: int, what: str) -> SubtitlesUnreadable:
    return SubtitlesUnreadable(f"line {line} of the transcript: {what}; correct it, or send the words as plain text")


def span_s(line: int, start_s: float, end_s: float) -> tuple[float, float]:
    """The times of a cue, if they make sense.

    Raises:
        SubtitlesUnreadable: naming the line.
    """
    if end_s < start_s:
        raise unreadable(line, f"it ends at {end_s:g} s, before it starts at {start_s:g} s")
    if end_s > MAX_TIME_S:
        raise unreadable(line, f"it ends at {end_s:g} s, at most {MAX_TIME_S:.0f} s (24 hours)")
    return start_s, end_s


def clock_s(line: int, hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    """The groups of CLOCK in seconds. Without hours, minutes may exceed 59."""
    if int(seconds) > 59 or (hours and int(minutes) > 59):
        raise unreadable(line, f"{minutes[:9]}:{seconds} is no time, minutes and seconds end at 59")
    return round(int(hours or 0) * 3_600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}"), 6)


def is_times(line: str) -> bool:
    """Is this the line of an SRT or WebVTT cue that says when, readable or almost?"""
    return _TIMES.fullmatch(line) is not None or _is_almost_times(line)


def _is_almost_times(line: str) -> bool:
    """Not a line of prose with times and an arrow in it, such as `10:30 --> 11:30 at noon`."""
    head, arrow, tail = (part.strip() for part in line.partition(ARROWS[0]))
    alone = " " not in head and " " not in tail
    return bool(arrow) and (_is_surely_time(head) or (alone and _is_surely_time(tail)))


def _is_surely_time(text: str) -> bool:
    """Only digits and points, and more of these than people write."""
    return not text.strip(_TIME_SIGNS) and (text.count(":") > 1 or (":" in text and ("." in text or "," in text)))


def in_order(cues: Sequence[Cue]) -> tuple[Cue, ...]:
    """By their start; those without words are left out.

    Raises:
        SubtitlesUnreadable: none has words.
    """
    spoken = sorted((cue for cue in cues if cue.text), key=lambda cue: cue.start_s)
    if not spoken:
        raise SubtitlesUnreadable(f"the transcript has {len(cues)} cues and no words in them; send the words with it")
    return tuple(spoken)


def ensure_few(cues: Sequence[object]) -> None:
    if len(cues) > MAX_CUES:
        raise SubtitlesUnreadable(f"the transcript has more than {MAX_CUES} cues; send it in parts")


def parse_srt(lines: Sequence[str]) -> list[Cue]:
    """SRT: numbers or none, comma or point, markup, blank lines inside a cue."""
    return [cue for block in _blocks(lines, 0, vtt=False) for cue in _cues(block, "\n".join(block.lines), _SRT_TAG)]


def parse_vtt(lines: Sequence[str]) -> list[Cue]:
    """WebVTT: the words of each voice of a cue become a cue of their own. Unlike browsers, no text is passed over."""
    head = next(index for index, line in enumerate(lines) if line)
    body = (index for index in range(head + 1, len(lines)) if not lines[index] or is_times(lines[index]))
    blocks = _blocks(lines, next(body, len(lines)), vtt=True)
    cues = [cue for block in blocks for cue in _cues(block, "\n".join(block.lines), _VTT_TAG)]
    return [Cue(cue.start_s, cue.end_s, on_one_line(html.unescape(cue.text)), cue.speaker) for cue in cues]


def _blocks(lines: Sequence[str], begin: int, *, vtt: bool) -> list[_Block]:
    """Cues from `lines[begin:]` on; all lines are stripped."""
    blocks: list[_Block] = []
    loose: list[str] = []  # what stands before the first cue, and the number of its first line
    loose_line = 0
    numbered = aside = False
    for index in range(begin, len(lines)):
        line = lines[index]
        after_blank = index == 0 or not lines[index - 1]
        aside = bool(line) and (aside or (vtt and after_blank and _ASIDE.match(line) is not None))
        if aside:
            continue
        if times := _TIMES.fullmatch(line):
            above = blocks[-1].lines if blocks else loose
            numbered = numbered or (not blocks and "".join(loose).isdecimal())
            _drop_name(above, len(blocks) + 1, numbered=numbered, vtt=vtt)
            if not blocks and any(loose):
                raise unreadable(loose_line, "there is text before the first cue")
            number, group = index + 1, times.groups()
            start_s, end_s = span_s(number, clock_s(number, *group[:4]), clock_s(number, *group[4:]))
            blocks.append(_Block(number, start_s, end_s, []))
            ensure_few(blocks)
        elif _is_almost_times(line):
            raise unreadable(index + 1, "its times cannot be read, write them as 00:00:01,000 --> 00:00:02,500")
        else:
            (blocks[-1].lines if blocks else loose).append(line)
            loose_line = loose_line or (index + 1 if line else 0)
    return blocks


def _drop_name(above: list[str], number: int, *, numbered: bool, vtt: bool) -> None:
    """Take the number or, in WebVTT, the name of the next cue off the lines above its times."""
    last = next((index for index in reversed(range(len(above))) if above[index]), None)
    if last is None:
        return
    name = above[last]
    near = last + 1 == len(above)  # some programs leave blank lines between all lines
    is_number = numbered and name.isdecimal() and (near or name == str(number))
    is_name = vtt and near and (last == 0 or not above[last - 1])
    if is_number or is_name:
        del above[last:]


def _cues(block: _Block, text: str, tag: re.Pattern[str]) -> Iterator[Cue]:
    """One cue, or one for each voice in it."""
    first, *voices = _VOICE.split(text)
    spans = [(None, first), *zip(voices[::2], voices[1::2], strict=True)]
    for voice, said in spans:
        words, speaker = tag.sub("", said), voice
        if voice is None and (named := _BRACKETED.match(words)):
            speaker, words = named[1], words[named.end() :]
        if voice is not None and not words.strip():
            continue
        yield Cue(block.start_s, block.end_s, on_one_line(words), speaker.strip() if speaker else None)


def on_one_line(text: str) -> str:
    """White space of any kind becomes one space, or none between ideographs where only the line ended."""
    return " ".join(_NEEDLESS_BREAK.sub("", text).split())
