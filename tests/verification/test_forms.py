"""Two writings of the same speech are equal; other words are not."""

from __future__ import annotations

from functools import partial

import pytest

from f5_worker.verification.compare import WordSounds, compare
from f5_worker.verification.forms import sound_alike, sound_distance, spoken_words


def words(text: str, language: str = "en") -> list[str]:
    return [word.text for word in spoken_words(text, language)]


@pytest.mark.parametrize(
    ("text", "transcript", "language"),
    [
        ("Twenty three people came.", "23 people came.", "en"),
        ("Doctor Smith paid ten dollars.", "Dr. Smith paid $10.", "en"),
        ("It was nineteen eighty four - at last!", "It was 1984 at last", "en"),
        ("Don't say “naïve”.", "don’t say naive", "en"),
        ("In March, two thousand and four.", "In March, 2004.", "en"),
        ("Forty dollars and nineteen cents", "$40.19", "en"),
        ("Eight hundred and fifty thousand books, and two", "850,000 books and 2", "en"),
        ("Es waren dreiundzwanzig.", "Es waren 23.", "de"),
        ("Elle a vingt-trois ans.", "Elle a 23 ans", "fr"),
    ],
)
def test_text_and_transcript_are_written_out_the_same_way(text: str, transcript: str, language: str) -> None:
    assert words(text, language) == words(transcript, language) != []


def test_a_word_knows_the_characters_that_it_is_from() -> None:
    text = "Pay $10, Anne-Marie!"
    found = [(word.text, text[word.begin : word.end]) for word in spoken_words(text, "en")]
    assert found[0] == ("pay", "Pay")
    assert {source for word, source in found if word in ("ten", "dollars")} <= {"$10", "$10,"}
    assert found[-2:] == [("anne", "Anne-Marie!"), ("marie", "Anne-Marie!")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pair.split("-")
        for pair in "their-there to-too anne-ann colour-color catherine-kathryn night-knight write-right know-no "
        "sea-see which-witch stephen-steven hour-our allright-alright grey-gray eight-ate".split()
    ],
)
def test_homophones_and_spellings_are_alike(one: str, other: str) -> None:
    assert sound_alike(one, other, "en")


@pytest.mark.parametrize(("one", "other"), [("house", "garden"), ("left", "right"), ("no", "yes"), ("train", "plane")])
def test_other_words_are_not(one: str, other: str) -> None:
    assert not sound_alike(one, other, "en")
    assert not sound_alike(one, other, "de")


def test_a_name_that_is_spelled_as_it_sounds_is_near_and_another_word_is_far() -> None:
    assert 0.0 < sound_distance("cholmondeley", "comundelli", "en") <= 0.5 < sound_distance("house", "table", "en")
    assert sound_distance("haus", "maus", "de") == 0.25  # by spelling in other languages


def test_chinese_is_compared_by_its_sounds() -> None:
    assert words("他们好", "zh") == ["他", "们", "好"]
    assert sound_alike("他", "她", "zh")
    assert not sound_alike("他", "好", "zh")


@pytest.mark.parametrize(
    ("text", "transcript"),
    [
        ("I'm sure they're here, and it's fine.", "I am sure they are here and it is fine"),
        ("Do not go; we cannot stay.", "Don't go, we can't stay."),
        ("All right, every body saw the sunrise.", "Alright, everybody saw the sun rise."),
        ("Mister Jones and Doctor Smith, okay?", "Mr. Jones and Dr. Smith, OK?"),
    ],
)
def test_contractions_and_compounds_are_no_differences(text: str, transcript: str) -> None:
    sounds = WordSounds(partial(sound_alike, language="en"), partial(sound_distance, language="en"))
    assert compare(words(text), words(transcript), sounds) == []
