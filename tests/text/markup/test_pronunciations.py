"""Words that are said otherwise than they are written."""

from __future__ import annotations

import pytest

from f5_worker.text.markup.pronunciations import Pronunciation, apply_pronunciations, of_voice
from f5_worker.text.spans import SourceMappedText

TABLE = (
    Pronunciation("Xiaomi", "shao mee"),
    Pronunciation("New", "noo"),
    Pronunciation("New York", "noo yawk"),
    Pronunciation("US", "you ess", case_sensitive=True),
    Pronunciation("C++", "see plus plus"),
    Pronunciation(".NET", "dot net"),
    Pronunciation("北京", "bay jing"),
    Pronunciation("cafe\u0301", "kaffay"),
    Pronunciation("um", ""),
    Pronunciation("Rad", "raht", language="de"),
)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Xiaomi, XIAOMI's xiaomi.", "shao mee, shao mee's shao mee."),
        ("Xiaomis, aXiaomi, Xiaomi2, my_Xiaomi", "Xiaomis, aXiaomi, Xiaomi2, my_shao mee"),
        ("New York is new.\nNew\nYork", "noo yawk is noo.\nnoo yawk"),
        ("The US and us", "The you ess and us"),
        ("C++ or C or C+ on .NET", "see plus plus or C or C+ on dot net"),
        ("去北京大学", "去bay jing大学"),
        ("café Café", "kaffay kaffay"),
        ("So um yes", "So  yes"),
        ("A Rad", "A Rad"),
    ],
)
def test_whole_words_are_replaced_the_longest_first(written: str, said: str) -> None:
    assert apply_pronunciations(SourceMappedText.of(written), TABLE, "en").text == said


def test_an_entry_may_be_for_one_language_or_one_voice() -> None:
    assert apply_pronunciations(SourceMappedText.of("Ein Rad"), TABLE, "de").text == "Ein raht"
    anns = Pronunciation("tea", "tay", voice="ann")
    assert of_voice([anns, *TABLE], "ann") == (anns, *TABLE)
    assert of_voice([anns, *TABLE], "bob") == TABLE


def test_of_entries_for_the_same_words_the_first_counts() -> None:
    entries = [Pronunciation("Xiaomi", "one"), Pronunciation("xiaomi", "two")]
    assert apply_pronunciations(SourceMappedText.of("Xiaomi"), entries, "en").text == "one"


def test_what_is_said_is_from_the_whole_word() -> None:
    read = apply_pronunciations(SourceMappedText.of("A Xiaomi."), TABLE, "en")
    assert {read.origin[at] for at in range(2, 10)} == {(2, 8)}
    assert read.origin[-1] == (8, 9)
