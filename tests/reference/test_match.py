"""Written and recognised words: compared by their letters, paired in order, never paired by guess."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.asr.whisper import TranscribedWord
from f5_worker.reference.match import TextPiece, agreement, edges_agree, matched_share, timed_words
from f5_worker.text.tokens import tokens

PANGRAM = "The quick brown fox jumps over the lazy dog, and nobody minds."
OTHER = "We carried the baskets to the cellar and put the fruit on shelves."


def recognised(text: str, begin_s: float = 0.0) -> list[TranscribedWord]:
    """Return one word each half second, as Whisper writes them."""
    return [
        TranscribedWord(f" {word}", begin_s + index / 2, begin_s + index / 2 + 0.4, 0.9)
        for index, word in enumerate(text.split())
    ]


def found(text: str, pieces: list[TextPiece]) -> list[tuple[str, float | None]]:
    return [(text[piece.begin : piece.end], piece.start_s) for piece in pieces]


class TestAgreement:
    @pytest.mark.parametrize(
        ("written", "spoken"),
        [
            (PANGRAM, PANGRAM.upper().replace(",", "")),
            ("some one knows", "someone knows"),
            ("In 1984 we paid $5.", "In nineteen eighty-four we paid five dollars."),
            ("Room twenty one is free", "Room 21 is free"),
            ("你好，世界。", "你好世界"),
        ],
    )
    def test_one_text_written_in_two_ways(self, written: str, spoken: str) -> None:
        assert agreement(written, spoken) == 1.0

    def test_a_spelling_counts_by_its_letters(self) -> None:
        assert agreement("Catherine came home late", "Katherine came home late") == pytest.approx(1 - 1 / 21)

    def test_missing_words_count_by_their_letters(self) -> None:
        assert agreement("one two three four", "one two three") == pytest.approx(11 / 15)

    def test_other_texts(self) -> None:
        assert agreement(PANGRAM, OTHER) < 0.4

    def test_a_number_hides_no_mismatch(self) -> None:
        assert agreement("7 " + PANGRAM, "8 " + OTHER) < 0.4
        assert agreement("7 " + "ab cd ef gh " * 3, "8 " + "uv wx yz st " * 3) < 0.1

    def test_times_are_no_number(self) -> None:
        timed = " ".join(f"[00:{n:02d}.400 --> 00:{n + 2:02d}.853] {word}" for n, word in enumerate(PANGRAM.split()))
        assert agreement(timed, PANGRAM) < 0.4
        assert agreement(f"12 34 56 78 {PANGRAM}", PANGRAM) < 1.0
        assert agreement("on 12/24/2024 we met", "on Dec 24 2024 we met") == 1.0

    @pytest.mark.parametrize(("written", "spoken"), [("hello", ""), ("", "hello"), ("", "")])
    def test_nothing_agrees_with_nothing(self, written: str, spoken: str) -> None:
        assert agreement(written, spoken) == 0.0

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_it_is_a_share(self, one: str, other: str) -> None:
        assert 0.0 <= agreement(one, other) <= 1.0


@pytest.mark.parametrize(
    ("written", "spoken", "same"),
    [
        ("We go home.", "we went home", True),
        ("We go home.", "go home", False),
        ("We go home.", "we go", False),
        ("Catherine left", "Katherine left", True),
        ("We go", "", False),
    ],
)
def test_edges(written: str, spoken: str, same: bool) -> None:
    assert edges_agree(written, spoken) is same


class TestTimes:
    def test_each_word_has_its_time_and_its_punctuation(self) -> None:
        text = 'He said, "go home!" - and left.'
        pieces = timed_words(text, recognised("he said go home and left", 10))
        assert found(text, pieces) == [
            ("He", 10.0),
            ("said,", 10.5),
            ('"go', 11.0),
            ('home!" -', 11.5),
            ("and", 12.0),
            ("left.", 12.5),
        ]

    def test_the_part_of_a_longer_text_is_found(self) -> None:
        text = f"{OTHER} {PANGRAM} {OTHER}"
        pieces = timed_words(text, recognised(PANGRAM))
        timed = [piece for piece in pieces if piece.start_s is not None]
        assert text[timed[0].begin : timed[-1].end] == PANGRAM

    def test_a_misrecognised_word_has_its_time_if_it_is_similar(self) -> None:
        pieces = timed_words("we saw Catherine there", recognised("we saw Katherine their"))
        assert [piece.start_s for piece in pieces] == [0.0, 0.5, 1.0, 1.5]
        pieces = timed_words("we saw bees there", recognised("we saw horses there"))
        assert [piece.start_s for piece in pieces] == [0.0, 0.5, None, 1.5]

    def test_recognised_words_that_are_not_written_are_empty_pieces(self) -> None:
        text = "one two three"
        assert found(text, timed_words(text, recognised("one two and a half three"))) == [
            ("one", 0.0),
            ("two", 0.5),
            ("", None),
            ("three", 2.5),
        ]
        assert found(text, timed_words(text, recognised("one two three four")))[-1] == ("", None)
        assert found(text, timed_words(text, recognised("zero one two three")))[0] == ("", None)

    def test_written_words_that_are_not_recognised_have_no_time(self) -> None:
        pieces = timed_words("one two three four", recognised("one four"))
        assert [piece.start_s for piece in pieces] == [0.0, None, None, 0.5]
        assert [piece.confidence for piece in pieces] == [1.0, 0.0, 0.0, 1.0]

    def test_compounds_span_the_recognised_words(self) -> None:
        first, second = timed_words("twenty-one boats", recognised("twenty one boats"))
        assert (first.start_s, first.end_s, second.start_s) == (0.0, 0.9, 1.0)

    def test_chinese_goes_by_character(self) -> None:
        text = "你好，世界。"
        words = [TranscribedWord("你好", 0.0, 0.5, 0.9), TranscribedWord("世界", 0.8, 1.2, 0.9)]
        assert found(text, timed_words(text, words)) == [("你", 0.0), ("好，", 0.0), ("世", 0.8), ("界。", 0.8)]

    def test_the_share_of_recognised_words_that_are_written(self) -> None:
        words = recognised(PANGRAM)
        assert matched_share(timed_words(PANGRAM, words), words) == 1.0
        assert matched_share(timed_words(OTHER, words), words) < 0.3
        assert matched_share([], []) == 0.0

    @given(st.text(alphabet="ab 1-.你,'", max_size=30), st.text(alphabet="ab 1-.你,'", max_size=30))
    def test_pieces_are_in_order_and_lose_no_letter(self, text: str, spoken: str) -> None:
        pieces = timed_words(text, recognised(spoken))
        assert all(before.end <= after.begin for before, after in itertools.pairwise(pieces))
        assert [token for piece in pieces for token in tokens(text[piece.begin : piece.end])] == tokens(text)
        starts = [piece.start_s for piece in pieces if piece.start_s is not None]
        assert starts == sorted(starts)
