"""Hostile transcripts are read or refused in a time that grows with their length only."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.cues import MAX_CUES
from f5_worker.transcripts.non_speech import spoken_words
from f5_worker.transcripts.parse import parse_transcript

CUE = "00:00:01,000 --> 00:00:02,000\n"
HEAD = "Start (s),End (s),Segment\n"
# Quadratic work on so many characters takes minutes, linear work a part of a second.
SIZE, LIMIT_S = 100_000, 10.0

HOSTILE: dict[str, Callable[[], str]] = {
    "arrows": lambda: "-->" * (SIZE // 3),
    "arrow lines": lambda: "-->\n" * (SIZE // 4),
    "digits": lambda: "1" * SIZE,
    "digit lines": lambda: "1\n" * (SIZE // 2),
    "colons": lambda: "1:" * (SIZE // 2),
    "clocks": lambda: "00:00:00,000 " * (SIZE // 13),
    "a cue of digits": lambda: CUE + "1\n" * (SIZE // 2),
    "a cue of blank lines": lambda: "1\n" + CUE + "\n" * SIZE,
    "settings": lambda: CUE[:-1] + " a:b" * (SIZE // 4) + "\n",
    "almost settings": lambda: CUE[:-1] + " a:b" * (SIZE // 4) + " !\n",
    "spaces in times": lambda: "00:00:01,000" + " " * SIZE + "x",
    "open tags": lambda: CUE + "<i" * (SIZE // 2),
    "angles": lambda: CUE + "<" * SIZE,
    "open voices": lambda: CUE + "<v." * (SIZE // 3),
    "voices of spaces": lambda: CUE + "<v " + " " * SIZE,
    "braces": lambda: CUE + "{\\" * (SIZE // 2),
    "brackets": lambda: CUE + "[" * SIZE,
    "spaces": lambda: CUE + " " * SIZE + "x",
    "one tag of a vtt": lambda: "WEBVTT\n\n" + CUE + "<" + "a" * SIZE,
    "entities": lambda: "WEBVTT\n\n" + CUE + "&amp" * (SIZE // 4),
    "notes": lambda: "WEBVTT\n\n" + "NOTE\n\n" * (SIZE // 6),
    "carriage returns": lambda: "\r" * SIZE + "x",
    "commas": lambda: "," * SIZE,
    "a row of commas": lambda: HEAD + "0,1," + "," * SIZE,
    "rows of commas": lambda: HEAD + "0,1,,,\n" * (SIZE // 7),
    "an open quote": lambda: HEAD + '0,1,"' + "a\n" * (SIZE // 2),
    "quotes": lambda: HEAD + '"' * SIZE,
    "a number": lambda: HEAD + "9" * SIZE + ",1,a",
    "ranges": lambda: "[00:01.000 --> 00:02.000" * (SIZE // 23),
    "a range and spaces": lambda: "[00:01.000 --> 00:02.000]" + " " * SIZE + "\n[" + " " * SIZE,
    "lines of ranges": lambda: "[00:01.000 --> 00:02.000] a\n" * (SIZE // 27),
    "starts": lambda: "[00:01.00]" * (SIZE // 10),
    "a refrain": lambda: "[00:01.00]" * 9_000 + "a" * (SIZE - 90_000) + "\n" + "b\n" * 9_000,
    "headings": lambda: "Ann  0:05\n" * (SIZE // 10),
    "rows": lambda: "a,b,c\n" + "0.4,5.8,\n" * (SIZE // 9),
    "ranges on one line": lambda: "[0:01 --> 0:02] a " * (SIZE // 18),
    "clocks on one line": lambda: " ".join(f"{n // 60}:{n % 60:02d} a" for n in range(SIZE // 8)),
    "blocks": lambda: "```srt\n" * (SIZE // 7),
    "lines of starts": lambda: "0:01\n" * (SIZE // 5),
    "times of words": lambda: "[00:01.00]" + "<00:01.00>" * (SIZE // 10),
    "commas and clocks": lambda: "0:00:01.000," * (SIZE // 12),
    "frames": lambda: "00;00;00;12 - 00;00;05;25\n" * (SIZE // 26),
    "clocks of spaces": lambda: "00 : 00 : 01" + " ,;" * (SIZE // 3) + "-->",
    "fences": lambda: "```\n" * (SIZE // 4),
    "invisible signs": lambda: "\u200d" * SIZE,
    "rows in a text": lambda: HEAD + "0,1," + "1.5,2.5," * (SIZE // 8),
    "deep json": lambda: '{"a":' * (SIZE // 5),
    "deep lists in json": lambda: '[{"a":' + "[" * 900 + "]" * 900 + "}]",
    "lists in json": lambda: '[{"a":[{}]' + ',"b":[{}]' * (SIZE // 9) + "}]",
    "segments": lambda: "[" + '{"start":1,"end":2,"text":"a"},' * 9_000 + '{"start":1,"end":2,"text":"a"}]',
    "a number in json": lambda: '{"segments":[{"start":' + "9" * SIZE + "}]}",
    "sounds": lambda: CUE + "[(" * (SIZE // 2),
    "notes of music": lambda: CUE + "♪ " * (SIZE // 2),
    "a name": lambda: "start" * (SIZE // 5) + ",end,text",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_long(name: str) -> None:
    text = HOSTILE[name]()
    started = time.process_time()
    with suppress(SubtitlesUnreadable):
        for cue in parse_transcript(text).cues:
            spoken_words(cue.text)
    assert time.process_time() - started < LIMIT_S


@pytest.mark.slow
@pytest.mark.parametrize("row", ["00:00:01,000 --> 00:00:02,000\na\n\n", "0.0,1.0,a\n"])
def test_the_number_of_cues_is_bounded(row: str) -> None:
    assert len(parse_transcript(row * MAX_CUES).cues) == MAX_CUES
    with pytest.raises(SubtitlesUnreadable, match=f"more than {MAX_CUES} cues"):
        parse_transcript(row * (MAX_CUES + 1))


@pytest.mark.parametrize("huge", ["9" * 5_000, "٣", "1e99", "0x10", "1_000", "inf", "١٢:٠٠:٠٠"])
def test_unusual_numbers_are_refused_with_their_line(huge: str) -> None:
    with pytest.raises(SubtitlesUnreadable, match=r"line [12] of the transcript: "):
        parse_transcript(f"{HEAD}0,{huge},a")
    with pytest.raises(SubtitlesUnreadable, match="line 2 of the transcript: "):
        parse_transcript(f"1\n00:00:01,000 --> {huge}:00:00,000\na")


def test_an_error_repeats_nothing_of_the_text() -> None:
    for text in (f"{HEAD}0,SECRET,a", f"{HEAD}SECRET", "1\n00:00:01,000 --> SECRET\nSECRET"):
        with pytest.raises(SubtitlesUnreadable) as caught:
            parse_transcript(text)
        assert "SECRET" not in str(caught.value)
