"""The speaker encoder's file: where it is looked for, and what is not one."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from f5_worker.errors import ModelUnavailable
from f5_worker.models.speaker.checkpoint import PICKLED, SAFETENSORS, find_speaker_weights
from f5_worker.models.speaker.network import load_speaker_network
from f5_worker.settings import REPOSITORY, Settings
from tests.speakers import resemblyzer_weights, write_random


def find(name: str | Path, models_dir: Path = Path("/nowhere")) -> Path | None:
    return find_speaker_weights(Settings(speaker_model=str(name), models_dir=models_dir))


def test_it_is_off_by_default() -> None:
    assert find_speaker_weights(Settings()) is None


def test_a_directory_or_a_name_among_the_models(tmp_path: Path) -> None:
    path = write_random(tmp_path / "ge2e")
    assert find(tmp_path / "ge2e") == path
    assert find("ge2e", tmp_path) == path


def test_the_file_of_the_package_is_that_of_the_documents(tmp_path: Path) -> None:
    path = resemblyzer_weights()
    (tmp_path / "ge2e").mkdir()
    assert find("ge2e", Path(shutil.copy(path, tmp_path / "ge2e")).parent.parent) == tmp_path / "ge2e" / PICKLED
    document = (REPOSITORY / "docs" / "voices.md").read_text(encoding="utf-8")
    assert hashlib.sha256(path.read_bytes()).hexdigest() in document


def test_both_forms_of_the_weights_are_the_same_network(tmp_path: Path) -> None:
    stored = torch.load(resemblyzer_weights(), map_location="cpu", weights_only=True)["model_state"]
    save_file({name: tensor.detach().clone() for name, tensor in stored.items()}, tmp_path / SAFETENSORS)
    path = find(tmp_path)
    assert path is not None
    ours = load_speaker_network(path).state_dict()
    theirs = load_speaker_network(resemblyzer_weights()).state_dict()
    assert len(ours) == 14
    assert all(torch.equal(ours[name], theirs[name]) and torch.equal(ours[name], stored[name]) for name in ours)


def test_without_a_file_both_places_are_named(tmp_path: Path) -> None:
    (tmp_path / "ge2e").mkdir()
    with pytest.raises(ModelUnavailable) as caught:
        find("ge2e", tmp_path)
    assert caught.value.message == (
        f"neither model.safetensors nor pretrained.pt is in {REPOSITORY / 'models' / 'ge2e'} nor in "
        f"{tmp_path / 'ge2e'}; docs/voices.md says where to get it; F5_SPEAKER_MODEL=off leaves it out"
    )


def test_files_of_something_else_are_refused_with_what_is_wrong(tmp_path: Path) -> None:
    path = write_random(tmp_path / "ge2e")
    tensors, whole = load_file(path), path.read_bytes()
    for change, message in (
        ({"linear.bias": torch.zeros(192)}, r"linear\.bias has shape \(192,\) instead of \(256,\)"),
        ({"lstm.weight_ih_l0": None}, r"lstm\.weight_ih_l0 is missing"),
    ):
        save_file({name: t for name, t in (tensors | change).items() if t is not None}, path)
        with pytest.raises(ModelUnavailable, match=rf"{re.escape(str(path))} is not the speaker encoder: {message}"):
            find(path.parent)
    path.write_bytes(whole[:-4])
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        find(path.parent)
    path.unlink()
    torch.save({"model_state": {"linear.bias": torch.zeros(256)}, "extra": Path("/")}, tmp_path / "ge2e" / PICKLED)
    with pytest.raises(ModelUnavailable, match=r"pretrained\.pt holds more than weights: it names pathlib"):
        find(path.parent)
