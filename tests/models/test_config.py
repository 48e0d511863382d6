"""Where a checkpoint is, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from f5_worker.errors import ModelUnavailable
from f5_worker.models.config import find_model, read_traits
from f5_worker.settings import Settings
from f5_worker.text.traits import TextTraits
from tests.conftest import TINY


def test_a_checkpoint_says_what_it_has_learned_of_text(tmp_path: Path) -> None:
    assert read_traits(tmp_path) == TextTraits()
    (tmp_path / "text.json").write_text('{"lower_capitals": true, "languages": ["fr"]}')
    assert read_traits(tmp_path) == TextTraits(languages=("fr",), lower_capitals=True)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"lower_capitals": 1}', '{"upper_capitals": true}', '{"languages": ["French"]}',
             '{"languages": "fr"}', '{"languages": 1}']
)  # fmt: skip
def test_an_unusable_text_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.json").write_text(text)
    with pytest.raises(ModelUnavailable, match=r"text\.json of model"):
        read_traits(tmp_path)


def test_the_small_model_says_what_it_has_learned() -> None:
    learned = {"languages": ("en",), "characters": True}
    assert read_traits(TINY) == TextTraits(**learned, lower_capitals=True, spell_letters=True, one_sentence=True)


def test_the_error_for_a_missing_model_names_the_places_searched(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"F5_MODEL='missing' was found neither in .* nor in"):
        find_model(Settings(model="missing", models_dir=tmp_path))


def test_a_model_may_be_given_as_a_path(tmp_path: Path) -> None:
    assert find_model(Settings(model=str(tmp_path))) == tmp_path
