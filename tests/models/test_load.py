"""Which engine runs a checkpoint, and what is said where none can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from f5_worker.engine.engine import FORWARDS_ON_DEVICE
from f5_worker.errors import ModelUnavailable
from f5_worker.models.cuda import memory
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES
from f5_worker.models.load import bound_memory, load
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


@pytest.mark.parametrize(
    ("batch_frames", "n_segments", "n_batches"), [(4_096, 1, 8), (8_192, 1, 16), (40_000, 4, 19.53)]
)
def test_the_memory_that_is_needed_is_measured_with_the_largest_batch(
    batch_frames: int, n_segments: int, n_batches: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One segment of the greatest length at least, and as much on the device as the engine admits."""
    measured: list[tuple[Any, ...]] = []
    monkeypatch.setattr(memory, "bound_memory", lambda *arguments: measured.append(arguments))
    second = SimpleNamespace()
    first: Any = SimpleNamespace(whole_segments=False, replicas=[second])
    settings = Settings(gpu_memory_mb=6_000, batch_frames=batch_frames)
    bound_memory(first, [Device("cuda:0", lambda work: work()), Device("cuda:1", lambda work: work())], settings)
    assert [arguments[0] for arguments in measured] == [first, second]
    for _, segments, n, max_mb in measured:
        assert [segment.frames for segment in segments] == [MAX_SEGMENT_FRAMES] * n_segments
        assert n * sum(segment.forward_frames for segment in segments) == FORWARDS_ON_DEVICE * batch_frames
        assert n == pytest.approx(n_batches, abs=0.01)
        assert max_mb == 6_000


@pytest.mark.parametrize(("name", "max_mb"), [("cuda", None), ("cpu", 6_000)])
def test_nothing_is_measured_where_no_memory_is_bounded(
    name: str, max_mb: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "bound_memory", None)
    bound_memory(cast(Any, None), [Device(name, lambda work: work())], Settings(gpu_memory_mb=max_mb))
