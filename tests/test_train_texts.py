"""The training texts of f5-tiny: what is spoken, in characters that it has, and nothing that is kept for measuring."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from scripts.train_tiny import grammar, prose, texts


def test_sentences_for_measuring_are_kept_out_of_the_training_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_out = texts.held_out()
    assert len(kept_out) > 250
    examples = [line.lower().rstrip(".!?") for line in kept_out] + ["a bird in the hand of a friend"]
    monkeypatch.setattr(texts, "wordnet_glosses", lambda folder: (list(examples), []))
    made = list(texts.training_texts(Path(), count=1_200, seed=1, books=kept_out))
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
