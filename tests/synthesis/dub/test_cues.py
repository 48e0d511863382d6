"""The cues of subtitles as a viewer reads them, and who speaks them."""

from __future__ import annotations

from f5_worker.settings import Settings
from f5_worker.synthesis.dub.cues import read_cues, select_spoken, with_speakers
from f5_worker.transcripts.cues import Cue


def cue(start_s: float, end_s: float, speaker: str | None = None, text: str = "words") -> Cue:
    return Cue(start_s, end_s, text, speaker)


def read(subtitles: str) -> list[tuple[float, float, str]]:
    spoken, _ = select_spoken(read_cues(subtitles, Settings()), "skip")
    return [(round(line.start_s, 3), round(line.end_s, 3), line.text) for line in spoken]


# -- speakers ---------------------------------------------------------------------------------------------------------


def test_a_translated_line_has_the_speaker_of_the_original_that_is_shown_with_it() -> None:
    source = [cue(0, 2, "Ann"), cue(2, 5, "Bob"), cue(9, 10, "Ann")]
    translated = [cue(0, 1.9), cue(1.5, 4), cue(4.9, 9.4), cue(6, 8.5), cue(6, 6.5), cue(20, 21)]
    assert [line.speaker for line in with_speakers(translated, source)] == ["Ann", "Bob", "Ann", "Ann", "Bob", "Ann"]


def test_a_line_that_names_its_speaker_keeps_it() -> None:
    lines = with_speakers([cue(0, 1, "Cy"), cue(0, 1)], [cue(0, 1, "Ann")])
    assert [line.speaker for line in lines] == ["Cy", "Ann"]


def test_sounds_of_the_original_speak_for_nobody() -> None:
    source = [cue(0, 5, "Radio", "♪ la la ♪"), cue(1, 2, "Ann")]
    assert with_speakers([cue(0, 4)], source)[0].speaker == "Ann"
    assert with_speakers([cue(0, 4)], [])[0].speaker is None


# -- as a viewer reads them -------------------------------------------------------------------------------------------

YOUTUBE_VTT = """WEBVTT
Kind: captions
Language: en

00:00:00.080 --> 00:00:02.510 align:start position:0%
 
so<00:00:00.320><c> this</c><00:00:00.560><c> is</c><00:00:00.800><c> the</c><00:00:01.040><c> first</c>

00:00:02.510 --> 00:00:02.520 align:start position:0%
so this is the first
 

00:00:02.520 --> 00:00:05.030 align:start position:0%
so this is the first
line<00:00:02.800><c> of</c><00:00:03.000><c> what</c><00:00:03.200><c> is</c><00:00:03.400><c> said</c>

00:00:05.030 --> 00:00:05.040 align:start position:0%
line of what is said
 

00:00:05.040 --> 00:00:07.500 align:start position:0%
line of what is said
[Music]

00:00:07.500 --> 00:00:09.900 align:start position:0%
[Music]
and<00:00:07.900><c> so</c><00:00:08.300><c> on</c>
"""


def test_rolling_captions_are_spoken_once_each_when_they_come() -> None:
    assert read(YOUTUBE_VTT) == [
        (0.08, 2.52, "so this is the first"),
        (2.52, 5.04, "line of what is said"),
        (7.5, 9.9, "and so on"),
    ]


def test_youtubes_srt_in_which_each_line_stays_below_the_next() -> None:
    srt = "".join(
        f"{n + 1}\n00:00:0{n},000 --> 00:00:0{n + 2},000\nline number {word}\n\n"
        for n, word in enumerate(("one", "two", "three", "four", "five"))
    )
    assert [(start_s, end_s) for start_s, end_s, _ in read(srt)] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 6)]


def test_a_number_that_stands_twice_is_not_spoken() -> None:
    srt = "1\n1\n00:00:01,000 --> 00:00:02,000\nHello there.\n\n2\n2\n00:00:03,000 --> 00:00:04,000\nGood bye.\n"
    assert read(srt) == [(1, 2, "Hello there."), (3, 4, "Good bye.")]
    same = "7\n00:00:01,000 --> 00:00:02,000\nHello there.\n\n7\n00:00:03,000 --> 00:00:04,000\nGood bye.\n"
    assert read(same) == [(1, 2, "Hello there."), (3, 4, "Good bye.")]


def test_a_byte_order_mark_within_a_joined_file_is_not_spoken() -> None:
    part = "\ufeff1\n00:00:0{n},000 --> 00:00:0{m},000\nPart {n}.\n\n"
    assert read(part.format(n=1, m=2) + part.format(n=3, m=4)) == [(1, 2, "Part 1."), (3, 4, "Part 3.")]
    inside = "1\n00:00:01,000 --> 00:00:02,000\n\ufeffHello\ufeff there.\n"
    assert read(inside) == [(1, 2, "Hello there.")]


def test_entities_are_the_signs_that_a_viewer_sees() -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nTom &amp; Jerry&#39;s &quot;house&quot;&nbsp;&lt;3\n"
    assert read(srt) == [(1, 2, 'Tom & Jerry\'s "house" <3')]
    twice = "1\n00:00:01,000 --> 00:00:02,000\nIt&amp;#39;s AT&T.\n"
    assert read(twice) == [(1, 2, "It's AT&T.")]


def test_speakers_and_tags_are_not_spoken() -> None:
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann><i>Hello</i> there.\n\n00:03.000 --> 00:04.000\n[Bob]: Good bye.\n"
    assert read(vtt) == [(1, 2, "Hello there."), (3, 4, "Good bye.")]
