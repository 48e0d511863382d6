"""The loaded runner under the engine: f5-tiny itself, as jobs meet it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from f5_worker.cancellation import JobControl
from f5_worker.models.f5 import runner as module
from f5_worker.audio.levels import Samples
from f5_worker.engine.engine import Engine
from f5_worker.engine.types import Segment
from f5_worker.models.f5.config import make_segment
from f5_worker.models.f5.runner import F5Runner, load_checkpoint, load_runner
from f5_worker.models.f5.cuda.step_graphs import ALONE, Size, sizes
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.cuda.segment_graphs import lengths
from f5_worker.errors import GpuLost, OutOfMemory
from f5_worker.settings import Settings
from tests.conftest import TINY

pytestmark = pytest.mark.model

SETTINGS = Settings(model="f5-tiny", device="cpu", precision="fp32")  # the same numbers on every CPU


@pytest.fixture(scope="module")
def runner() -> F5Runner:
    return load_runner(SETTINGS)


@pytest.fixture
def engine(runner: F5Runner) -> Iterator[Engine]:
    engine = Engine(runner, 24_000)
    yield engine
    engine.close()


def segment(seed: int, *, nfe: int = 4, guidance_scale: float = 2.0, reference: Samples | None = None) -> Segment:
    if reference is None:
        reference = np.random.default_rng(seed).normal(0, 0.1, 12_000).astype(np.float32)
    return make_segment(reference, tuple(range(20 + seed)), 120 + 31 * seed, nfe, guidance_scale, -1.0, seed)


def test_jobs_at_once_sound_as_each_alone(runner: F5Runner, engine: Engine) -> None:
    jobs = [
        [segment(0), segment(1, nfe=6)],
        [segment(2, guidance_scale=0.0)],
        [segment(3, nfe=5, guidance_scale=1.0)],
    ]

    def speak(segments: list[Segment]) -> list[Samples]:
        return [spoken.samples for spoken in engine.submit(segments, JobControl(60))]

    with ThreadPoolExecutor() as threads:
        together = list(threads.map(speak, jobs))
    for segments, sounds in zip(jobs, together, strict=True):
        for piece, sound in zip(segments, sounds, strict=True):
            apart = runner.speak(piece)
            assert np.linalg.norm(sound - apart) <= 1e-5 * np.linalg.norm(apart)


def test_a_new_length_needs_no_plan_of_cudnn(runner: F5Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be made at each begin and end of a segment, as hardly any length comes twice."""
    states = []
    conv1d = torch.nn.Conv1d.forward

    def forward(self: torch.nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
        states.append(torch.backends.cudnn.enabled)
        return conv1d(self, x)

    monkeypatch.setattr(torch.nn.Conv1d, "forward", forward)
    flow = runner.begin(segment(0))
    runner.finish([flow])
    assert len(states) > 8
    assert not any(states)
    assert torch.backends.cudnn.enabled


def test_recording_is_bounded_and_leaves_the_device_to_its_owner(
    runner: F5Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[Size | int] = []
    monkeypatch.setattr(runner, "_steps", SimpleNamespace(record=recorded.append))
    monkeypatch.setattr(runner, "_segments", SimpleNamespace(record=recorded.append))
    asked = []

    def on_device(work: Callable[[], Any]) -> Any:
        asked.append(work)
        return work()

    assert runner.record(0.0, on_device) == len(recorded) <= 1
    asked.clear()
    recorded.clear()
    assert runner.record(60.0, on_device) == len(recorded) == len(asked)
    assert set(recorded) == {*sizes(), *lengths()}
    assert isinstance(recorded[0], Size)
    assert recorded[0].rows == ALONE


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("flags\t\t: avx512f avx512_bf16 vaes\n", "bf16"),
        ("flags\t\t: amx_bf16\n", "bf16"),
        ("flags\t\t: avx512f avx512_vnni\n", "fp32"),
        (None, "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_only_where_that_is_native(
    flags: str | None, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "cpuinfo"
    if flags is not None:
        facts.write_text(flags)
    monkeypatch.setattr(module, "CPU_FACTS", facts)
    assert load_runner(SETTINGS.model_copy(update={"precision": "auto"})).precision == precision
    assert load_runner(SETTINGS).precision == "fp32"


def test_models_side_by_side(runner: F5Runner, engine: Engine) -> None:
    pack = load_checkpoint("pack", TINY, SETTINGS, engine.run)
    assert pack.name == "pack"
    assert pack.n_bytes == runner.n_bytes > 50_000_000
    jobs = [engine.submit([segment(0)], JobControl(60), runner=other) for other in (None, pack)]
    sounds = [next(job).samples for job in jobs]
    assert np.array_equal(sounds[0], sounds[1])


def test_a_reference_is_analysed_once_for_all_its_segments(runner: F5Runner) -> None:
    reference = np.full(12_000, 0.1, np.float32)
    first, second = runner.begin(segment(0, reference=reference)), runner.begin(segment(1, reference=reference))
    assert second.reference is first.reference
    assert second.schedule is first.schedule
    changed = reference.copy()
    changed[:6_000] = 0.0
    assert not torch.equal(runner.begin(segment(0, reference=changed)).reference, first.reference)


def out_of_memory_above(frames: int, model: DiT, monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[torch.Tensor]]:
    """Let the model fail as a full GPU does; the tensors that it had made by then."""
    made = []
    forward = DiT.forward

    def full(self: DiT, x: torch.Tensor, packed: object, modulations: object) -> torch.Tensor:
        if len(packed.fixed) > frames:  # type: ignore[attr-defined]
            activations = torch.zeros(1000)
            made.append(weakref.ref(activations))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return forward(self, x, packed, modulations)  # type: ignore[arg-type]

    monkeypatch.setattr(DiT, "forward", full)
    return made


def test_a_full_gpu_takes_fewer_and_the_numbers_stay(
    runner: F5Runner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [segment(seed) for seed in range(3)]
    apart = [runner.speak(piece) for piece in pieces]
    made = out_of_memory_above(400, runner.model, monkeypatch)
    together = [spoken.samples for spoken in engine.submit(pieces, JobControl(60))]
    assert made
    for sound, expected in zip(together, apart, strict=True):
        assert np.linalg.norm(sound - expected) <= 1e-5 * np.linalg.norm(expected)


def test_a_segment_too_large_for_the_gpu_fails_alone_and_leaves_nothing_behind(
    runner: F5Runner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = out_of_memory_above(350, runner.model, monkeypatch)
    large, small = engine.submit([segment(3)], JobControl(60)), engine.submit([segment(0)], JobControl(60))
    with pytest.raises(OutOfMemory, match="no room for this job") as caught:
        list(large)
    assert len(list(small)) == 1
    assert len(made) >= 2  # tried once more
    assert caught.value.__cause__ is not None  # what failed can still be read
    assert all(tensor() is None for tensor in made)
    assert len(list(engine.submit([segment(1)], JobControl(60)))) == 1


def test_a_broken_context_is_told_from_a_full_one(runner: F5Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: device-side assert triggered")

    flow = runner.begin(segment(0))
    monkeypatch.setattr(DiT, "forward", lost)
    with pytest.raises(GpuLost):
        runner.step([flow])
    assert flow.step == 0
