"""What was measured on a GPU is kept for the next start with the same one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from f5_worker.models.f5.cuda import tuning
from f5_worker.models.f5.cuda.tuning import read_choice, tuning_file, write_choice


def test_a_choice_belongs_to_a_gpu_its_driver_and_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L4")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    assert tuning_file("frames", {}) is None
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    here = tuning_file("frames", {"model": 1})
    assert here is not None
    assert here.parent == tmp_path
    assert here == tuning_file("frames", {"model": 1})
    others = {tuning_file("frames", {"model": 2}), tuning_file("attention", {"model": 1})}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    others.add(tuning_file("frames", {"model": 1}))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L4")
    monkeypatch.setattr(tuning, "_version", lambda package: "9.9")
    others.add(tuning_file("frames", {"model": 1}))
    assert len({here, *others}) == 5


def test_a_choice_that_cannot_be_kept_harms_nothing(tmp_path: Path) -> None:
    write_choice(tmp_path / "missing" / "choice.json", [1, 2])
    assert list(tmp_path.iterdir()) == []
    assert read_choice(tmp_path / "missing" / "choice.json") is None
    write_choice(tmp_path / "choice.json", [1, 2])
    assert read_choice(tmp_path / "choice.json") == [1, 2]
