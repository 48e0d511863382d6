"""What the script of a text tells: its language, its spaces, its direction."""

from __future__ import annotations

import re

import pytest

from f5_worker.text.language import language_by_script
from f5_worker.text.letters import letters, spoken_letters
from f5_worker.text.scripts import (
    CUT_AFTER,
    JOINED_WITHOUT_SPACE,
    breaks_anywhere,
    has_right_to_left,
    is_clustered,
    is_latin,
    is_leading_vowel,
    is_right_to_left,
    is_trailing_vowel,
    is_unspaced,
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("今日は", "ja"),
        ("한국어", "ko"),
        ("中文", "zh"),
        ("中文 한국", "ko"),
        ("English", None),
        ("Русский", None),
        ("", None),
    ],
)
def test_the_language_that_a_script_tells(text: str, language: str | None) -> None:
    assert language_by_script(text) == language


def test_scripts_without_spaces() -> None:
    assert all(map(is_unspaced, "漢かカｶ\U00020001"))
    assert not any(map(is_unspaced, "a한ไ。"))
    assert all(map(is_clustered, "กລကក"))
    assert not any(map(is_clustered, "a漢한"))
    assert [is_leading_vowel(char) for char in "เกา"] == [True, False, False]
    assert [is_trailing_vowel(char) for char in "เกา"] == [False, False, True]


def test_korean_has_spaces_but_a_long_text_may_be_cut_after_a_syllable() -> None:
    assert re.match(f"[{CUT_AFTER}]", "한")
    assert not re.match(f"[{JOINED_WITHOUT_SPACE}]", "한")
    assert not breaks_anywhere("한")


def test_full_width_digits_and_letters_are_kept_together_on_a_line() -> None:
    assert not any(map(breaks_anywhere, "Ａ１"))
    assert all(map(breaks_anywhere, "漢あ。（"))
    assert all(re.match(f"[{JOINED_WITHOUT_SPACE}]", char) for char in "Ａ１漢")


@pytest.mark.parametrize(
    ("text", "leads", "has"),
    [
        ("שלום", True, True),
        ("مرحبا a", True, True),
        ("a שלום", False, True),
        ("1 2", False, False),
        ("abc", False, False),
    ],
)
def test_directions(text: str, leads: bool, has: bool) -> None:
    assert (is_right_to_left(text), has_right_to_left(text)) == (leads, has)


def test_latin() -> None:
    assert all(map(is_latin, "aÉőß1"))
    assert not any(map(is_latin, "яβ漢"))


def test_letters_in_time() -> None:
    assert [letters(char) for char in "a漢한か5. "] == [1.0, 3.0, 3.0, 2.0, 4.0, 0.0, 0.0]
    assert spoken_letters("ab 5!") == 6.0
