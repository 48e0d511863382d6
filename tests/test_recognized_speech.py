"""The counts of `make quality`: errors, missing edges, words of the reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jiwer", reason="comes with the speech recogniser, which is not installed with the oldest torch")
from bench.recognized_speech import RecognizedSpeech, edge_missing_rate, reference_word_rate, word_error_rate, words

SILENCE = np.zeros(0, np.float32)


def recognized_speech(written: str, recognised: str) -> RecognizedSpeech:
    return RecognizedSpeech(written, recognised, SILENCE)


def test_words_are_compared_however_a_recogniser_writes_them() -> None:
    assert words("It's 7 o'clock - on Monday, 21!") == ["it's", "seven", "o'clock", "on", "monday", "twenty", "one"]


@pytest.mark.parametrize(
    ("said", "recognised"),
    [
        ("The bill came to forty-seven dollars and nineteen cents.", "The bill came to $47.19."),
        ("It cost six euros eighty.", "It cost €6.80."),
        ("On the twenty-third of August, nineteen eighty-six.", "On the 23rd of August, 1986."),
        ("It was two thousand and four.", "It was 2004."),
        ("Call five five five, zero one seven.", "Call 555-017."),
        ("The mountain has eight thousand six hundred and eleven meters.", "The mountain has 8,611 meters."),
        ("A hundred and six ducks, sixty-two percent.", "106 ducks, 62%."),
        ("It departs at eighteen forty-five.", "It departs at 18:45."),
        ("Three quarters of a cup.", "3/4 of a cup."),
        ("Eleven point three seconds.", "11.3 seconds."),
    ],
)
def test_a_number_is_read_as_it_was_said(said: str, recognised: str) -> None:
    assert recognized_speech(said, recognised).errors == 0


def test_digits_without_end_are_one_wrong_word() -> None:
    assert recognized_speech("Two swans.", "4" * 300 + " swans").errors == 1


@pytest.mark.parametrize(("recognised", "missing"), [("b c", True), ("x b c", False), ("a c", False), ("", True)])
def test_a_first_word_is_missing_where_no_word_is_recognised(recognised: str, missing: bool) -> None:
    assert recognized_speech("a b c", recognised).first_word_missing is missing


@pytest.mark.parametrize(
    ("recognised", "errors"),
    [
        ("Seven birds sang.", 0),
        ("7 birds, sang", 0),
        ("seven birds sang all", 1),
        ("seven bats sang", 1),
        ("sang", 2),
        ("", 3),
    ],
)
def test_errors_are_words_wrong_missing_or_too_many(recognised: str, errors: int) -> None:
    assert recognized_speech("Seven birds sang.", recognised).errors == errors


def test_all_words_count_alike() -> None:
    assert word_error_rate([recognized_speech("one", "two"), recognized_speech("a b c", "a b c")]) == 1 / 4


@pytest.mark.parametrize(
    ("recognised", "missing"),
    [("a b c", False), ("x b y", False), ("b c", True), ("a b", True), ("a c", False), ("", True)],
)
def test_an_edge_is_missing_where_no_word_is_recognised(recognised: str, missing: bool) -> None:
    assert recognized_speech("a b c", recognised).edge_missing is missing


def test_missing_edges_are_counted_by_utterance() -> None:
    assert edge_missing_rate([recognized_speech("a b", "a b"), recognized_speech("a b", "b")]) == 0.5


def test_reference_words_are_those_of_the_reference_that_the_text_does_not_have() -> None:
    transcript = "Some call me nature."
    assert reference_word_rate([(recognized_speech("the train is late", "the train is late"), transcript)]) == 0
    assert reference_word_rate([(recognized_speech("the train", "call me the train"), transcript)]) == 2 / 4
    assert reference_word_rate([(recognized_speech("they call me late", "they call me late"), transcript)]) == 0, (
        "the text has it too"
    )
    assert reference_word_rate([(recognized_speech("a nature walk", "a nature walk"), transcript)]) == 0, (
        "one word may be chance"
    )
    assert reference_word_rate([(recognized_speech("a", ""), transcript)]) == 0


@pytest.mark.model
def test_the_measurement_gives_every_figure_with_its_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from bench import quality, speech_quality

    monkeypatch.setattr(sys, "argv", ["quality.py", "--sentences", "1", "--out", str(tmp_path)])
    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr(quality, "MORE_LITERARY", {4: 0.1})
    monkeypatch.setattr(quality, "BEST_NFE", 4)
    monkeypatch.setattr(quality, "USUAL_NFE", 4)
    monkeypatch.setattr(speech_quality, "USUAL_NFE", 4)
    monkeypatch.setattr(quality, "TIMES", 1)
    monkeypatch.setattr(speech_quality, "TIMES", 1)
    monkeypatch.setenv("F5_MODEL", "f5-tiny")
    monkeypatch.setenv("F5_DEVICE", "cpu")
    monkeypatch.setenv("F5_ASR_MODEL", "off")
    quality.main()
    result = json.loads((tmp_path / "quality-f5-tiny.json").read_text())
    assert [row["of"] for row in result["bars"]] == [1, 1, 1, 1, 1, 1, 1, 1, 7, 7, 6, 1]
    assert all(row["value"] >= -1 and row["met"] in (True, False) for row in result["bars"])
    assert set(result["wer_of_voices"]) == {"bella", "human"}
