"""Every format, written and read back by independent parsers: all words, in order, at their times."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re
import time
from datetime import timedelta
from itertools import pairwise
from typing import get_args

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from f5_worker.alignment.timeline import SpeakerTurn, Timeline, TimingSource, Word
from f5_worker.api.legacy import TtsInput
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.schema.requests import CaptionFormat
from f5_worker.subtitles.breaks import display_width, single_line
from f5_worker.subtitles.csv_json import elevenlabs_alignment
from f5_worker.subtitles.formats import SUBTITLE_FORMATS, write_subtitles
from f5_worker.transcripts.parse import parse_transcript

ParsedCue = tuple[float, float, str]  # start_s, end_s, text with \n between lines

STEP_S = {"srt": 0.001, "vtt": 0.001, "ass": 0.01, "csv": 0.001, "json": 0.001}
LONG = (
    'Dr. Smith looked at the map, and then he said: "We shall not cease from exploration, and the end of all our '
    'exploring will be to arrive where we started and know the place for the first time." A new day began.'
)


def timeline(text: str, *, char_s: float = 0.06, gap_s: float = 0.02, source: TimingSource = "aligned") -> Timeline:
    """Return the timeline of a text spoken evenly: each letter lasts `char_s`, each white space `gap_s`."""
    at_s, characters, words = 0.0, [], []
    for match in re.finditer(r"\s+|\S+", text):
        begin_s = at_s
        for _ in match[0]:
            next_s = at_s + (gap_s if match[0].isspace() else char_s)
            characters.append((at_s, next_s))
            at_s = next_s
        if not match[0].isspace():
            confidence = 0.9 if source == "aligned" else None
            words.append(Word(match[0], match.start(), match.end(), begin_s, at_s, confidence))
    return Timeline(text, tuple(words), tuple(characters), at_s + 0.5, source)


def timeline_of(*words: tuple[str, float, float], duration_s: float = 60.0) -> Timeline:
    """Return a timeline of words at given times, with one space between them."""
    text = " ".join(word for word, _, _ in words)
    found, characters, begin = [], [], 0
    for word, start_s, end_s in words:
        found.append(Word(word, begin, begin + len(word), start_s, end_s, 0.5))
        characters += [(start_s, end_s)] * len(word) + [(end_s, end_s)]
        begin += len(word) + 1
    return Timeline(text, tuple(found), tuple(characters[: len(text)]), duration_s, "aligned")


def parse(text: str, format: str) -> list[ParsedCue]:
    """Parse a caption file with an independent parser."""
    if format == "srt":
        found = srt.parse(text, ignore_errors=False)
        return [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in found]
    if format == "vtt":
        captions = webvtt.from_string(text)
        return [
            (
                cue.start_in_seconds + fraction_s(cue.start),
                cue.end_in_seconds + fraction_s(cue.end),
                html.unescape(cue.text),
            )
            for cue in captions
        ]
    if format == "ass":
        events = pysubs2.SSAFile.from_string(text, format_="ass").events
        return [(event.start / 1e3, event.end / 1e3, event.plaintext) for event in events]
    if format == "csv":
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert rows[0] == ["Start (s)", "End (s)", "Segment"]
        return [(float(start), float(end), words) for start, end, words in rows[1:]]
    return [(item["start_s"], item["end_s"], "\n".join(item["lines"])) for item in json.loads(text)["phrases"]]


def fraction_s(clock: str) -> float:
    """Return the milliseconds of a time in seconds; webvtt-py leaves them out of `start_in_seconds`."""
    return int(clock.rpartition(".")[2]) / 1e3


def comparable(text: str, format: str) -> str:
    """Return the text without white space, which line breaks change, and with commands replaced as the writers do."""
    if format == "ass":
        text = text.translate(str.maketrans({"{": "｛", "}": "｝", "\\": "＼", "\u202b": "", "\u202c": ""}))
    return "".join(text.replace("-->", "→").split())


def check_times(cues: list[ParsedCue], format: str, duration_s: float) -> None:
    flat = [edge for start_s, end_s, _ in cues for edge in (start_s, end_s)]
    assert flat == sorted(flat)
    assert all(end_s > start_s for start_s, end_s, _ in cues)
    assert not flat or (flat[0] >= 0 and flat[-1] <= duration_s + len(cues) * STEP_S[format] + 1e-9)


@pytest.mark.parametrize("format", SUBTITLE_FORMATS)
@pytest.mark.parametrize("mode", ["phrase", "word"])
def test_parsers_read_all_words_at_their_times(format: str, mode: str) -> None:
    line = timeline(LONG)
    cues = parse(write_subtitles(line, format, SubtitleStyle.model_validate({"mode": mode})), format)
    check_times(cues, format, line.duration_s)
    assert comparable("".join(text for *_, text in cues), format) == comparable(LONG, format)
    if mode == "word" and format != "json":
        assert [(text, start_s, end_s) for start_s, end_s, text in cues] == [
            (word.text, pytest.approx(word.start_s, abs=STEP_S[format]), pytest.approx(word.end_s, abs=STEP_S[format]))
            for word in line.words
        ]


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(" ,\"'{}\\<>&;=-|\n\r\t\u2028\u00a0"),
        st.sampled_from("abc.!?0123 אבגשלום مرحبا 你好世界。，「」ーっ한국어 😀é\u0301\u200d\x0b\x1c\x85"),
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from(["-->", "{\\an8}", "\\N", "\\h", "<b>", "&amp;", "\n\n1\n", "=1+1", "NOTE ", "WEBVTT"]),
    ),
    max_size=50,
).map("".join)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TEXTS, st.sampled_from(["phrase", "word"]), st.booleans(), st.sampled_from([0.0, 0.003, 0.08, 1.5]))
def test_no_text_breaks_a_file(text: str, mode: str, karaoke: bool, char_s: float) -> None:
    line = timeline(text, char_s=char_s, gap_s=char_s / 2)
    style = SubtitleStyle.model_validate({"mode": mode, "karaoke": karaoke, "max_chars_per_line": 12})
    words = [word.text for word in line.words if single_line(word.text)]
    for format in SUBTITLE_FORMATS:
        written = write_subtitles(line, format, style)
        cues = parse(written, format)
        check_times(cues, format, line.duration_s)
        if format == "json" or mode == "phrase":
            assert comparable("".join(shown for *_, shown in cues), format) == comparable(single_line(text), format)
        else:
            assert [comparable(shown, format) for *_, shown in cues] == [
                comparable(single_line(w), format) for w in words
            ]


def test_the_transcript_parser_reads_srt_vtt_and_csv() -> None:
    line = timeline(LONG)
    for format in ("srt", "vtt", "csv"):
        transcript = parse_transcript(write_subtitles(line, format))
        assert (transcript.kind, transcript.text) == (format, LONG)


def test_the_contracts_list_the_formats_of_the_table() -> None:
    assert get_args(CaptionFormat) == tuple(SUBTITLE_FORMATS)
    assert set(get_args(TtsInput.model_fields["timing_format"].annotation)) == set(SUBTITLE_FORMATS)


def test_an_empty_text_is_an_empty_file() -> None:
    for format in SUBTITLE_FORMATS:
        assert parse(write_subtitles(Timeline("...", (), ((0.0, 1.0),) * 3, 1.0, "aligned"), format), format) == []


def lines_of(text: str, **style: object) -> list[list[str]]:
    line = timeline(text)
    return [
        shown.split("\n")
        for *_, shown in parse(write_subtitles(line, "srt", SubtitleStyle.model_validate(style)), "srt")
    ]


def test_phrases_end_at_sentences_and_clauses() -> None:
    assert lines_of(LONG) == [
        ["Dr. Smith looked at the map,", "and then he said:"],
        ['"We shall not cease from exploration,', "and the end of all our exploring"],
        ["will be to arrive where we started", 'and know the place for the first time."'],
        ["A new day began."],
    ]


@pytest.mark.parametrize(("columns", "max_lines"), [(10, 1), (20, 2), (42, 1), (42, 2), (60, 3)])
def test_lines_keep_to_the_limits_of_length_and_number(columns: int, max_lines: int) -> None:
    cues = lines_of(LONG * 3, max_chars_per_line=columns, max_lines=max_lines)
    assert all(len(cue) <= max_lines for cue in cues)
    too_long = [line for cue in cues for line in cue if display_width(line) > columns]
    assert all(" " not in line for line in too_long)  # only a single word exceeds the length: words are not cut


def test_lines_are_balanced() -> None:
    [[first, second]] = lines_of("one two three four five six seven eight nine ten")
    assert abs(len(first) - len(second)) <= 6


def test_a_long_pause_starts_a_cue_and_a_short_sentence_shares_the_next_one() -> None:
    line = timeline_of(("Yes.", 0.0, 0.3), ("Go.", 0.4, 0.6), ("Maybe", 0.7, 1.2), ("so", 1.9, 2.1), ("or", 2.2, 2.4))
    assert [text for *_, text in parse(write_subtitles(line, "csv"), "csv")] == ["Yes. Go. Maybe", "so or"]
    separate = SubtitleStyle(min_duration_s=0.2)
    assert [text for *_, text in parse(write_subtitles(line, "csv", separate), "csv")] == [
        "Yes.",
        "Go.",
        "Maybe",
        "so or",
    ]


def test_new_lines_separate_titles_but_not_wrapped_lines() -> None:
    assert lines_of("Chapter One and a bit\nIt was a dark\nand stormy night") == [
        ["Chapter One and a bit"],
        ["It was a dark and stormy night"],
    ]


def test_a_cue_stays_on_until_it_can_be_read_and_fills_gaps() -> None:
    word = "abcdefghijklmnopqrst."  # 21 columns: 1.05 s to read
    line = timeline_of((word, 0.0, 0.5), (word, 0.9, 1.0), ("Hm.", 3.0, 3.1), (word, 20.0, 29.0), duration_s=29.0)
    cues = [(start_s, end_s) for start_s, end_s, _ in parse(write_subtitles(line, "json"), "json")]
    assert cues == [(0.0, 0.82), (0.9, 1.95), (3.0, 3.8), (20.0, 27.0)]
    filled = SubtitleStyle(fill_gaps_s=1.2)
    cues = [(start_s, end_s) for start_s, end_s, _ in parse(write_subtitles(line, "json", filled), "json")]
    assert cues == [(0.0, 0.82), (0.9, 2.92), (3.0, 3.8), (20.0, 27.0)]


def test_words_may_stay_until_the_next() -> None:
    line = timeline_of(("a", 0.0, 0.1), ("b", 0.4, 0.5), ("c", 2.0, 2.1), ("d", 2.1, 2.2))
    style = SubtitleStyle(mode="word", fill_gaps_s=0.4)
    cues = parse(write_subtitles(line, "srt", style), "srt")
    assert [(start_s, end_s) for start_s, end_s, _ in cues] == [(0.0, 0.4), (0.4, 0.5), (2.0, 2.1), (2.1, 2.2)]


@pytest.mark.parametrize("format", ["srt", "vtt", "ass", "csv"])
def test_words_at_one_time_become_cues_one_after_another(format: str) -> None:
    line = timeline_of(*((word, 1.0, 1.0) for word in "abcdef"), duration_s=1.0)
    cues = parse(write_subtitles(line, format, SubtitleStyle(mode="word")), format)
    check_times(cues, format, line.duration_s)
    assert [text for *_, text in cues] == list("abcdef")


def test_ideographs_count_twice_and_break_by_character() -> None:
    text = "我们不会停止探索，而我们一切探索的终点，将是回到我们出发的地方。并且“第一次”认识「这个地方」！"
    cues = lines_of(text, max_chars_per_line=16)
    assert "".join(line for cue in cues for line in cue) == text
    for line in (line for cue in cues for line in cue):
        assert display_width(line) <= 16
        assert line[0] not in "，。！」”"
        assert line[-1] not in "「“"


def test_japanese_rules_of_line_breaking() -> None:
    for columns in range(10, 20):
        cues = lines_of("ちょっとコーヒーをいっぱい飲みましょうか、ねぇ。" * 3, max_chars_per_line=columns)
        assert all(line[0] not in "ょっーぁぇゃ、。" for cue in cues for line in cue)


def test_punctuation_stays_with_its_word() -> None:
    for columns in range(13, 30):
        cues = lines_of("« Bonjour ! » dit-il : il a 10\u00a0000 euros , non ?", max_chars_per_line=columns)
        for line in (line for cue in cues for line in cue):
            assert line[0] not in "!»:,?"
            assert line[-1] != "«"
            assert not line.endswith(" 10")


def test_symbols_that_are_not_spoken_are_shown() -> None:
    text = "😀 Hello 🎉 — world…"
    words = (Word("Hello", 2, 7, 0.0, 0.5, 0.9), Word("world…", 12, 18, 0.5, 1.0, 0.9))
    line = Timeline(text, words, ((0.0, 1.0),) * len(text), 1.0, "aligned")
    assert [shown for *_, shown in parse(write_subtitles(line, "srt"), "srt")] == [text]


KARAOKE = re.compile(r"\{\\k(\d+)\}")


@given(st.lists(st.tuples(st.integers(60, 900), st.integers(0, 500)), min_size=1, max_size=40))
def test_karaoke_adds_up_to_the_cue(lengths: list[tuple[int, int]]) -> None:
    words, at_s = [], 0.0
    for index, (sound_ms, gap_ms) in enumerate(lengths):
        words.append((f"word{index}", at_s, at_s + sound_ms / 1e3))
        at_s += (sound_ms + gap_ms) / 1e3
    starts_s = {word: start_s for word, start_s, _ in words}
    events = pysubs2.SSAFile.from_string(
        write_subtitles(timeline_of(*words, duration_s=at_s), "ass"), format_="ass"
    ).events
    assert " ".join(event.plaintext.replace("\n", " ") for event in events) == " ".join(starts_s)
    for event in events:
        assert sum(int(k) for k in KARAOKE.findall(event.text)) * 10 == event.duration
        begin_s = event.start / 1e3
        for hundredths, word in re.findall(r"\{\\k(\d+)\}(\w+)", event.text):
            assert begin_s == pytest.approx(starts_s[word], abs=0.011)
            begin_s += int(hundredths) / 100


def test_karaoke_times_in_vtt_are_inside_the_cue() -> None:
    written = write_subtitles(timeline(LONG), "vtt", SubtitleStyle(karaoke=True))
    clock = re.compile(r"(\d\d:\d\d:\d\d\.\d{3})")
    for block in written.split("\n\n")[1:-1]:
        times = clock.findall(block)
        begin, end, *inside = times
        assert inside
        assert [begin, *inside, end] == sorted({begin, *inside, end})
    assert parse_transcript(written).text == LONG


@pytest.mark.parametrize(("frame", "columns"), [("1080x1920", 20), ("1920x1080", 42)])
def test_ass_is_made_for_its_frame(frame: str, columns: int) -> None:
    style = SubtitleStyle.model_validate({"frame": frame, "highlight_color": "#FF8001"})
    file = pysubs2.SSAFile.from_string(write_subtitles(timeline(LONG), "ass", style), format_="ass")
    assert f"{file.info['PlayResX']}x{file.info['PlayResY']}" == frame
    style_line = file.styles[file.events[0].style]
    assert (style_line.bold, style_line.primarycolor, style_line.secondarycolor) == (
        True,
        pysubs2.Color(255, 128, 1),
        pysubs2.Color(255, 255, 255),
    )
    assert max(len(line) for event in file.events for line in event.plaintext.split("\n")) in range(columns - 5, 43)
    assert all(len(line) <= columns for event in file.events for line in event.plaintext.split("\n"))
    assert int(file.info["PlayResY"]) - style_line.marginv - 2 * style_line.fontsize >= int(file.info["PlayResY"]) * 0.6


def test_a_word_longer_than_the_line_is_made_smaller() -> None:
    word = "Donaudampfschifffahrtsgesellschaft"
    written = write_subtitles(timeline(f"Die {word} fährt"), "ass")
    [size] = re.findall(rf"\{{\\fs(\d+)\}}.*{word}", written)
    assert 0.47 * int(size) * len(word) <= 900 < 0.47 * 88 * len(word)


def test_right_to_left_text_in_ass_is_one_embedded_run_in_each_line() -> None:
    arabic = "مرحبا بكم في هذا الدرس، سوف نتعلم اليوم كيف نكتب النصوص."
    events = pysubs2.SSAFile.from_string(write_subtitles(timeline(arabic), "ass"), format_="ass").events
    lines = [line for event in events for line in event.text.split(r"\N")]
    assert all((line[0], line[-1], "{" in line) == ("\u202b", "\u202c", False) for line in lines)
    assert {event.style for event in events} == {"Plain"}
    mixed = pysubs2.SSAFile.from_string(
        write_subtitles(timeline("He said שלום עולם loud."), "ass"), format_="ass"
    ).events
    assert all("{" not in event.text for event in mixed if "שלום" in event.text)


def test_texts_cannot_inject_commands() -> None:
    line = timeline(r"{\an8}x {\p1}m 0 0{\p0} \Nnew \hline <i>bold</i> & 00:00:01.000 --> 00:00:02.000")
    assert re.sub(KARAOKE, "", write_subtitles(line, "ass")).count("{") == 0
    assert write_subtitles(line, "ass").count("\\N") == write_subtitles(line, "ass").count("\\N{\\k")
    assert " ".join(shown.replace("\n", " ") for *_, shown in parse(write_subtitles(line, "vtt"), "vtt")) == line.text
    assert "<" not in re.sub(r"-->", "", write_subtitles(line, "vtt"))
    assert write_subtitles(line, "srt").count("-->") == len(list(srt.parse(write_subtitles(line, "srt"))))


def test_estimated_times_say_so_and_have_no_score() -> None:
    line = timeline(LONG, source="estimated")
    content = json.loads(write_subtitles(line, "json"))
    assert content["source"] == "estimated"
    assert {item["confidence"] for item in content["words"] + content["phrases"]} == {None}
    assert "NOTE The times are estimated" in write_subtitles(line, "vtt")
    assert "; The times are estimated" in write_subtitles(line, "ass")
    parse(write_subtitles(line, "vtt"), "vtt")
    for format in ("vtt", "ass", "json"):
        assert "estimated" not in write_subtitles(timeline(LONG), format)


def test_json_has_words_as_the_caller_wrote_them() -> None:
    line = timeline(' "Hi,"\n\tshe  said. ')
    content = json.loads(write_subtitles(line, "json", SubtitleStyle(mode="word")))
    assert [word["text"] for word in content["words"]] == ['"Hi,"', "she", "said."]
    assert all(content["text"][word["begin"] : word["end"]] == word["text"] for word in content["words"])
    assert (content["source"], content["words"][0]["confidence"], content["phrases"][0]["confidence"]) == (
        "aligned",
        0.9,
        0.9,
    )
    assert [phrase["text"] for phrase in content["phrases"]] == ['"Hi," she said.']


def test_csv_has_start_end_and_segment() -> None:
    line = timeline_of(("=1+1,", 0.0, 0.5), ('"quoted"', 0.5, 1.0))
    assert write_subtitles(line, "csv") == 'Start (s),End (s),Segment\r\n0.000,1.000,"=1+1, ""quoted"""\r\n'


def test_elevenlabs_alignment_has_each_character() -> None:
    line = timeline("Hi 你😀.")
    alignment = elevenlabs_alignment(line)
    assert alignment["characters"] == ["H", "i", " ", "你", "😀", "."]
    starts, ends = alignment["character_start_times_seconds"], alignment["character_end_times_seconds"]
    assert list(zip(starts, ends, strict=True)) == [pytest.approx(times, abs=5e-4) for times in line.characters]
    assert all(end <= start for (_, end), (start, _) in pairwise(zip(starts, ends, strict=True)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_chars_per_line": 9},
        {"max_chars_per_line": 101},
        {"max_lines": 0},
        {"max_chars_per_s": 0},
        {"min_gap_s": -0.1},
        {"max_duration_s": float("nan")},
        {"min_duration_s": 3.0, "max_duration_s": 2.0},
        {"text_color": "#FFFFFF\n"},
        {"text_color": "&H00"},
        {"frame": "640x480"},
        {"mode": "line"},
        {"colour": "#FFFFFF"},
    ],
)
def test_styles_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SubtitleStyle.model_validate(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["word " * 2_000, "长" * 10_000, "a,\u00a0" * 6_000, "! " * 10_000, "{\\" * 10_000])
def test_time_is_linear_in_the_text(text: str) -> None:
    line = timeline(text)
    started = time.process_time()
    write_subtitles(line, "ass")
    assert time.process_time() - started < 10.0


def test_srt_times_beyond_an_hour() -> None:
    line = timeline_of(("a", 3_599.9995, 3_661.25), duration_s=90_000.0)
    [cue] = srt.parse(write_subtitles(line, "srt", SubtitleStyle(mode="word")))
    assert (cue.start, cue.end) == (timedelta(hours=1), timedelta(seconds=3_661.25))


def spoken_by_two(**style: object) -> dict[str, str]:
    """Return the files of a text of two speakers, one of whose names would break a file."""
    text = "Hello there Fine, thanks. Bye."
    words = [("Hello", 0.0, 0.3), ("there", 0.3, 0.6), ("Fine,", 0.6, 0.9), ("thanks.", 0.9, 1.2), ("Bye.", 1.2, 1.5)]
    turns = (SpeakerTurn(0, "Ann"), SpeakerTurn(12, "B <o>, b"), SpeakerTurn(26, None))
    line = dataclasses.replace(timeline_of(*words, duration_s=2.0), turns=turns)
    assert line.text == text
    return {name: write_subtitles(line, name, SubtitleStyle(**style)) for name in SUBTITLE_FORMATS}  # type: ignore[arg-type]


def test_a_cue_ends_with_its_speakers_turn() -> None:
    plain = spoken_by_two()
    assert [cue[2] for cue in parse(plain["srt"], "srt")] == ["Hello there", "Fine, thanks.", "Bye."]
    assert "Ann" not in plain["srt"] + plain["vtt"] + plain["ass"] + plain["csv"]
    phrases = json.loads(plain["json"])["phrases"]
    assert [phrase.get("speaker") for phrase in phrases] == ["Ann", "B <o>, b", None]


def test_speakers_are_named_as_each_format_does() -> None:
    named = spoken_by_two(speakers=True)
    assert [cue[2] for cue in parse(named["srt"], "srt")] == ["Ann: Hello there", "B <o>, b: Fine, thanks.", "Bye."]
    assert "\n<v Ann>Hello there\n" in named["vtt"]
    assert "\n<v B &lt;o&gt;, b>Fine, thanks.\n" in named["vtt"]
    assert "\nBye.\n" in named["vtt"]
    names = [line.split(",")[4] for line in named["ass"].splitlines() if line.startswith("Dialogue")]
    assert names == ["Ann", "B <o>  b", ""]
