"""The evaluation sentences of f5-tiny are not in its training texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.train_tiny import texts

EVALUATION_SENTENCES = [
    line for name in ("sentences.txt", "short_sentences.txt") for line in (texts.HERE / name).read_text().splitlines()
]


def test_evaluation_sentences_are_kept_out_of_the_training_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [line.lower().rstrip(".!?") for line in EVALUATION_SENTENCES] + ["a bird in the hand of a friend"]
    monkeypatch.setattr(texts, "wordnet_glosses", lambda folder: (list(examples), []))
    made = list(texts.training_texts(Path(), count=400, seed=1))
    assert "A bird in the hand of a friend." in made or "a bird in the hand of a friend" in [t.lower() for t in made]
    assert not {texts._key(text) for text in made} & {texts._key(line) for line in EVALUATION_SENTENCES}
