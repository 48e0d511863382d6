"""Captions that roll or repeat: a viewer reads every word once; what is said twice stays."""

from __future__ import annotations

from itertools import pairwise

import pytest

from f5_worker.transcripts.parse import parse_transcript

PHRASES = ("the morning light", "came slowly over", "the quiet hills and", "no one was awake")
Cues = list[tuple[float, float, str]]


def srt(*cues: tuple[float, float, str]) -> str:
    return "\n".join(
        f"{n}\n00:00:{start:06.3f} --> 00:00:{end:06.3f}\n{words}\n"
        for n, (start, end, words) in enumerate(cues, start=1)
    )


def read(text: str) -> Cues:
    return [(cue.start_s, cue.end_s, cue.text) for cue in parse_transcript(text).cues]


def test_youtubes_vtt_with_times_of_words_and_cues_that_hold() -> None:
    text = (
        "WEBVTT\nKind: captions\nLanguage: en\n\n"
        "00:00:00.160 --> 00:00:02.429 align:start position:0%\n \n"
        "the<00:00:00.960><c> morning</c><00:00:01.520><c> light</c>\n\n"
        "00:00:02.429 --> 00:00:02.439 align:start position:0%\nthe morning light\n \n\n"
        "00:00:02.439 --> 00:00:04.749 align:start position:0%\nthe morning light\n"
        "came<00:00:02.760><c> slowly</c><00:00:03.000><c> over</c>\n\n"
        "00:00:04.749 --> 00:00:04.759 align:start position:0%\ncame slowly over\n \n\n"
        "00:00:04.759 --> 00:00:07.000 align:start position:0%\ncame slowly over\nthe<00:00:05.000><c> hills</c>\n"
    )
    assert read(text) == [
        (0.16, 2.439, "the morning light"),
        (2.439, 4.759, "came slowly over"),
        (4.759, 7.0, "the hills"),
    ]


def test_the_same_as_srt() -> None:
    rolled: Cues = [(0.0, 2.0, PHRASES[0])]
    for n, (before, words) in enumerate(pairwise(PHRASES), start=1):
        rolled += [(2.0 * n, 2.0 * n + 0.01, before), (2.0 * n + 0.01, 2.0 * n + 2.0, f"{before}\n{words}")]
    assert [words for _, _, words in read(srt(*rolled))] == list(PHRASES)


def test_two_lines_that_move_up_without_any_mark() -> None:
    pairs = [(2.0 * n, 2.0 * n + 2.0, "\n".join(PHRASES[n : n + 2])) for n in range(3)]
    assert [words for _, _, words in read(srt(*pairs))] == [" ".join(PHRASES[:2]), *PHRASES[2:]]


def test_a_line_that_grows() -> None:
    grown = [
        (0.0, 1.0, "the"),
        (1.0, 2.0, "the old"),
        (2.0, 3.0, "the old keeper"),
        (3.0, 5.0, "the old keeper\nclimbed"),
    ]
    assert read(srt(*grown)) == [(0.0, 1.0, "the"), (1.0, 2.0, "old"), (2.0, 3.0, "keeper"), (3.0, 5.0, "climbed")]


def test_lines_shown_longer_than_the_next_begins() -> None:
    rolled = [(0.0, 4.0, PHRASES[0]), (2.0, 6.0, f"{PHRASES[0]}\n{PHRASES[1]}")]
    assert read(srt(*rolled)) == [(0.0, 2.0, PHRASES[0]), (2.0, 6.0, PHRASES[1])]


def test_every_cue_shown_until_the_next_but_one() -> None:
    shown = [(2.0 * n, 2.0 * n + 3.5, words) for n, words in enumerate(PHRASES)]
    assert read(srt(*shown)) == [(start, min(start + 2.0, end), words) for start, end, words in shown[:3]] + shown[3:]


@pytest.mark.parametrize(
    "cues",
    [
        [(0.0, 1.0, "No."), (1.0, 2.0, "No."), (2.0, 3.0, "No. I will not.")],
        [(0.0, 1.0, "la la la"), (1.0, 2.0, "la la la"), (2.0, 3.0, "hey"), (3.0, 4.0, "la la la")],
        [(0.0, 1.0, "Go on!\nGo on!"), (1.0, 2.0, "Go on!\nGo on!")],
        [(0.0, 1.0, "No."), (1.0, 2.0, "No.\nNever."), (2.0, 3.0, "Who?"), (3.0, 4.0, "You.")],
        [(0.0, 1.0, "I saw the"), (1.0, 2.0, "the man")],
        [(0.0, 3.0, "Two"), (2.0, 5.0, "at once"), (6.0, 7.0, "and one"), (8.0, 9.0, "more")],
    ],
)
def test_what_is_said_twice_stays(cues: Cues) -> None:
    assert read(srt(*cues)) == [(start, end, words.replace("\n", " ")) for start, end, words in cues]


def test_a_long_cue_of_equal_lines_takes_no_longer() -> None:
    many = "\n".join(["a"] * 20_000)
    assert len(read(srt((0.0, 1.0, many), (1.0, 2.0, many)))) == 2
