"""The training texts of f5-tiny: what is spoken, in characters that it has, and nothing that is kept for measuring."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from scripts.train_tiny import french, grammar, prose, texts
from scripts.train_tiny.lexicon import Lexicon, past, several

WORDNET = {
    "cntlist.rev": "".join(
        f"{lemma}%{part}:{number:02}:00:: 1 {count}\n"
        for lemma, part, number, count in [
            ("captain", 1, 18, 9), ("fox", 1, 18, 2), ("man", 1, 18, 90), ("oslo", 1, 15, 3), ("crew", 1, 14, 5),
            ("attack", 1, 4, 5), ("party", 1, 10, 5), ("apple", 1, 6, 5), ("valley", 1, 15, 5), ("river", 1, 17, 5),
            ("hope", 1, 9, 5), ("carry", 2, 35, 8), ("go", 2, 38, 50), ("praise", 2, 32, 8), ("open", 3, 0, 8),
            ("slowly", 4, 2, 8), ("very", 4, 2, 80),
        ]
    ),
    "noun.exc": "men man\n",
    "verb.exc": "went go\n",
    "data.noun": "  a notice\n1 15 n 02 Oslo 0 Christiania 0 000 | capital\n2 18 n 01 Ada_Byron 0 000 | a woman\n",
}  # fmt: skip


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    for name, text in WORDNET.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_words_are_those_that_were_counted_and_can_be_inflected_by_rule(wordnet: Path) -> None:
    lexicon = Lexicon(wordnet)
    assert lexicon.words["person"] == ["captain", "fox"]  # not man, whose plural is irregular
    assert lexicon.words["place"] == ["valley"]  # not oslo, which is a name
    assert (lexicon.words["contact"], lexicon.words["social"]) == (["carry"], ["praise"])
    assert lexicon.words["adv"] == ["slowly"]
    assert (lexicon.places, lexicon.names) == (["Christiania", "Oslo"], ["Ada Byron"])
    assert [past(verb) for verb in ("carry", "praise", "play")] == ["carried", "praised", "played"]
    assert [several(noun) for noun in ("party", "fox", "valley")] == ["parties", "foxes", "valleys"]


def test_sentences_of_wordnets_words_are_in_characters_that_the_model_has_and_like_none_for_measuring(
    wordnet: Path,
) -> None:
    rng, lexicon = random.Random(1), Lexicon(wordnet)
    made = {make(rng) for make in (lexicon.sentence, lexicon.short) for _ in range(1_000)}
    assert not set("".join(made)) - set(texts.VOCAB)
    assert not any("{" in text or "  " in text for text in made)
    four = {
        tuple(words[i : i + 4]) for line in texts.held_out() for words in [_words(line)] for i in range(len(words) - 3)
    }
    assert not [t for t in made for w in [_words(t)] for i in range(len(w) - 3) if tuple(w[i : i + 4]) in four]
    assert {"An apple.", "The apple."} & made or "Apple." in made


def _words(text: str) -> list[str]:
    return text.lower().strip('."!?').replace(",", "").split()


def test_sentences_for_measuring_are_kept_out_of_the_training_texts(
    monkeypatch: pytest.MonkeyPatch, wordnet: Path
) -> None:
    kept_out = texts.held_out()
    assert len(kept_out) > 250
    examples = [line.lower().rstrip(".!?") for line in kept_out] + ["a bird in the hand of a friend"]
    monkeypatch.setattr(texts, "wordnet_glosses", lambda folder: (list(examples), []))
    made = list(texts.training_texts(wordnet, count=1_200, seed=1, books=kept_out))
    assert "a bird in the hand of a friend" in [text.lower().rstrip(".,!") for text in made]
    assert not {texts._key(text) for text in made} & {texts._key(line) for line in kept_out}


def test_every_kind_of_text_is_in_characters_that_the_model_has() -> None:
    rng = random.Random(1)
    clauses = ["the snow fell on the roofs", "he opened the letter."]
    makers = [
        lambda: grammar.numbers(rng), lambda: grammar.letters(rng), lambda: grammar.news(rng),
        lambda: grammar.lists(rng), lambda: grammar.dialogue(rng, clauses, texts.PEOPLE),
    ]  # fmt: skip
    for make in makers:
        made = {make() for _ in range(150)}
        assert len(made) > 50
        assert not set("".join(made)) - set(texts.VOCAB)
        assert not any("  " in text or ".." in text for text in made)


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (0, "zero"),
        (19, "nineteen"),
        (40, "forty"),
        (76, "seventy-six"),
        (300, "three hundred"),
        (4_000, "four thousand"),
        (70_013, "seventy thousand thirteen"),
    ],
)
def test_numbers_are_in_words(n: int, said: str) -> None:
    assert grammar.number(n, random.Random(1)) == said


def test_sentences_of_a_book_are_whole_and_plain() -> None:
    book = (
        'CHAPTER IV\r\n\r\nMr. Bennet was silent -- and _very_\r\npale. "Come in," said the old man. Go!\r\n\r\n'
        "In 1805 she sailed. He said [aside] nothing at all."
    )
    assert prose.sentences_of(book) == ["Mister Bennet was silent, and very pale.", '"Come in," said the old man.']


def test_a_sentence_that_shares_six_words_with_an_excluded_one_is_left_out(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("She read the old letter by the fire. The dog slept on the warm stones of the yard.")
    excluded = prose.shingles(["and the dog slept on the warm sand"])
    assert prose.read_books([book], excluded) == ["She read the old letter by the fire."]


LEXIQUE = """\
1_ortho 4_cgram 5_genre 6_nombre 9_freqfilms2 10_freqlivres 11_infover
ville NOM f s 200 200
arbre NOM m s 50 60
forêt NOM f s 50 60
hanap NOM m s 5 5
rarissime ADJ  s 0,1 0,2
vert ADJ m s 30 30
verte ADJ f s 20 20
manger VER   100 90 inf;
mange VER   50 40 ind:pre:3s;
vendu VER m s 30 20 par:pas;
"""


@pytest.fixture
def french_words(tmp_path: Path) -> french.Words:
    path = tmp_path / "lexique.txt"
    path.write_text(LEXIQUE.replace(" ", "\t"), encoding="latin-1")
    return french.Words(path)


def test_french_noun_phrases_agree(french_words: french.Words) -> None:
    rng = random.Random(1)
    made = {french_words.noun_phrase(rng) for _ in range(300)}
    assert {"l'arbre", "cet arbre vert", "la ville verte", "une forêt"} <= made
    assert not any(wrong in phrase for phrase in made for wrong in ("le arbre", "vert forêt", "hanap", "rarissime"))


def test_french_texts_are_in_its_characters_and_none_is_kept_for_measuring(
    french_words: french.Words, tmp_path: Path
) -> None:
    kept_out = [line for path in french.HELD_OUT.glob("*.txt") for line in path.read_text().splitlines()]
    assert len(kept_out) == 89
    assert not set("".join(kept_out)) - set(prose.FRENCH)
    definitions = [*kept_out, "Réunion de personnes qui s’amusent.", "Symbole d’une unité.", "Née en 1805 à Paris."]
    path = tmp_path / "glosses.txt.gz"
    path.write_bytes(gzip.compress(f"mot\t{' | '.join(definitions)}\n".encode()))
    glosses = french.gloss_sentences(path)
    assert "Réunion de personnes qui s'amusent." in glosses
    assert not any(text.startswith(("Symbole", "Née")) for text in glosses)
    made = list(french.training_texts(glosses, french_words, 600, seed=1))
    assert not {french._key(text) for text in made} & {french._key(text) for text in kept_out}
    assert not set("".join(made)) - set(prose.FRENCH)
    assert any(" ?" in text for text in made)
