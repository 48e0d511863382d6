"""Capitals and initials for models that never learned them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.text.markup.capitals import capital_sentences, lower_capitals, spell_letters
from f5_worker.text.spans import SourceMappedText


def lowered(text: str, language: str = "en") -> str:
    return lower_capitals(SourceMappedText.of(text), language).text


def spelled(text: str, language: str = "en") -> str:
    return spell_letters(SourceMappedText.of(text), language).text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("THE MORNING LIGHT CAME. IT IS US!", "The morning light came. It is us!"),
        ("DON'T GO, I'M HERE", "Don't go, I'm here"),
        ("THE CAT SAT ON A MAT. A DOG SAW THE BBC.", "The cat sat on a mat. A dog saw the BBC."),
        ("I said NO to the BIG dog. STOP! Go.", "I said no to the big dog. Stop! Go."),
        ("WARNING", "Warning"),
        ("MR. SMITH MET DR. WHO", "Mr. Smith met Dr. Who"),
        ("ÜBER DEN WOLKEN", "Über den wolken"),
        ("УТРЕННИЙ СВЕТ", "Утренний свет"),
        ("The BBC, IBM, US, IT and USA stay, NASA does not", "The BBC, IBM, US, IT and USA stay, nasa does not"),
        ("A plain Sentence. I am John. Plan B.", "A plain Sentence. I am John. Plan B."),
        ("你好 123", "你好 123"),
    ],
)
def test_words_in_capitals_are_lowered_and_initials_stay(written: str, read: str) -> None:
    assert lowered(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("The BBC and the FBI's man", "The bee bee see and the eff bee eye's man"),
        ("Three CDs, two PCs", "Three see dees, two pee sees"),
        ("five P M, A B C", "five pee em, ay bee see"),
        ("In the U.S. It is. In the U.S. again, e.g. L.A", "In the you ess. It is. In the you ess again, e.g. ell ay"),
        ("Plan B and x", "Plan bee and ex"),
        ("I have a dog. It's o'clock. R&B, MP3, T-shirt", "I have a dog. It's o'clock. R&B, MP3, T-shirt"),
        ("NASA is here. Hello", "NASA is here. Hello"),
    ],
)
def test_letters_are_spelled(written: str, read: str) -> None:
    assert spelled(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("IL Y A DU PAIN À LA MAISON. L'ÉTÉ EST LÀ !", "Il y a du pain à la maison. L'été est là !"),
        ("Elle a dit OUI, puis NON, EN VAIN.", "Elle a dit oui, puis non, en vain."),
        ("LE TGV ET LA SNCF SONT EN RETARD", "Le TGV et la SNCF sont en retard"),
        ("Le RER, la RATP et l'ONU ; OÙ ?", "Le RER, la RATP et l'ONU ; où ?"),
    ],
)
def test_french_words_in_capitals_are_lowered(written: str, read: str) -> None:
    assert lowered(written, "fr") == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("La SNCF et l'ONU", "La esse enne cé effe et l'oh enne hu"),
        ("Qu'EDF dise", "Qu'eu dé effe dise"),
        ("Il y a la vitamine C, à J. Y a-t-il un plan B ?", "Il y a la vitamine cé, à ji. Y a-t-il un plan bé ?"),
        ("la R.A.T.P., deux CD", "la erre ah té pé, deux cé dé"),
        ("C'est l'été, n'est-ce pas ? L'OTAN", "C'est l'été, n'est-ce pas ? L'OTAN"),
    ],
)
def test_letters_are_spelled_in_french(written: str, read: str) -> None:
    assert spelled(written, "fr") == read


def test_letters_stay_in_a_language_whose_names_are_not_known() -> None:
    assert spelled("Das ZDF, Plan B", "de") == "Das ZDF, Plan B"


def test_sentences_in_capitals_are_found() -> None:
    text = "It is late. GO HOME NOW. BBC NEWS. WHAT A DAY!\nOK"
    assert [text[begin:end].strip() for begin, end in capital_sentences(text)] == ["GO HOME NOW.", "WHAT A DAY!"]


@given(st.text(alphabet="ABc'’ .!\nIUS1ÜÉ", max_size=60))
def test_lowering_changes_case_only_and_spelling_keeps_places_in_order(text: str) -> None:
    for language in ("en", "fr"):
        read = lower_capitals(SourceMappedText.of(text), language)
        assert read.text.lower() == text.lower()
        begins = [begin for begin, _ in spell_letters(read, language).origin]
        assert begins == sorted(begins)
