"""The files that the recipe exports."""

from __future__ import annotations

from pathlib import Path

import torch

from f5_worker.models.config import read_traits
from f5_worker.models.f5.tokenizer import Vocabulary
from scripts.train_tiny.export import export


def test_an_exported_model_says_its_language_and_leaves_the_file_behind_a_link_alone(tmp_path: Path) -> None:
    shared, other, out = tmp_path / "shared", tmp_path / "other", tmp_path / "f5-fr"
    shared.write_bytes(b"vocoder of the English one")
    other.write_bytes(b"another vocoder")
    out.mkdir()
    (out / "vocoder.safetensors").symlink_to(shared)
    weights = {"dit.proj_out.weight": torch.zeros(2, 2), "heads.phone.weight": torch.zeros(2, 2)}
    export(weights, shared, out, "fr")
    assert (out / "vocoder.safetensors").is_symlink()
    traits = read_traits(out)
    assert (traits.languages, traits.characters, traits.guillemets) == (("fr",), True, True)
    assert "«" in Vocabulary.load(out / "vocab.txt").index
    export(weights, other, out, "en-us")
    assert (out / "vocoder.safetensors").read_bytes() == other.read_bytes() != shared.read_bytes()
    assert (read_traits(out).languages, read_traits(out).guillemets) == (("en",), False)
