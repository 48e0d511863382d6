"""The small French model: what of a French text reaches it, and where its files are."""

from __future__ import annotations

import pytest

from f5_worker.boot.weights.weights import WeightRoots, find_model
from f5_worker.models.config import read_config, read_traits
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.text.reading import ReadingOptions, read
from scripts.train_tiny.prose import FRENCH as CHARACTERS
from tests.conftest import FRENCH, TINY


def reaches(text: str) -> tuple[str, tuple[str, ...]]:
    """Return what the model is given of a text, and the characters that it does not know."""
    traits = read_traits(FRENCH)
    vocabulary = Vocabulary.load(FRENCH / "vocab.txt", characters=traits.characters)
    (language,) = traits.languages
    reading = read(text, options=ReadingOptions(language=language, traits=traits))
    indices, unknown = vocabulary.encode(
        vocabulary.tokens(" ".join(part.text.text.strip() for part in reading.passages))
    )
    known = list(vocabulary.index)
    return "".join(known[index] for index in indices), unknown


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("« L’été\u00a0! » s’écria-t-elle\u202f; puis\u00a0: rien.", "« L'été! » s'écria-t-elle; puis: rien."),
        ("“L’œuvre” de ‹ Noël ›, ŒUVRE naïve", "\"L'œuvre\" de ' Noël ', œuvre naïve"),
        ("e\u0301te\u0301, garc\u0327on", "été, garçon"),
        ("Il y a 1\u202f234,5 km.", "Il y a mille deux cent trente-quatre virgule cinq kilomètres."),
        ("La 2ᵉ fois, à 15 h 30, 3 €.", "La deuxième fois, à quinze heures trente, trois euros."),
        ("M. et Mme Élie", "monsieur et madame Élie"),
        ("LA SNCF EST À L'HEURE", "La esse enne cé effe est à l'heure"),
        ("Là-bas… — Oui !", "Là-bas... - Oui!"),
    ],
)
def test_all_of_a_french_text_reaches_the_model(written: str, said: str) -> None:
    assert reaches(written) == (said, ())


def test_letters_of_other_languages_lose_their_accent_and_are_named() -> None:
    assert reaches("Señor Łódź et São") == ("Senor Lodz et Sao", tuple("ñŁóźã"))


def test_its_files_are_those_of_the_recipe() -> None:
    assert "".join((FRENCH / "vocab.txt").read_text().split("\n")) == CHARACTERS
    assert (FRENCH / "vocoder.safetensors").samefile(TINY / "vocoder.safetensors"), "stored once"
    assert read_config(FRENCH).arch["dim"] == read_config(TINY).arch["dim"]


def test_it_ships_with_the_code() -> None:
    located = find_model("f5-tiny-fr", roots=WeightRoots())
    assert (located.directory, located.source, located.notes) == (FRENCH, "shipped", ())
