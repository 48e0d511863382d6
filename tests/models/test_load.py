"""Which engine runs a checkpoint, and what is said where none can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from f5_worker.errors import ModelUnavailable
from f5_worker.models.load import load
from f5_worker.models.placement import Device
from f5_worker.settings import Settings
from tests.conftest import ROOT, TINY

OTHERS = {
    "the backbone UNetT": {"dim": 64, "backbone": "UNetT"},
    "the backbone MMDiT": {"dim": 64, "backbone": "MMDiT"},
    "the vocoder bigvgan": {"dim": 64, "mel_spec_type": "bigvgan"},
    "unknown names wings in its arch.json": {"dim": 64, "wings": 2},
}


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint that the own engine does not implement."""
    (tmp_path / "arch.json").write_text(json.dumps(OTHERS[request.param]))
    for name in ("vocab.txt", "vocoder.safetensors", "model.safetensors"):
        (tmp_path / name).symlink_to(TINY / name)
    return tmp_path


def test_the_own_engine_says_what_it_does_not_implement(other: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ModelUnavailable, match=r"has (the|unknown) .*set F5_ENGINE=auto") as caught:
        load("other", other, Settings(engine="own", device="cpu"), [Device.at_start("cpu")])
    assert any(reason in caught.value.message for reason in OTHERS)


@pytest.mark.parametrize("engine", ["auto", "upstream"])
def test_without_f5_tts_the_error_says_what_to_install(
    engine: str, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "f5_tts", None)
    with pytest.raises(ModelUnavailable, match=r"f5_tts is missing or broken; install f5-tts==[\d.]+ .*f5-tts$"):
        load("other", other, Settings(engine=engine, device="cpu"), [Device.at_start("cpu")])


@pytest.mark.model
def test_serving_f5_imports_no_package_of_upstream() -> None:
    program = (
        "import sys; from f5_worker.models.load import load_default; from f5_worker.settings import Settings;"
        "from f5_worker.models.placement import devices_at_start; settings = Settings(model='f5-tiny', device='cpu');"
        "load_default(settings, devices_at_start(settings)).warm_up();"
        "print([name for name in ('f5_tts', 'torchaudio', 'transformers', 'vocos') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
