"""Each rule for the ends of sentences and clauses, and where the rules differ on purpose."""

from __future__ import annotations

from itertools import pairwise

import pytest

from f5_worker.errors import InvalidInput
from f5_worker.text.sentences import (
    clause_ends,
    ends_with_clause_mark,
    ends_with_full_stop,
    ends_with_pause_mark,
    finish_transcript,
    pause_marks,
    sentence_ends,
    sentence_ends_before,
    stop_ends_sentence,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two", ["One. ", "Two"]),
        ('"One!" (Two?) Three', ['"One!" ', "(Two?) ", "Three"]),
        ("Mr. Smith has 3.5 e.g. J. R. Doe", ["Mr. Smith has 3.5 e.g. J. R. Doe"]),
        ("今天。明天！好", ["今天。", "明天！", "好"]),
        ("नमस्ते। फिर॥ और", ["नमस्ते। ", "फिर॥ ", "और"]),
    ],
)
def test_sentences_of_a_long_text(text: str, parts: list[str]) -> None:
    edges = [0, *sentence_ends(text), len(text)]
    assert [text[begin:end] for begin, end in pairwise(edges) if begin < end] == parts


def test_clauses_of_a_long_text() -> None:
    text = "One, two; three - four, 1,000 五，六"
    assert [text[:end] for end in clause_ends(text)] == [
        "One, ",
        "One, two; ",
        "One, two; three - ",
        "One, two; three - four, ",
        "One, two; three - four, 1,000 五，",
    ]


def test_marks_of_pauses() -> None:
    text = "One, 3.5 two. Three—four 五。六 ﾊｲ､ हाँ॥ "
    assert [(text[:end][-1], is_stop) for end, is_stop in pause_marks(text)] == [
        (",", False),
        (".", True),
        ("—", False),
        ("。", True),
        ("､", False),
        ("॥", True),
    ]


@pytest.mark.parametrize("text", ["So.", 'So?" ', "So…)", "好。", "ｿｳ｡", "ہاں۔", "So॥", "Mr."])
def test_full_stops_at_the_end(text: str) -> None:
    assert ends_with_full_stop(text)


@pytest.mark.parametrize("text", ["", "So", "So,", "So -"])
def test_no_full_stop_at_the_end(text: str) -> None:
    assert not ends_with_full_stop(text)


def test_any_mark_at_the_end() -> None:
    assert all(map(ends_with_pause_mark, ["a,", "a;”", "a -", "a—", "a.", "好、 ", "ﾊｲ､", "ﾊｲ｡", "ہاں۔", "हाँ॥"]))
    assert not any(map(ends_with_pause_mark, ["", "a", "a%", "a1"]))


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        ("One. ", "Two", True),
        ('One.» "', "Two", False),
        ("One.» ", "Two", True),
        ("Mr. ", "Two", False),
        ("One, ", "two", False),
        ("Title\n", "The text", True),
        ("wrapped\n", "line", False),
        ("फिर॥ ", "और", True),
        ("", "One", False),
    ],
)
def test_a_subtitle_ends_with_its_sentence(before: str, after: str, ends: bool) -> None:
    assert sentence_ends_before(before + after, len(before)) is ends


def test_clause_marks_at_the_end() -> None:
    assert all(map(ends_with_clause_mark, ["a,", "a;”", "a–", "好、", "ｿｳ､"]))
    assert not any(map(ends_with_clause_mark, ["", "a", "a.", "a, "]))


@pytest.mark.parametrize(
    ("after", "ends"), [("", True), (" Then", True), (' "Then', True), (" then", False), (" 5", False)]
)
def test_an_abbreviation_ends_a_sentence_before_a_capital(after: str, ends: bool) -> None:
    assert stop_ends_sentence("etc." + after, 4) is ends


@pytest.mark.parametrize(
    ("transcript", "finished"),
    [
        ("So", "So. "),
        ("So,", "So. "),
        (" So\nit is! ", "So it is! "),
        ("好", "好。"),
        ("好。", "好。"),
        ('"So."', '"So." '),
    ],
)
def test_the_ending_of_a_transcript(transcript: str, finished: str) -> None:
    assert finish_transcript(transcript) == finished


def test_a_transcript_without_letters_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no letters"):
        finish_transcript(" ... ")
