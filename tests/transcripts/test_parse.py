"""Transcripts as people have them: every word with its times, or the line that is wrong."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts.parse import Cue, parse_transcript


def cue(start_s: float, end_s: float, text: str, speaker: str | None = None) -> Cue:
    return Cue(start_s, end_s, text, speaker)


TWO = (cue(0.5, 2.25, "Hello there."), cue(3661.0, 3662.5, "How are you?"))
SRT = "1\n00:00:00,500 --> 00:00:02,250\nHello there.\n\n2\n01:01:01,000 --> 01:01:02,500\nHow are\nyou?\n"
VTT = "WEBVTT\n\n00:00.500 --> 00:02.250\nHello there.\n\n01:01:01.000 --> 01:01:02.500\nHow are\nyou?\n"
CSV = "Start (s),End (s),Segment\r\n0.5,2.25,Hello there.\r\n3661.0,3662.5,How are you?\r\n"


@pytest.mark.parametrize(("kind", "text"), [("srt", SRT), ("vtt", VTT), ("csv", CSV)])
def test_each_kind_is_known_by_its_content(kind: str, text: str) -> None:
    for variant in (text, "\ufeff" + text, text.replace("\r\n", "\n").replace("\n", "\r\n"), "\n\n" + text + "\n\n"):
        transcript = parse_transcript(variant)
        assert (transcript.kind, transcript.cues) == (kind, TWO)
        assert transcript.text == "Hello there. How are you?"


@pytest.mark.parametrize(
    "text",
    [
        SRT.replace(",", "."),
        SRT.replace("1\n00", "00").replace("2\n01", "01"),  # no numbers
        SRT.replace("\n\n", "\n"),  # nothing between cues
        SRT.replace("\n", "\r\r\n"),
        SRT.replace("\n", "\n\n"),
        SRT.replace("\n\n2", "\n\n\n\n 2"),
        SRT.replace("-->", "->").replace("00:00:00,500", "0:00:00,5"),
        SRT.replace(",250", ",250 X1:10 X2:20 Y1:5 Y2:9"),
        SRT.replace("Hello", "{\\an8}<i>Hello</i>").replace("you", '<font color="#fff">you</font>'),
        "\n\n".join(reversed(SRT.strip().split("\n\n"))),  # wrong order
    ],
)
def test_loosely_written_srt(text: str) -> None:
    assert parse_transcript(text).cues == TWO


def test_srt_keeps_every_word() -> None:
    text = (
        "1\n00:00:00,000 --> 00:00:02,000\nfirst\n\nstill the first --> see?\n\n"
        "2\n00:00:01,500 --> 00:00:03,000\nThe answer is\n42\n\n"
        "3\n00:00:03,000 --> 00:00:03,000\n1 < 2 and 3 > 2, <3 {braces} <unknown>\n"
    )
    assert parse_transcript(text).cues == (
        cue(0, 2, "first still the first --> see?"),
        cue(1.5, 3, "The answer is 42"),
        cue(3, 3, "1 < 2 and 3 > 2, <3 {braces} <unknown>"),
    )


def test_numbers_are_words_where_cues_have_none() -> None:
    text = "00:00:00,000 --> 00:00:01,000\nThe answer is\n42\n00:00:01,000 --> 00:00:02,000\n2\n"
    assert [item.text for item in parse_transcript(text).cues] == ["The answer is 42", "2"]


def test_vtt_has_more_than_cues() -> None:
    text = (
        "WEBVTT - a title\nKind: captions\n\nNOTE a comment\nthat goes on --> 00:00:09.000\n\n"
        "STYLE\n::cue { color: red }\n\nREGION\nid:fred\n\n"
        "intro\n00:00.000 --> 00:01.000 align:start position:10%\n"
        "<v.loud Mary Ann>Fish &amp; <c.red>chips</c> <00:00:00.500>now &lt;3</v>\n\n"
        "NOTE\nin between\n\n7\n00:01.000 --> 00:02.000\n<v Esme>Yes.</v>\n<v Bob>No.</v>\n"
    )
    assert parse_transcript(text).cues == (
        cue(0, 1, "Fish & chips now <3", "Mary Ann"),
        cue(1, 2, "Yes.", "Esme"),
        cue(1, 2, "No.", "Bob"),
    )


def test_vtt_without_a_blank_line_after_its_head() -> None:
    assert parse_transcript(VTT.replace("\n\n", "\n", 1)).cues == TWO


def test_speakers_are_named_in_brackets_only() -> None:
    texts = ["[Anna Smith]: Hello.", "NOTE: this is not a name", "[music] la la", "<v Tom>Bye."]
    text = "\n\n".join(f"00:00:0{n},000 --> 00:00:0{n},900\n{line}" for n, line in enumerate(texts))
    assert [(item.speaker, item.text) for item in parse_transcript(text).cues] == [
        ("Anna Smith", "Hello."),
        (None, "NOTE: this is not a name"),
        (None, "[music] la la"),
        ("Tom", "Bye."),
    ]


def test_ideographs_need_no_space_where_a_line_ended() -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\n我们不会停止\n探索。\n한국어\nhas spaces\n"
    assert parse_transcript(text).text == "我们不会停止探索。 한국어 has spaces"


@pytest.mark.parametrize(
    "text",
    [
        CSV.replace("Start (s),End (s),Segment", "START,END,TEXT"),
        CSV.replace("Start (s),End (s),Segment", '"start_time","end_time","Transcription"'),
        CSV.replace("Start (s),End (s),Segment", "begin [sec],to [sec],sentence"),
        CSV.partition("\r\n")[2],  # no header
        CSV.replace(",", ";"),
        CSV.replace(",", ";").replace("0.5", "0,5").replace("2.25", "2,25"),
        CSV.replace(",", "\t"),
        CSV.replace("0.5,2.25", "00:00:00.500,00:00:02.250").replace("3661.0", "01:01:01"),
        CSV.replace("0.5,2.25", "00:00:00.500,00:00:02.250").partition("\r\n")[2],
        CSV.replace("Hello there.", '"Hello\n there."').replace("\r\n3661", "\r\n,,\r\n\r\n3661"),
        "Text,Speaker,End,Start\nHello there.,,2.25,0.5\nHow are you?,,3662.5,3661",
        "start_ms,end_ms,text\n500,2250,Hello there.\n3661000,3662500,How are you?",
        "start\tend\ttext\n500\t2250\tHello there.\n3661000\t3662500\tHow are you?",  # as Whisper writes them
    ],
)
def test_tables_of_many_kinds(text: str) -> None:
    transcript = parse_transcript(text)
    assert (transcript.kind, transcript.cues) == ("csv", TWO)


def test_text_in_a_table() -> None:
    rows = 'start,end,segment,speaker\n0,1,"Yes, ""he"" said, = no",Anna\n1,2,"it\'s [fine]", Bob \n2,3,-1 + 1,\n'
    assert parse_transcript(rows).cues == (
        cue(0, 1, 'Yes, "he" said, = no', "Anna"),
        cue(1, 2, "it's [fine]", "Bob"),
        cue(2, 3, "-1 + 1"),
    )


def test_an_unquoted_text_with_commas_is_joined_again() -> None:
    """The earlier worker wrote its CSV like this."""
    text = 'Start (s),End (s),Segment\n0,1,Hello, world, again\n1,2,"So," she said, "it is."\n'
    assert [item.text for item in parse_transcript(text).cues] == ["Hello, world, again", '"So," she said, "it is."']


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.",
        "At 10:30, or 11:45, we meet --> there.",
        "10:30 --> 11:30 is the meeting.\nCome early.",
        "1, 2, buckle my shoe\n3, 4, knock at the door",
        "1,2,3 go",
        "10:30, 11:30, and 12:30 are the times.",
        "Start with the end, then the segment, said he.",
        "Start, stop, listen.",
        "1.5, 2.5, and 3.5 are halves.",
        "NOTE: WEBVTT is a format.",
        "WEBVTTs are files --> mostly.",
        "42",
        "1\nOne is a number.",
        "Anna: hello\nBob: hi",
        "<b>bold</b> &amp; [x]",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    transcript = parse_transcript(f"  {text}\r\n")
    assert (transcript.kind, transcript.cues, transcript.text) == ("plain", (), text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SRT.replace("00:00:02,250", "00:00:00,100"), "line 2 .* ends at 0.1 s, before it starts at 0.5 s"),
        (SRT.replace("01:01:02,500", "99:01:02,500"), "line 6 .* at most 86400 s"),
        (SRT.replace("01:01:01,000", "01:61:01,000"), "line 6 .* 61:01 is not a time"),
        (SRT.replace("00:00:00,500", "00:00:7x,500"), "line 2 .* cannot be read"),
        (SRT.replace("01:01:02,500", ""), "line 6 .* cannot be read"),
        (SRT.replace("Hello there.", "").replace("How are\nyou?", "<i></i>"), "2 cues and no words"),
        (VTT.replace("\n\n", "\n\nWords without a time\n\n", 1), "line 3 .* text before the first cue"),
        (VTT.replace("00:02.250", "00:02,x"), "line 3 .* cannot be read"),
        ("WEBVTT", "0 cues and no words"),
        (CSV.replace("3661.0", "soon"), "line 3 .* cannot be read"),
        (CSV.replace("3661.0", "-1"), "line 3 .* cannot be read"),
        (CSV.replace("3661.0", "nan"), "line 3 .* cannot be read"),
        (CSV.replace("3661.0,3662.5,How", "3661.0 How"), "line 3 .* 1 columns instead of 3"),
        (CSV.replace("2.25", "0.25"), "line 2 .* before it starts"),
        (CSV.replace("3662.5", "90000"), "line 3 .*24 hours"),
        ("text,start,end\nHello, world,0,1", "line 2 .* 4 columns instead of 3"),
        ("Start (s),End (s),Segment", "0 cues and no words"),
        ("a\0b", "binary"),
    ],
)
def test_an_error_names_the_line(text: str, reason: str) -> None:
    with pytest.raises(SubtitlesUnreadable, match=reason) as caught:
        parse_transcript(text)
    assert "Hello" not in str(caught.value)


WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40).map(lambda text: " ".join(text.split()))


@given(st.lists(st.tuples(st.integers(0, 80_000_000), st.integers(0, 9_999), WORDS.filter(bool)), min_size=1))
def test_tables_written_by_pythons_csv_survive(rows: list[tuple[int, int, str]]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows(
        [
            ("Start (s)", "End (s)", "Segment"),
            *((f"{a / 1e3:.3f}", f"{(a + b) / 1e3:.3f}", text) for a, b, text in rows),
        ]
    )
    cues = parse_transcript(file.getvalue()).cues
    wanted = sorted(rows, key=lambda row: row[0])
    assert [round(item.start_s * 1e3) for item in cues] == [row[0] for row in wanted]
    assert [item.end_s - item.start_s for item in cues] == pytest.approx([row[1] / 1e3 for row in wanted], abs=1e-6)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        transcript = parse_transcript(text)
    except SubtitlesUnreadable:
        return
    assert transcript.kind != "plain" or not transcript.cues
