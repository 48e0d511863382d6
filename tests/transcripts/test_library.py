"""Players' formats: the words and times that pysubs2 reads, in a process that a file can only end, not harm."""

from __future__ import annotations

import threading
import time

import pysubs2
import pytest

from f5_worker.cancellation import JobControl
from f5_worker.errors import JobCancelled, JobTimeout, SubtitlesUnreadable
from f5_worker.transcripts.library_child import read_captions
from f5_worker.transcripts.parse import parse_transcript

ASS = """[Script Info]
; a comment
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Fonts]
fontname: A.TTF
!!%

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,Not seen
Dialogue: 0,0:0:1.5,0:00:02,Default,Ann,0,0,0,,{\\pos(1,1)}An, example\\Nwith {\\i1}tags{\\i0}\\hin it
Dialogue: 1,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0{\\p0}
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\k20}SUN{\\k4}DAY
"""
SSA = ASS.replace("V4+", "V4").replace("v4.00+", "v4.00").replace("Layer", "Marked").replace(": 0,0", ": Marked=0,0")
FILES = {
    "ass": ASS,
    "ssa": SSA,
    "microdvd": "{1}{1}25\n{10}{146}{y:i}The old|man\n{150}{200}{c:$0000ff}came\n",
    "mpl2": "[4][58] /The old|man\n[60][70]came\n",
    "tmp": "00:00:00:The <i>old</i>|man\n00:00:06:came\n",
    "sami": "<SAMI><HEAD><STYLE><!-- P {a} --></STYLE></HEAD>\n<BODY><SYNC Start=400><P Class=E>The <b>old</b>"
    " &amp;<br>man\n<SYNC Start=1200><P Class=E>came\n</BODY></SAMI>",
    "ttml": '<tt xmlns="http://www.w3.org/ns/ttml"><body><div begin="1s"><p begin="0.4s" end="5.853s">The <span>'
    'old</span><br/>\n man</p><p begin="00:00:06.000" end="00:00:07.000">came</p></div></body></tt>',
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_the_words_and_times_are_those_of_pysubs2(kind: str) -> None:
    wanted = [
        (event.start / 1e3, event.end / 1e3, event.plaintext.split())
        for event in pysubs2.SSAFile.from_string(FILES[kind], format_=kind).events
        if event.is_text
    ]
    read = read_captions(FILES[kind], "ass" if kind == "ssa" else kind)["cues"]
    assert [(cue.start_s, cue.end_s, cue.text.split()) for cue in read] == wanted


def test_actors_are_speakers_and_two_columns_may_change_places() -> None:
    (first, *_) = read_captions(ASS, "ass")["cues"]
    assert (first.speaker, first.text) == ("Ann", "An, example\nwith tags in it")
    moved = "[Events]\nFormat: End, Start, Text\nDialogue: 0:00:02.00,0:00:01.00,Hello, you\n"
    assert [tuple(cue) for cue in read_captions(moved, "ass")["cues"]] == [(1.0, 2.0, "Hello, you", None, False)]


@pytest.mark.parametrize(
    ("attributes", "span"),
    [
        ('begin="1s" dur="2s"', (1.0, 3.0)),
        ('begin="500ms" end="0.05m"', (0.5, 3.0)),
        ('begin="00:00:01:05" end="00:00:02:20"', (1.2, 2.8)),
        ('begin="25f" end="50f"', (1.0, 2.0)),
        ('begin="10000000t" end="25000000t"', (1.0, 2.5)),
        ('begin="1:02.5" end="63"', (62.5, 63.0)),
    ],
)
def test_every_form_of_time_in_ttml(attributes: str, span: tuple[float, float]) -> None:
    text = (
        f'<tt xmlns="http://www.w3.org/2006/04/ttaf1" xmlns:p="urn:p" p:frameRate="25" p:tickRate="10000000">'
        f"<body><div><div><p {attributes}><!-- no -->Hello <span>there</span></p></div></div></body></tt>"
    )
    (cue,) = read_captions(text, "ttml")["cues"]
    assert (cue.start_s, cue.end_s, cue.text) == (*span, "Hello there")


def test_ttml_times_of_spans_and_of_apples_lyrics() -> None:
    times = '<span begin="1s" end="2s">One</span><span begin="2s" end="3s">two</span>'
    spans = f"<tt><body><div><p>{times}</p></div></body></tt>"
    assert [tuple(cue)[:3] for cue in read_captions(spans, "ttml")["cues"]] == [(1.0, 2.0, "One"), (2.0, 3.0, "two")]
    lyrics = '<tt><body dur="20"><div begin="9.5" end="12.0"><p begin="9.5" end="12.0">La</p></div></body></tt>'
    assert [tuple(cue)[:3] for cue in read_captions(lyrics, "ttml")["cues"]] == [(9.5, 12.0, "La")]


@pytest.mark.parametrize(
    ("text", "kind", "line", "reason"),
    [
        (ASS.replace("0:00:02,", "soon,"), "ass", 16, "its times cannot be read"),
        ("[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,Hello", "ass", 2, "4 columns instead of 10"),
        ("{1}{1}25\n{1}{2}a\nb c\n", "microdvd", 3, "has no times"),
        ("{10}{20}a\n", "microdvd", 0, "how many are in a second"),
        ("[1][2]a\n[3]b\n", "mpl2", 2, "has no times"),
        ("00:00:01:a\nb\n", "tmp", 2, "has no times"),
        ("<tt><body>", "ttml", 0, "not well-formed XML in line 1"),
        ('<tt><body><p begin="soon" end="2s">a</p></body></tt>', "ttml", 0, "a time that cannot be read"),
        ('<!DOCTYPE tt [<!ENTITY a "b">]><tt><body/></tt>', "ttml", 0, "declares entities"),
        ("<tt><body>" + "<div>" * 200 + "</div>" * 200 + "</body></tt>", "ttml", 0, "nested deeper"),
    ],
)
def test_what_the_library_would_skip_is_refused(text: str, kind: str, line: int, reason: str) -> None:
    answer = read_captions(text, kind)
    assert answer["line"] == line
    assert reason in answer["error"]


def test_a_refusal_names_format_and_line() -> None:
    with pytest.raises(SubtitlesUnreadable, match=r"line 2 of the transcript: this is MPL2, and it has no times"):
        parse_transcript("[1][2]a\n[3]b\n")


HARMFUL = {
    "time": "{1}{1}25\n{1}{2}" + "{y:" * 130_000,  # a regular expression that is quadratic
    "memory": "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,"
    + ("{" + "\\i1" * 60 + "}") * 1_990,  # all tags before each tag
}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("time", "1 s of processor time", marks=pytest.mark.slow),
        ("memory", "needed too much memory"),
    ],
)
def test_a_harmful_file_is_refused_and_ends_its_process_only(name: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(SubtitlesUnreadable, match=reason):
        parse_transcript(HARMFUL[name])
    assert time.monotonic() - started < 20.0


def test_a_reader_is_killed_when_its_job_has_to_stop() -> None:
    with pytest.raises(JobTimeout):
        JobControl(0.02).run(lambda: parse_transcript(ASS))
    cancelled = JobControl(60)
    timer = threading.Timer(0.02, cancelled.cancel)
    timer.start()
    with pytest.raises(JobCancelled):
        cancelled.run(lambda: parse_transcript(ASS))
    timer.join()
