"""Read transcripts whose lines begin with times: what Whisper prints, SBV, Premiere's text, lyrics, copied panels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.cues import Cue, check_cue_count, checked_span_s, line_error, open_end_s, parse_clock_s

_CLOCK = r"(?:\d{1,3}:)?\d{1,3}:\d\d(?:[.,]\d{1,6})?"
_EXACT_CLOCK = r"(?:\d{1,3}:)?\d{1,3}:\d\d[.,]\d{1,6}"
_SECONDS = r"\d{1,6}\.\d{1,6}s?"
_FRAMES = r"\d\d[:;]\d\d[:;]\d\d[:;]\d\d"
_ARROW = r"(?:[-=]{0,2} ?>|[\u2192\u2013\u2014-])"
# `[00:00.400 --> 00:05.853]  words`, also in seconds, also without brackets where the times are exact.
_RANGE = re.compile(
    rf"[\[(]\s{{0,3}}({_CLOCK}|{_SECONDS})\s{{0,3}}{_ARROW}\s{{0,3}}({_CLOCK}|{_SECONDS})\s{{0,3}}[\])][ \t:]*(.*)"
    rf"|({_EXACT_CLOCK})\s{{0,3}}(?:-{{1,2}} ?>|\u2192)\s{{0,3}}({_EXACT_CLOCK})[ \t:]+(?![A-Za-z]\w*:\S)(\S.*)",
    flags=re.ASCII | re.DOTALL,
)
# What the programs print besides.
_LOG_LINE = re.compile(
    r"(?:Detecting language using|Detected language|(?:whisper_|ggml_|output_)\w+:|system_info:|main: |load_backend:).*"
    r"|.*UserWarning: .*|\s*warnings\.warn\(.*"
)
# The beginning of the next line where the line ends are lost.
_RANGE_BEGIN = re.compile(rf"(?=\[(?:{_CLOCK}|{_SECONDS})\s{{0,3}}(?:[-=]{{1,2}} ?>|\u2192))", flags=re.ASCII)
_CLOCK_BEGIN = re.compile(r"(?<![\d:.,])(?=((?:\d{1,2}:[0-5]\d|\d{1,2}):[0-5]\d)(?![\d:.,]))", flags=re.ASCII)
_COMMA_RANGE = re.compile(rf"({_CLOCK}),({_CLOCK})()", flags=re.ASCII)
_FRAME_RANGE = re.compile(
    rf"({_FRAMES})\s{{0,3}}(?:[-\u2013\u2014,]|{_ARROW})\s{{0,3}}({_FRAMES})[ \t]*(.*)", flags=re.ASCII
)
# `[01:23.45]words`, `(1:23) words`, `1:23 - words`, `1:23words`, `1:23` alone.
_START = re.compile(
    rf"(?:[\[(]\s{{0,3}}({_CLOCK})\s{{0,3}}[\])]|({_CLOCK})(?![\d:.,]))[ \t]*(?:[-|\u2013\u2014:][ \t]+)?(.*)",
    flags=re.ASCII | re.DOTALL,
)
# `Anna  0:05` or `Speaker 1 (00:05):` above the words, as services of transcription write them.
_HEADING = re.compile(rf"(\S[^\d\[(]{{0,40}}\d{{0,3}})(?:[ \t]{{2,9}}|\t|\s?[\[(])({_CLOCK})[\])]?:?", flags=re.ASCII)
_INNER_STAMP = re.compile(rf"[\[<]{_CLOCK}[\]>]", flags=re.ASCII)
_LYRICS_TAG = re.compile(r"\[(ti|ar|al|au|by|re|ve|la|id|tool|length|offset|#):([^\]]*)\]", re.IGNORECASE)
_PANEL_HEADING = "transcript"
_SPOKEN_CLOCK = re.compile(r"(?:\d{1,3} (?:hours?|minutes?|seconds?)(?:, |$)){1,3}", flags=re.ASCII)
_HEADER = re.compile(r"\[[A-Za-z][^\]]*\].*")
_SPEAKER_LINE = re.compile(r"(?:Speaker \d{1,3}|Unknown)", re.IGNORECASE)
_SPEAKER = re.compile(r"[\[(]?(SPEAKER[_ ]\d{1,3})[\])]?:?\s+(?=\S)")
_BREAK = re.compile(r"\[br\]", re.IGNORECASE)

# Times of forms that are not read: in brackets among the words, with units or from .. to at the beginning of a line, as
# fields of a list, with frames. One may be prose; two are not.
_UNREAD_STAMPS = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"[\[(]\s{{0,3}}{_CLOCK}\s{{0,3}}[\])]",
        r"^\W{0,3}(?:\d{1,6}(?:\.\d{1,6})?\s?s\s?[:\]\)|\u2013-]|(?:\d{1,2}h\s?)?\d{1,3}m\s?\d{1,2}s\b)",
        r"^\W{0,3}\d{1,6}\.\d{1,6}\s?[-\u2013]\s?\d{1,6}\.\d{1,6}",
        r"^[\W_]{0,6}(?:start|end|begin|from|to)\w{0,10}\W{0,3}[:=]\s?\W?\d",
        rf"(?<![\d:;]){_FRAMES}(?![\d:;])",
    )
)
_AT_THE_END = re.compile(rf".{{0,400}}\s({_CLOCK})", flags=re.ASCII)

_MAX_TIMES_OF_LINE = 50  # of a refrain
_MIN_START_SHARE = 1.0 / 3.0  # of the lines: a time on every second line, and a long one that was broken
_MIN_RUN_TOGETHER = 3
_MIN_STAMPS = 2
_FRAME_RATES = (24.0, 25.0, 30.0, 50.0, 60.0)


def is_range_line(line: str) -> bool:
    """Return True for a line that begins with the two times of Whisper's or whisper.cpp's output."""
    return _RANGE.fullmatch(line) is not None


def find_stamped_line(lines: Sequence[str]) -> int | None:
    """Return the number of the first line with a time of a form that is not read, if it is certainly not prose."""
    text = "\n".join(lines)
    for pattern in _UNREAD_STAMPS:
        stamps = list(islice(pattern.finditer(text), _MIN_STAMPS))
        if len(stamps) == _MIN_STAMPS:
            return text.count("\n", 0, stamps[0].end()) + 1
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line]
    ends = [match[1] for _, line in filled if (match := _AT_THE_END.fullmatch(line))]
    has_ends = _MIN_STAMPS <= len(ends) == len(filled) and _seconds(1, ends[0]) < 60.0
    return filled[0][0] if has_ends else None


def is_comma_range(line: str) -> bool:
    """Return True for a line of two times as SBV has them."""
    return _COMMA_RANGE.fullmatch(line) is not None


def is_frame_range(line: str) -> bool:
    """Return True for a line that begins with two times that end in frames, as Premiere has them."""
    return _FRAME_RANGE.fullmatch(line) is not None


def count_starts(lines: Sequence[str]) -> int:
    """Return how many lines begin with a time, if these are so many that the text is certainly not prose; else 0."""
    filled = [line for line in lines if line and not _LYRICS_TAG.fullmatch(line)]
    starts = [match for match in map(_START.match, filled) if match is not None]
    is_lyric = len(starts) == 1 and len(filled) == 1 and starts[0][1] is not None and "." in starts[0][1]
    enough = len(starts) > 1 and len(starts) >= _MIN_START_SHARE * len(filled)
    return len(starts) if enough or is_lyric else 0


def split_run_together(text: str) -> list[str]:
    """Return the lines of a copied panel whose line ends are lost; none if it is something else.

    It begins in the first minute, has three times or more, and these ascend.
    """
    if _START.match(text) is None:
        return []
    stamps = [_seconds(1, match[1]) for match in _CLOCK_BEGIN.finditer(text)]
    ascend = all(later > earlier for earlier, later in pairwise(stamps))
    if len(stamps) < _MIN_RUN_TOGETHER or not ascend or stamps[0] >= 60.0:
        return []
    return [line.strip() for line in _CLOCK_BEGIN.sub("\n", text).split("\n")]


def has_headings(lines: Sequence[str]) -> bool:
    """Return True for a transcript in which lines of a speaker and a time are above the words."""
    filled = [line for line in lines if line]
    headings = [_HEADING.fullmatch(line) for line in filled]
    n_headings = sum(heading is not None for heading in headings)
    return bool(filled) and headings[0] is not None and n_headings > 1 and n_headings >= _MIN_START_SHARE * len(filled)


def parse_headings(lines: Sequence[str]) -> list[Cue]:
    """Parse words below lines of a speaker and a time."""
    headings = [_HEADING.fullmatch(line) for line in lines]
    names = [heading[1].strip() for heading in headings if heading]
    cues = parse_starts([heading[2] if heading else line for heading, line in zip(headings, lines, strict=True)])
    if len(cues) != len(names):  # there are lines of words that begin with a time
        return cues
    return [replace(cue, speaker=name) for cue, name in zip(cues, names, strict=True)]


def parse_ranges(lines: Sequence[str]) -> list[Cue]:
    """Parse what Whisper and whisper.cpp print. Lines without times go on with the words before."""
    kept = ["" if _LOG_LINE.fullmatch(line) else line for line in lines]
    if sum(map(bool, kept)) == 1:
        kept = [line.strip() for line in _RANGE_BEGIN.sub("\n", "".join(kept)).split("\n")]
    is_number = [line.isdecimal() and is_range_line(after) for line, after in zip(kept, [*kept[1:], ""], strict=True)]
    words = ["" if number else line for line, number in zip(kept, is_number, strict=True)]
    return [_with_speaker(cue) for cue in _parse(words, _RANGE, _seconds)]


def parse_sbv(lines: Sequence[str]) -> list[Cue]:
    """Parse SBV of YouTube, and SubViewer, which has a head in brackets."""
    body = next(index for index, line in enumerate(lines) if _COMMA_RANGE.fullmatch(line))
    head = ["" if _HEADER.fullmatch(line) else line for line in lines[:body]]
    cues = _parse([*head, *lines[body:]], _COMMA_RANGE, _seconds)
    return [replace(cue, text=_BREAK.sub("\n", cue.text)) for cue in cues]


def parse_premiere(lines: Sequence[str]) -> list[Cue]:
    """Parse the text that Premiere exports; the rate of its frames is the lowest usual one that has them all."""
    stamps = [stamp for line in lines if (match := _FRAME_RANGE.fullmatch(line)) for stamp in match.groups()[:2]]
    last = max(int(stamp[-2:]) for stamp in stamps)
    if last >= _FRAME_RATES[-1]:
        raise SubtitlesUnreadable(f"the transcript counts {last + 1} frames in a second; send its times in seconds")
    is_ntsc = any(";" in stamp for stamp in stamps)
    rate = next(rate for rate in _FRAME_RATES if rate > last and (rate % 30.0 == 0 or not is_ntsc))
    cues = _parse(lines, _FRAME_RANGE, lambda line, stamp: _frame_seconds(line, stamp, rate))
    return [_with_speaker_line(cue) for cue in cues]


def parse_starts(lines: Sequence[str]) -> list[Cue]:
    """Parse lines that begin with the time at which they are spoken; each is spoken until the next begins.

    Lyrics (LRC), also those with times of words; the panel with the transcript that is copied from YouTube's page.
    """
    offset_s = 0.0
    timed: list[tuple[int, float, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        if tag := _LYRICS_TAG.fullmatch(line):
            offset_s = _offset_s(tag[2]) if tag[1].lower() == "offset" else offset_s
            continue
        starts, words = _take_starts(number, line)
        if starts:
            timed += [(number, start_s, [words]) for start_s in starts]
            check_cue_count(timed)
        elif timed:
            timed[-1][2].append(words)
        elif words and words.lower() != _PANEL_HEADING:
            raise line_error(number, "there is text before the first time")
    if any(later[1] < earlier[1] for earlier, later in pairwise(timed)) and not _has_many_times(timed):
        late = next(later[0] for earlier, later in pairwise(timed) if later[1] < earlier[1])
        raise line_error(late, "its time is before that of the line before it")
    return list(_until_next(sorted(timed, key=lambda item: item[1]), offset_s))


def read_time(value: object) -> float | None:
    """Return a time of a field in its own unit: a number, `1.3s` or `00:00:01.300`; None if it is none of these."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        return _seconds(1, value) if re.fullmatch(f"{_CLOCK}|{_SECONDS}", value, flags=re.ASCII) else None
    return float(value) if 0.0 <= value < 1e9 else None


def _until_next(timed: Sequence[tuple[int, float, list[str]]], offset_s: float) -> Iterator[Cue]:
    for index, (line, begin_s, kept) in enumerate(timed):
        words = "\n".join("" if _SPOKEN_CLOCK.fullmatch(part) else part for part in kept).strip()
        start_s = max(0.0, begin_s - offset_s)
        is_last = index + 1 == len(timed)
        end_s = open_end_s(start_s, words) if is_last else max(0.0, timed[index + 1][1] - offset_s)
        yield _with_speaker(Cue(*checked_span_s(line, start_s, end_s), words, None, is_open=is_last))


def _take_starts(number: int, line: str) -> tuple[list[float], str]:
    """Return the times that a line begins with, and its words without those of single words."""
    starts: list[float] = []
    while match := _START.match(line):
        if starts and match[1] is None:  # `[00:05] 10:30 is late`
            break
        if len(starts) == _MAX_TIMES_OF_LINE:
            raise line_error(number, f"it begins with more than {_MAX_TIMES_OF_LINE} times")
        starts.append(_seconds(number, match[1] or match[2]))
        line = match[3]
    return starts, _INNER_STAMP.sub("", line) if starts else line


def _has_many_times(timed: Sequence[tuple[int, float, list[str]]]) -> bool:
    """Return True for lyrics whose refrain has the times of all its repetitions on one line."""
    return len({line for line, _, _ in timed}) < len(timed)


def _offset_s(milliseconds: str) -> float:
    """Return by how much lyrics are to come earlier; 0 if that cannot be read."""
    match = re.fullmatch(r"\s{0,3}([+-]?\d{1,7})\s{0,3}", milliseconds, flags=re.ASCII)
    return int(match[1]) / 1_000 if match else 0.0


def _parse(lines: Sequence[str], pattern: re.Pattern[str], seconds: Callable[[int, str], float]) -> list[Cue]:
    """Return the cues of lines that begin with two times; the lines after each are its words, too."""
    blocks: list[tuple[float, float, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        if match := pattern.fullmatch(line):
            start, end, words = (group for group in match.groups() if group is not None)
            blocks.append((*checked_span_s(number, seconds(number, start), seconds(number, end)), [words]))
            check_cue_count(blocks)
        elif blocks:
            blocks[-1][2].append(line)
        elif line:
            raise line_error(number, "there is text before the first time")
    return [Cue(start_s, end_s, "\n".join(words).strip(), None) for start_s, end_s, words in blocks]


def _seconds(line: int, stamp: str) -> float:
    if ":" not in stamp:
        return float(stamp.removesuffix("s"))
    clock, _, fraction = stamp.replace(",", ".").partition(".")
    *hours, minutes, seconds = clock.split(":")
    return parse_clock_s(line, hours[0] if hours else None, minutes, seconds, fraction or None)


def _frame_seconds(line: int, stamp: str, rate: float) -> float:
    hours, minutes, seconds, frame = re.split("[:;]", stamp)
    return round(parse_clock_s(line, hours, minutes, seconds, None) + int(frame) / rate, 6)


def _with_speaker(cue: Cue) -> Cue:
    """Return the cue with the speaker that diarization put before its words."""
    match = _SPEAKER.match(cue.text)
    return replace(cue, text=cue.text[match.end() :], speaker=match[1]) if match else cue


def _with_speaker_line(cue: Cue) -> Cue:
    first, _, words = cue.text.partition("\n")
    return replace(cue, text=words, speaker=first) if words and _SPEAKER_LINE.fullmatch(first) else cue
