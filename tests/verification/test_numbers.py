"""Numbers in other words are one word where they are equal; where they are not, their words are compared."""

from __future__ import annotations

import pytest

from f5_worker.verification.forms import spoken_words
from f5_worker.verification.numbers import join_equal_numbers


def joined(text: str, transcript: str) -> tuple[list[str], list[str]]:
    written, heard = join_equal_numbers(spoken_words(text, "en"), spoken_words(transcript, "en"))
    return [word.text for word in written], [word.text for word in heard]


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("born in nineteen hundred and twelve", "born in 1912"),
        ("It opens at nine fifteen.", "It opens at 9.15."),
        ("until nine thirty", "until 9:30"),
        ("until nine thirty", "until 9.30"),
        ("Flight seven forty five to Denver", "Flight 745 to Denver"),
        ("He ran the hundred meters in eleven point three seconds.", "he ran the 100 meters in 11.3 seconds"),
        ("twelve hundred bricks", "1,200 bricks"),
        ("one thousand two hundred bricks", "1200 bricks"),
        ("two million four hundred thousand and one", "2,400,001"),
        ("in twenty seventeen", "in 2017"),
        ("in two thousand and seventeen", "in 2017"),
        ("five five five, zero one seven three", "555-0173"),
        ("on the thirty-first, the second time", "on the 31st, the 2nd time"),
        ("the hundredth of ten thousand", "the 100th of 10,000"),
    ],
)
def test_numbers_that_are_equal_are_one_word(text: str, transcript: str) -> None:
    written, heard = joined(text, transcript)
    digits = [word for word in written if word.isdigit()]
    assert digits == [word for word in heard if word.isdigit()] != []
    assert not {"hundred", "thousand", "nine", "twenty", "five"} & {*written, *heard}


def test_other_numbers_are_compared_by_their_words() -> None:
    text, transcript = "eight thousand six hundred and eleven of 20", "8,600 and 12 of twenty"
    assert joined(text, transcript) == (
        ["eight", "thousand", "six", "hundred", "eleven", "of", "20"],
        ["eight", "thousand", "six", "hundred", "twelve", "of", "20"],
    )


def test_a_point_that_is_no_decimal_point_is_a_word() -> None:
    assert joined("At this point, three left.", "at this point 3 left") == (
        ["at", "this", "point", "3", "left"],
        ["at", "this", "point", "3", "left"],
    )


def test_a_number_has_the_characters_of_all_its_words() -> None:
    text = "In nineteen hundred and twelve, he left."
    written, _ = join_equal_numbers(spoken_words(text, "en"), spoken_words("1912", "en"))
    assert [(word.text, text[word.begin : word.end]) for word in written[:3]] == [
        ("in", "In"),
        ("1912", "nineteen hundred and twelve,"),
        ("he", "he"),
    ]
