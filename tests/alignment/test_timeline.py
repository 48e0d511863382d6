"""Times come back to the caller's own words: all of them, in order, whatever was done to the text on its way."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.alignment import build
from f5_worker.alignment.align import AlignedWord
from f5_worker.alignment.build import AlignedSegment, TimelineBuilder
from f5_worker.alignment.estimate import estimate
from f5_worker.alignment.timeline import Timeline
from f5_worker.alignment.words import phonetic_length, word_spans
from f5_worker.audio.levels import SAMPLE_RATE
from tests.audio.signals import noise, silence, speech

Origins = tuple[tuple[int, int], ...]


def words(text: str) -> list[str]:
    return [text[begin:end] for begin, end in word_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("Hello, world!", ["Hello,", "world!"]),
        ("one\ntwo  three\u00a0four", ["one", "two", "three", "four"]),
        ("it's well-known (really).", ["it's", "well-known", "(really)."]),
        ("so — no 😀", ["so", "—", "no", "😀"]),
        ("你好，世界。", ["你", "好，", "世", "界。"]),
        ("他说「你好」。", ["他", "说", "「你", "好」。"]),
        ("用iPhone拍25张", ["用", "iPhone", "拍", "25", "张"]),
        ("カメラだ", ["カ", "メ", "ラ", "だ"]),
        ("か\u3099", ["か\u3099"]),  # a combining mark stays with its letter
        ("ไปไหน", ["ไป", "ไห", "น"]),  # the vowel before its consonant
        ("ครับ น้ำ", ["ค", "รั", "บ", "น้ำ"]),
        ("안녕 하세요", ["안녕", "하세요"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_word_of_20000_letters_takes_no_time() -> None:
    started = time.process_time()
    assert word_spans("a" * 20_000 + "字" * 20_000) == [(0, 20_000), *((at, at + 1) for at in range(20_000, 40_000))]
    assert time.process_time() - started < 1.0  # 0.1 s; in quadratic time it was 150 s


@given(st.text(alphabet=st.sampled_from("aé5 .,(「」“—\n你かไน้😀한\u0301")))
def test_words_are_all_of_the_text_but_its_spaces(text: str) -> None:
    spans = word_spans(text)
    assert "".join(text[begin:end] for begin, end in spans) == "".join(text.split())
    assert all(end > begin for begin, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("text", "sounds"), [("...", 0), ("cat", 3), ("the", 2), ("cheese", 5), ("hall", 3), ("25", 8)]
)
def test_two_letters_may_be_one_sound(text: str, sounds: int) -> None:
    assert phonetic_length(text) == sounds


def test_an_estimate_gives_each_word_its_letters_share_of_the_sound() -> None:
    sound = np.concatenate([silence(0.5), speech([1.0, 2.0], [0.5]), silence(0.5)])
    times = [time for span in estimate(sound, "abcde, abcde abcde.") for time in (span.start_s, span.end_s)]
    assert times == pytest.approx([0.5, 1.5, 2.0, 3.0, 3.0, 4.0], abs=0.03)


@given(st.lists(st.integers(0, 4_000), max_size=5), st.text(alphabet="ab 5.,—你", max_size=30))
def test_estimates_are_in_order_inside_the_sound_and_without_confidence(lengths: list[int], text: str) -> None:
    parts = [
        noise(length / SAMPLE_RATE) if index % 2 else silence(length / SAMPLE_RATE)
        for index, length in enumerate(lengths)
    ]
    sound = np.concatenate([*parts, np.zeros(0, np.float32)])
    spans = estimate(sound, text)
    assert len(spans) == len(word_spans(text))
    times = [time for span in spans for time in (span.start_s, span.end_s)]
    assert times == sorted(times)
    assert all(0.0 <= time <= len(sound) / SAMPLE_RATE + 1e-9 for time in times)
    assert {span.confidence for span in spans} <= {None}


def segment(
    text: str, origins: Origins, start_s: float = 0.0, length_s: float = 1.0, aligned: bool = True
) -> AlignedSegment:
    """Words of equal length side by side, if aligned; confidence 0.9, 0.8, ..."""
    count = len(word_spans(text))
    spans = tuple(
        AlignedWord(length_s * k / count, length_s * (k + 1) / count, max(0.9 - k / 10, 0.0)) for k in range(count)
    )
    sound = noise(length_s, seed=1)
    return AlignedSegment(text, origins, start_s, start_s + length_s, sound, spans if aligned else None)


def build_timeline(text: str, segments: list[AlignedSegment], duration_s: float) -> Timeline:
    builder = TimelineBuilder(text)
    for item in segments:
        builder.add(item, duration_s)
    return builder.finish(duration_s)


def same(text: str, begin: int = 0) -> Origins:
    return tuple((at, at + 1) for at in range(begin, begin + len(text)))


def times(timeline: Timeline) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start_s, 3), round(word.end_s, 3)) for word in timeline.words]


def test_words_of_two_segments() -> None:
    text = "One two. Three!"
    segments = [segment("One two.", same("One two.")), segment("Three!", same("Three!", 9), 1.5)]
    timeline = build_timeline(text, segments, 3.0)
    assert times(timeline) == [("One", 0.0, 0.5), ("two.", 0.5, 1.0), ("Three!", 1.5, 2.5)]
    assert [(word.begin, word.end, word.confidence) for word in timeline.words] == [
        (0, 3, pytest.approx(0.9)), (4, 8, pytest.approx(0.8)), (9, 15, pytest.approx(0.9)),
    ]  # fmt: skip
    assert timeline.source == "aligned"
    assert timeline.characters[4:9] == (
        (0.5, pytest.approx(2 / 3)),
        (pytest.approx(2 / 3), pytest.approx(5 / 6)),
        (pytest.approx(5 / 6), 1.0),
        (1.0, 1.0),
        (1.0, 1.0),
    )


def test_one_estimated_segment_makes_the_whole_estimated() -> None:
    segments = [segment("One", same("One")), segment("two", same("two", 4), 1.0, aligned=False)]
    timeline = build_timeline("One two", segments, 2.0)
    assert timeline.source == "estimated"
    assert [word.confidence for word in timeline.words] == [0.9, None]
    assert timeline.words[1].start_s == pytest.approx(1.0, abs=0.02)


def test_what_was_expanded_is_the_callers_word() -> None:
    text, spoken = "In 25 days", "In twenty-five days"
    origins = (*same("In "), *[(3, 5)] * 11, *same(" days", 5))
    timeline = build_timeline(text, [segment(spoken, origins, length_s=3.0)], 3.0)
    assert times(timeline) == [("In", 0.0, 1.0), ("25", 1.0, 2.0), ("days", 2.0, 3.0)]
    assert timeline.characters[3:5] == ((1.0, 1.5), (1.5, 2.0))


def test_a_word_spoken_as_several_lasts_as_long_as_they_and_is_as_sure_as_the_least() -> None:
    timeline = build_timeline("1.5 go", [segment("one point five", ((0, 3),) * 14, length_s=3.0)], 3.0)
    assert times(timeline) == [("1.5", 0.0, 3.0), ("go", 3.0, 3.0)]
    assert timeline.words[0].confidence == pytest.approx(0.7)


def test_what_is_spoken_in_another_order_shares_its_time() -> None:
    text, spoken = "$5 now", "five dollars now"
    origins = (*[(1, 2)] * 5, *[(0, 1)] * 7, *same(" now", 2))
    timeline = build_timeline(text, [segment(spoken, origins, length_s=3.0)], 3.0)
    assert times(timeline) == [("$5", 0.0, 2.0), ("now", 2.0, 3.0)]


def test_what_is_not_spoken_takes_no_time_in_its_place() -> None:
    text = "😀 “So” — no 😀"
    origins = (*same("So", 3), *same(" no", 8))
    timeline = build_timeline(text, [segment("So no", origins, start_s=1.0)], 3.0)
    assert times(timeline) == [
        ("😀", 1.0, 1.0), ("“So”", 1.0, 1.5), ("—", 1.5, 1.5), ("no", 1.5, 2.0), ("😀", 2.0, 2.0),
    ]  # fmt: skip
    assert [word.confidence for word in timeline.words] == [None, 0.9, None, 0.8, None]
    assert timeline.source == "aligned"


def test_nothing_spoken() -> None:
    assert times(build_timeline("... !", [], 1.0)) == [("...", 0.0, 0.0), ("!", 0.0, 0.0)]
    assert build_timeline("", [], 0.0).characters == ()
    assert build_timeline("Hello", [], 1.0).source == "estimated"


@st.composite
def spoken(draw: st.DrawFn) -> tuple[str, list[AlignedSegment], float]:
    """A text, and segments whose spoken words come from anywhere in it, mostly in order."""
    text = draw(st.text(alphabet="ab 25$.—😀你“\n", max_size=40))
    segments: list[AlignedSegment] = []
    at_s, place = 0.0, 0
    for _ in range(draw(st.integers(0, 3))):
        origins: list[tuple[int, int]] = []
        said = draw(st.text(alphabet="abc .,你", max_size=20))
        for _ in said:
            begin = min(len(text), max(0, place + draw(st.integers(-1, 2))))
            place = min(len(text), begin + draw(st.integers(0, 2)))
            origins.append((begin, place))
        length_s = draw(st.floats(0.0, 2.0))
        segments.append(segment(said, tuple(origins), at_s, length_s, draw(st.booleans())))
        at_s += length_s + draw(st.floats(0.0, 1.0))
    return text, segments, draw(st.floats(0.5, 1.2)) * at_s


@given(spoken())
def test_every_timeline_is_in_order_and_inside_the_audio(case: tuple[str, list[AlignedSegment], float]) -> None:
    text, segments, duration_s = case
    timeline = build_timeline(text, segments, duration_s)
    assert [(word.text, word.begin, word.end) for word in timeline.words] == [
        (text[begin:end], begin, end) for begin, end in word_spans(text)
    ]
    assert len(timeline.characters) == len(text)
    for series in (timeline.characters, [(word.start_s, word.end_s) for word in timeline.words]):
        flat = [time for span in series for time in span]
        assert flat == sorted(flat)
        assert all(0.0 <= time <= duration_s for time in flat)
    for word in timeline.words:
        inside = timeline.characters[word.begin : word.end]
        assert word.start_s <= inside[0][0]
        assert word.end_s == inside[-1][1]
        assert word.confidence is None or 0.0 <= word.confidence <= 1.0


def test_words_taken_as_they_are_spoken_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = [f"Sentence {number}. " for number in range(40)]
    builder, text, at_s = TimelineBuilder("".join(sentences)), "", 0.0
    estimated: list[str] = []
    monkeypatch.setattr(build, "estimate", lambda sound, said: estimated.append(said) or estimate(sound, said))
    taken = []
    for index, sentence in enumerate(sentences):
        builder.add(segment(sentence, same(sentence, len(text)), at_s, aligned=index % 2 == 0), at_s + 1.0)
        text, at_s = text + sentence, at_s + 1.0
        taken.append(builder.take_words())
    assert [len(words) for words in taken] == [2] * 40
    assert builder.take_words() == []
    assert len(estimated) == 20, "each segment's times are computed once"
    assert [word for words in taken for word in words] == list(builder.finish(at_s).words)


@given(spoken())
def test_words_are_taken_once_and_in_order(case: tuple[str, list[AlignedSegment], float]) -> None:
    text, segments, duration_s = case
    builder, taken = TimelineBuilder(text), []
    for item in segments:
        builder.add(item, duration_s)
        taken += builder.take_words()
    assert [(word.begin, word.end) for word in taken] == word_spans(text)[: len(taken)]
    assert all(word.start_s <= word.end_s <= max(duration_s, word.start_s) for word in taken)
