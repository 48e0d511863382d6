from __future__ import annotations

import pytest

from f5_worker.verification.compare import Comparison, Difference, compare


def compared(written: str, heard: str) -> Comparison:
    return compare(written.split(), heard.split(), str.__eq__)


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
    ],
)
def test_the_fewest_differences(written: str, heard: str, differences: list[tuple[int, ...]]) -> None:
    assert compared(written, heard).differences == tuple(Difference(*difference) for difference in differences)


@pytest.mark.parametrize(
    ("written", "heard"),
    [("all right now", "allright now"), ("sunrise", "sun rise"), ("nevertheless he", "never the less he")],
)
def test_words_that_are_joined_or_split_are_equal(written: str, heard: str) -> None:
    assert compared(written, heard).errors == 0


def test_errors_and_the_longest_run() -> None:
    found = compared("a b c d e f g h", "a x y d e f h i j")
    assert (found.errors, found.run, found.wer) == (5, 2, 5 / 8)
