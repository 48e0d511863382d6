"""Figures, signs and abbreviations as they are read aloud, and what must stay as it is."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.text.expand import expansions
from f5_worker.text.normalize import normalize


def read(text: str, language: str = "en") -> str:
    return normalize(text, language=language).text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # numbers
        ("3 cups", "three cups"),
        ("1,234,567 people", "one million two hundred and thirty-four thousand five hundred and sixty-seven people"),
        ("pi is 3.14", "pi is three point one four"),
        ("0.5", "zero point five"),
        ("-5 outside", "minus five outside"),
        ("Room 101.", "Room one hundred and one."),
        ("agent 007", "agent zero zero seven"),
        ("1st, 22nd and 103rd", "first, twenty-second and one hundred and third"),
        ("#1", "number one"),
        ("No. 5", "number five"),
        ("1/2 and 3/4", "one half and three quarters"),
        ("50/50, 24/7", "fifty fifty, twenty-four seven"),
        ("10-20 people", "ten to twenty people"),
        ("10–20 people", "ten to twenty people"),
        ("it ended 3-2", "it ended three to two"),
        # years and dates
        ("in 1999", "in nineteen ninety-nine"),
        ("in 2005", "in two thousand five"),
        ("in 2024.", "in twenty twenty-four."),
        ("the 1990s", "the nineteen nineties"),
        ("1914-1918", "nineteen fourteen to nineteen eighteen"),
        ("2024-05-01", "May first, twenty twenty-four"),
        ("May 1, 2024", "May first, twenty twenty-four"),
        ("1 May 2024", "May first, twenty twenty-four"),
        ("on Dec. 25", "on December twenty-fifth"),
        ("5/1/2024", "May first, twenty twenty-four"),
        # times
        ("10:30", "ten thirty"),
        ("12:00", "twelve o'clock"),
        ("5:05 pm", "five oh five p m"),
        ("at 5 p.m. we left", "at five p m we left"),
        ("at 5 p.m. We left.", "at five p m. We left."),
        # money
        ("$25", "twenty-five dollars"),
        ("$5.20", "five dollars twenty cents"),
        ("€20 or 20 €", "twenty euros or twenty euros"),
        ("€1", "one euro"),
        ("£3m", "three million pounds"),
        ("$1.5 billion", "one point five billion dollars"),
        # quantities
        ("5%", "five percent"),
        ("20°C, 68 °F, 90°", "twenty degrees Celsius, sixty-eight degrees Fahrenheit, ninety degrees"),
        ("5km at 90 km/h", "five kilometres at ninety kilometres per hour"),
        ("1 kg", "one kilogram"),
        ("16GB", "sixteen gigabytes"),
        # digit by digit
        ("555-123-4567", "five five five, one two three, four five six seven"),
        ("+1 555 123 4567", "plus one, five five five, one two three, four five six seven"),
        ("12345678", "one two three four five six seven eight"),
        ("Your OTP 4582", "Your OTP four five eight two"),
        ("The PIN is 0042", "The PIN is zero zero four two"),
        ("version 2.8.3", "version two point eight point three"),
        # addresses
        ("me@example.com", "me at example dot com"),
        ("see https://example.com/a-b.", "see example dot com slash a dash b."),
        # abbreviations
        ("Mr. Smith met Dr. Jones", "Mister Smith met Doctor Jones"),
        ("St. Paul vs. them", "Saint Paul versus them"),
        ("e.g. this, i.e. that", "for example this, that is that"),
        ("cats, dogs, etc.", "cats, dogs, et cetera."),
        ("etc. and more", "et cetera and more"),
        ("Tom & Jerry", "Tom and Jerry"),
        ("Henry VIII", "Henry the eighth"),
        ("Chapter IV of World War II", "Chapter four of World War two"),
        # letters and digits
        ("COVID-19", "COVID-nineteen"),
        ("iPhone 15", "iPhone fifteen"),
    ],
)
def test_what_english_readers_say(written: str, said: str) -> None:
    assert read(written) == said


@pytest.mark.parametrize("text", ["3D", "MP3", "v2", "B2B", "1e5", "I am", "AT&T", "drive on Elm Dr.", "X", "civic"])
def test_what_stays(text: str) -> None:
    assert read(text) == text


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "1.234,50 € und 5 %", "eintausendzweihundertvierunddreißig Euro und fünfzig Cent und fünf Prozent"),
        ("de", "3,14", "drei Komma eins vier"),
        ("fr", "1 234 livres", "mille deux cent trente-quatre livres"),
        ("fr", "20 €", "vingt euros"),
        ("es", "42 años y 5%", "cuarenta y dos años y cinco por ciento"),
        ("it", "42 anni", "quarantadue anni"),
        ("pt", "42 anos", "quarenta e dois anos"),
        ("ru", "42 книги", "сорок два книги"),
        ("pl", "42 lata", "czterdzieści dwa lata"),
        ("nl", "42 jaar", "tweeënveertig jaar"),
        ("de", "MP3", "MP3"),
    ],
)
def test_other_languages_read_numbers(language: str, written: str, said: str) -> None:
    assert read(written, language) == said


@pytest.mark.parametrize(("language", "text"), [("zh", "我有42本书"), ("ja", "42冊"), ("xx", "I have 42")])
def test_languages_that_are_left_alone(language: str, text: str) -> None:
    assert read(text, language) == text


def test_nothing_is_written_out_unasked() -> None:
    assert normalize("$25 at 10:30", expand=False).text == "$25 at 10:30"


def test_what_is_said_is_traced_to_what_was_written() -> None:
    text = "We paid $25 for 3 cups."
    traced = normalize(text)
    for said, written in (("twenty-five dollars", "$25"), ("three", "3")):
        at = traced.text.index(said)
        assert {text[begin:end] for begin, end in traced.origin[at : at + len(said)]} == {written}


figures = st.text(alphabet="0123456789.,:/-$€%#° abkmhVI@&\n", max_size=60)


@given(figures, st.sampled_from(["en", "de", "fr", "ru", "xx"]))
def test_any_figures_are_read_in_order_and_apart(text: str, language: str) -> None:
    found = expansions(text, language)
    assert all(0 <= item.begin < item.end <= len(text) for item in found)
    assert all(left.end <= right.begin for left, right in itertools.pairwise(found))


@given(figures)
def test_no_digit_is_left_but_in_words_that_mix_them_with_letters(text: str) -> None:
    for word in re.findall(r"[^\W_]+", read(text)):
        assert not word.isdecimal(), word


@pytest.mark.parametrize(
    "unit", ["1,1,1,", "....", "a@", "$$$", "1", "1-", "1.", "(1)", "a.", "1/", "Jan 1 ", "I ", "1:1"]
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    read(unit * (20_000 // len(unit)))
