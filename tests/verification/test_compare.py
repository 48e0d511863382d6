"""Words that differ, by the fewest errors."""

from __future__ import annotations

import pytest

from f5_worker.verification.compare import Difference, WordSounds, compare


def compared(written: str, heard: str, distance: float = 1.0) -> list[Difference]:
    return compare(written.split(), heard.split(), WordSounds(str.__eq__, lambda one, other: distance))


@pytest.mark.parametrize(
    ("written", "heard", "differences"),
    [
        ("the old clock", "the old clock", []),
        ("the old clock", "the clock", [(1, 2, 1, 1)]),
        ("the old clock", "the very old clock", [(1, 1, 1, 2)]),
        ("the old clock", "the cold clock", [(1, 2, 1, 2)]),
        ("the old clock", "", [(0, 3, 0, 0)]),
        ("", "the clock", [(0, 0, 0, 2)]),
        ("one two three four five", "one zwei drei four", [(1, 3, 1, 3), (4, 5, 4, 4)]),
        ("a b c d e f g h", "a x y d e f h i j", [(1, 3, 1, 3), (6, 7, 6, 6), (8, 8, 7, 9)]),
    ],
)
def test_the_fewest_differences(written: str, heard: str, differences: list[tuple[int, ...]]) -> None:
    assert [difference[:4] for difference in compared(written, heard)] == differences


@pytest.mark.parametrize(
    ("written", "heard"),
    [("all right now", "allright now"), ("sunrise", "sun rise"), ("nevertheless he", "never the less he")],
)
def test_words_that_are_joined_or_split_are_equal(written: str, heard: str) -> None:
    assert compared(written, heard) == []


def test_a_short_word_beside_a_long_one_is_not_taken_for_a_part_of_it() -> None:
    found = compare(["trouble", "is"], ["trouble"], WordSounds(lambda one, other: True, lambda one, other: 1.0))
    assert [difference[:4] for difference in found] == [(0, 1, 0, 0)]


@pytest.mark.parametrize(("distance", "run", "errors"), [(1.0, 2, 2), (0.51, 2, 2), (0.4, 0, 0.4), (0.0, 0, 0.0)])
def test_words_that_sound_similar_count_in_part(distance: float, run: int, errors: float) -> None:
    (difference,) = compared("the wide window closed", "the white widow closed", distance)
    assert difference.run == run
    assert difference.errors == pytest.approx(errors)


def test_a_word_that_is_missing_or_added_counts_whole_whatever_it_sounds_like() -> None:
    for written, heard in (("the old clock", "the clock"), ("the clock", "the old clock")):
        (difference,) = compared(written, heard, 0.0)
        assert (difference.run, difference.errors) == (1, 1)
