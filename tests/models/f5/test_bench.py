"""The benchmark works, so that it can be used when a GPU is available."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT


@pytest.mark.model
def test_the_benchmark_measures_both_and_writes_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--cases", "tiny", "--rounds", "1", "--reference-s", "0.5", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["engine.py", *arguments])
    monkeypatch.setenv("F5_MODEL", "f5-tiny")
    monkeypatch.setenv("F5_DEVICE", "cpu")
    runpy.run_path(str(ROOT / "bench" / "engine.py"), run_name="__main__")
    (written,) = tmp_path.iterdir()
    assert written.name.startswith("engine-cpu-")
    result = json.loads(written.read_text())
    assert result["model"] == "f5-tiny"
    assert len(result["cases"]) == 2
    assert result["load"]["short_alone_s"] > 0
    for row in result["cases"].values():
        for side in (row["upstream"], row["ours"]):
            assert 0 < side["first_audio_s"] <= side["latency_p50_s"] <= side["latency_p95_s"]
            assert side["rtf"] * side["audio_s_per_s"] == pytest.approx(1, rel=0.05)


@pytest.mark.model
def test_several_devices_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)  # restored afterwards
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "kernels"))
    arguments = ["--cpu", "2", "--rounds", "1", "--reference-s", "0.5", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["devices.py", *arguments])
    monkeypatch.setenv("F5_MODEL", "f5-tiny")
    runpy.run_path(str(ROOT / "bench" / "devices.py"), run_name="__main__")
    assert not torch.backends.cudnn.enabled  # no thread turns it on again for the others
    (written,) = tmp_path.glob("devices-cpu-*.json")
    result = json.loads(written.read_text())
    assert (result["devices"], result["equal"]) == (["cpu", "cpu"], True)
    assert len(result["cases"]) == 2
    for row in result["cases"].values():
        assert row.keys() == {"1", "2"}
        assert row["1"]["times"] == 1.0
        assert row["2"]["times"] > 0
