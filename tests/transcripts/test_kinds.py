"""Every form in which people have words and their times: read by its content, or refused by its name."""

from __future__ import annotations

import pytest

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.cues import Cue
from f5_worker.transcripts.parse import parse_transcript
from tests.transcripts.samples import CUES, EXACT, SRT, STARTS

PLAYERS = {"ass", "ttml", "sami", "microdvd", "mpl2", "tmp"}  # each takes a process of 0.2 s


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name.split()[0] in PLAYERS | {"dfxp"} else []) for name in EXACT],
)
def test_every_form_has_the_same_words_and_times(name: str) -> None:
    transcript = parse_transcript(EXACT[name])
    assert [cue.text for cue in transcript.cues] == [cue.text for cue in CUES]
    for cue, wanted in zip(transcript.cues, CUES, strict=True):
        assert (cue.start_s, cue.end_s) == pytest.approx((wanted.start_s, wanted.end_s), abs=0.03)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in PLAYERS else []) for name in STARTS]
)
def test_words_last_until_the_next_begin(name: str) -> None:
    cues = parse_transcript(STARTS[name]).cues
    assert [cue.text for cue in cues] == [cue.text for cue in CUES]
    assert [cue.start_s for cue in cues] == pytest.approx([0.4, 6.45, 12.7], abs=0.75)
    assert cues[0].end_s <= cues[1].start_s
    assert 13.0 < cues[-1].end_s < 18.0


def test_all_players_formats_are_read_in_the_fast_suite_once() -> None:
    transcript = parse_transcript(EXACT["ass with few columns"])
    assert (transcript.kind, transcript.cues) == ("ass", CUES)


def test_the_end_of_the_last_words_is_an_estimate() -> None:
    cues = parse_transcript("[00:00.40]The old keeper\n[00:06.45]He carried\n").cues
    assert [cue.is_open for cue in cues] == [False, True]
    assert cues[1].end_s == pytest.approx(6.45 + 0.5 + 0.067 * 10)


def test_a_refrain_has_all_its_times_on_one_line() -> None:
    cues = parse_transcript("[offset:+500]\n[00:01.00][00:10.00]La la\n[00:05.00]Verse\n").cues
    assert [(cue.start_s, cue.text) for cue in cues] == [(0.5, "La la"), (4.5, "Verse"), (9.5, "La la")]


def test_speakers_of_diarization_and_of_premiere() -> None:
    printed = parse_transcript(
        "[00:00.400 --> 00:05.853] [SPEAKER_00]: Hello.\n[00:06.000 --> 00:07.000] SPEAKER_01: Hi."
    )
    assert [(cue.speaker, cue.text) for cue in printed.cues] == [("SPEAKER_00", "Hello."), ("SPEAKER_01", "Hi.")]
    exported = parse_transcript(
        "00:00:00:12 - 00:00:05:20\nSpeaker 1\nHello.\n\n00:00:06:00 - 00:00:07:00\nUnknown\nHi.\n"
    )
    assert exported.cues == (Cue(0.5, 5.833333, "Hello.", "Speaker 1"), Cue(6.0, 7.0, "Hi.", "Unknown"))


@pytest.mark.parametrize("heading", ["{}  {}", "{} ({}):", "{}\t{}", "{} [{}]"])
def test_speakers_and_times_above_the_words(heading: str) -> None:
    text = f"{heading.format('Speaker 1', '0:05')}\nHello\nthere.\n\n{heading.format('Ann', '00:10')}\nHi.\n"
    cues = parse_transcript(text).cues
    assert [(cue.start_s, cue.speaker, cue.text) for cue in cues] == [
        (5, "Speaker 1", "Hello there."),
        (10, "Ann", "Hi."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Number,Start time in milliseconds,End time in milliseconds,Text\n1,400,5850,Hello, there\n2,6450,12100,Hi\n",
        "Start (hh:mm:ss.ms),End (hh:mm:ss.ms),Text\n0:00:00.400,0:00:05.850,Hello, there\n0:00:06.450,0:00:12.100,Hi",
        "sep=;\nIn;Out;Dialogue\n0,4;5,85;Hello, there\n6,45;12,1;Hi\n",
        "start|duration|text\n0.4|5.45|Hello, there\n6.45|5.65|Hi\n",
        "0.400000\t5.850000\tHello, there\n6.450000\t12.100000\tHi\n",
    ],
)
def test_tables_of_other_programs(text: str) -> None:
    transcript = parse_transcript(text)
    assert transcript.kind == "csv"
    assert transcript.cues == (Cue(0.4, 5.85, "Hello, there", None), Cue(6.45, 12.1, "Hi", None))


def test_json_of_amazon_google_and_deepgram() -> None:
    amazon = (
        '{"results": {"transcripts": [{"transcript": "Hi you. Bye"}], "items": ['
        '{"type": "pronunciation", "start_time": "0.4", "end_time": "0.9", "alternatives": [{"content": "Hi"}]},'
        '{"type": "pronunciation", "start_time": "0.9", "end_time": "1.3", "alternatives": [{"content": "you"}]},'
        '{"type": "punctuation", "alternatives": [{"content": "."}]},'
        '{"type": "pronunciation", "start_time": "1.4", "end_time": "1.6", "alternatives": [{"content": "Bye"}]}]}}'
    )
    google = (
        '{"results": [{"alternatives": [{"transcript": "Hi you. Bye", "words": ['
        '{"startTime": "0.4s", "endTime": "0.9s", "word": "Hi"},'
        '{"startTime": "0.9s", "endTime": "1.3s", "word": "you."},'
        '{"startTime": "1.4s", "endTime": "1.6s", "word": "Bye"}]}]}]}'
    )
    deepgram = (
        '{"results": {"channels": [{"alternatives": [{"transcript": "hi you bye", "words": ['
        '{"word": "hi", "start": 0.4, "end": 0.9, "punctuated_word": "Hi"},'
        '{"word": "you", "start": 0.9, "end": 1.3, "punctuated_word": "you."},'
        '{"word": "bye", "start": 1.4, "end": 1.6, "punctuated_word": "Bye"}]}]}]}}'
    )
    for text in (amazon, google, deepgram):
        assert parse_transcript(text).cues == (Cue(0.4, 1.3, "Hi you.", None), Cue(1.4, 1.6, "Bye", None))


def test_json_without_times_is_its_text() -> None:
    transcript = parse_transcript('{"text": " Hello there. ", "usage": {"seconds": 3}}')
    assert (transcript.kind, transcript.text) == ("plain", "Hello there.")


def test_entities_are_read_once_or_twice_escaped() -> None:
    text = "1\n00:00:00,500 --> 00:00:03,000\nTom &amp; Jerry don&#39;t know&nbsp;AT&T, &amp;#39;tis &copyright.\n"
    assert parse_transcript(text).text == "Tom & Jerry don't know AT&T, 'tis &copyright."


def test_joined_files_and_their_marks() -> None:
    text = "\ufeff1\n00:00:01,000 --> 00:00:02,000\nHello.\n\n\ufeff1\n00:00:03,000 --> 00:00:04,000\nOther file.\n"
    assert [cue.text for cue in parse_transcript(text).cues] == ["Hello.", "Other file."]


def test_malformed_tags_are_no_words() -> None:
    text = '1\n00:00:01,000 --> 00:00:02,000\n< u><i><font color="red" >One< /  i > <sub>two</sub><br/>three</xyz>\n'
    assert parse_transcript(text).text == "One two three"


@pytest.mark.parametrize(
    "text",
    [
        "10:30 at noon\nthe sun was high\nand we were low",
        "1. One is a number.\n2. Two is one more.\n3. Three.",
        "[laughs] Hello.\n[sighs] Yes.",
        "Anna: hello at 10:30\nBob: hi",
        "[1] is a note.",
        "{sic} is Latin",
        "It was 17:02:51 when John read 3:16,17 to us.\nAnd 1:02:03 is a good time.",
        "<3 is a heart, and x --> y an arrow.",
        "2019 --> 2024\nwas a good time.",
        "10:30 is early, 11:30 is late, 12:30 is too late.",
        "We met at 0:05 and 0:10 and 0:15.",
        "3:75 was the score, then 4:80.",
        "Step 1 -> Step 2, then 5 -> 6.",
        "می‌خواهم بروم",
    ],
)
def test_prose_that_only_looks_like_it(text: str) -> None:
    transcript = parse_transcript(text)
    assert (transcript.kind, transcript.text) == ("plain", text)


def test_invisible_characters_are_no_words() -> None:
    assert parse_transcript("\ufeffThe\u200b old\u00ad \u2060lamp\ufe0f").text == "The old lamp"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{\\rtf1\\ansi The morning}", "is an RTF document; save it as plain text"),
        ("%PDF-1.7", "is a PDF document"),
        ("<!DOCTYPE html><html><p>Hi</p></html>", "is an HTML page"),
        ('<?xml version="1.0"?><rss/>', "is XML, and not TTML or SAMI"),
        ('{"segments": [{"start": 0.4 "end": 1}]}', "line 1 of the transcript: this is JSON, and not valid here"),
        ('{"segments": []}', "JSON without segments"),
        ('{"segments": [{"start": 2, "end": 1, "text": "a"}]}', "cue 1 .* ends at 1 s, before it starts at 2 s"),
        (f"Subtitles by A.\n\n{SRT}", "line 1 .* text before the first cue"),
        ("[00:10.00]One\n[00:05.00]Two\n[00:20.00]Three\n", "line 2 .* before that of the line before it"),
        ("A title\n0:05\nOne\n0:10\nTwo\n", "line 1 .* text before the first time"),
        ("[00:12.72-]From the window", "line 1 .* has the times of subtitles"),
        ("He said:\n[00:06.4x5]He carried a lamp", "line 2 .* has the times of subtitles"),
        (EXACT["srt"].replace("6,450 --> ", "6,450 - "), "cue 1 .* times among its words"),
        ("[00:00.400 --> 00:05.853] One\n[00:06.453 -- 00:12.120 Two\n", "cue 1 .* times among its words"),
        ("00:00:00:12 - 00:00:05:99\nOne\n", "counts 100 frames"),
        ("a;b;c\n0.4;5.85;One\n6.45;12.1;Two\n", "is a table without a known header"),
        ("[00:01.00]" * 51 + "La\n[00:02.00]Lo", "line 1 .* more than 50 times"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(text: str, reason: str) -> None:
    with pytest.raises(SubtitlesUnreadable, match=reason) as caught:
        parse_transcript(text)
    assert "lamp" not in str(caught.value)
