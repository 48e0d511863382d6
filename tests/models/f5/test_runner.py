"""The runner under the engine, with f5-tiny itself."""

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

from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.engine.engine import Engine
from f5_worker.engine.group import EngineGroup
from f5_worker.engine.types import Segment
from f5_worker.errors import GpuLost, OutOfMemory
from f5_worker.models import placement
from f5_worker.models.f5.config import make_segment
from f5_worker.models.f5.cuda.segment_graphs import graph_lengths
from f5_worker.models.f5.cuda.size_choice import default_frames
from f5_worker.models.f5.cuda.step_graphs import SINGLE_SEGMENT_ROWS, GraphSize, graph_sizes
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.runner import F5Runner, load_checkpoint, load_runner
from f5_worker.models.load import load_default
from f5_worker.models.placement import Device
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


def test_concurrent_jobs_have_the_same_audio_as_each_alone(runner: F5Runner, engine: Engine) -> None:
    jobs = [
        [segment(0), segment(1, nfe=6)],
        [segment(2, guidance_scale=0.0)],
        [segment(3, nfe=5, guidance_scale=1.0)],
    ]

    def run(segments: list[Segment]) -> list[Samples]:
        return [audio.samples for audio in engine.submit(segments, JobControl(60))]

    with ThreadPoolExecutor() as threads:
        batched = list(threads.map(run, jobs))
    for segments, results in zip(jobs, batched, strict=True):
        for one, samples in zip(segments, results, strict=True):
            alone = runner.generate(one)
            assert np.linalg.norm(samples - alone) <= 1e-5 * np.linalg.norm(alone)


def test_begin_and_finish_do_not_use_cudnn(runner: F5Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would plan at each begin and end of a segment, as lengths rarely repeat."""
    enabled = []
    conv1d = torch.nn.Conv1d.forward

    def forward(self: torch.nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
        enabled.append(torch.backends.cudnn.enabled)
        return conv1d(self, x)

    monkeypatch.setattr(torch.nn.Conv1d, "forward", forward)
    state = runner.begin(segment(0))
    runner.finish([state])
    assert len(enabled) > 8
    assert not any(enabled)
    assert torch.backends.cudnn.enabled


def test_capturing_is_bounded_in_time_and_runs_on_the_device_thread(
    runner: F5Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured: list[GraphSize | int] = []
    monkeypatch.setattr(runner, "_step_graphs", SimpleNamespace(capture=captured.append))
    monkeypatch.setattr(runner, "_segment_graphs", SimpleNamespace(capture=captured.append))
    calls = []

    def run_on_device(work: Callable[[], Any]) -> Any:
        calls.append(work)
        return work()

    assert runner.capture_graphs(0.0, run_on_device) == len(captured) <= 1
    calls.clear()
    captured.clear()
    assert runner.capture_graphs(60.0, run_on_device) == len(captured) == len(calls)
    assert set(captured) == {*graph_sizes(default_frames().values()), *graph_lengths()}
    assert isinstance(captured[0], GraphSize)
    assert captured[0].rows == SINGLE_SEGMENT_ROWS


def test_capturing_ends_where_the_device_has_no_more_room(runner: F5Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[GraphSize | int] = []

    def capture(size: GraphSize | int) -> None:
        if len(captured) == 3:
            raise torch.cuda.OutOfMemoryError("no room for another graph")
        captured.append(size)

    monkeypatch.setattr(runner, "_step_graphs", SimpleNamespace(capture=capture))
    monkeypatch.setattr(runner, "_segment_graphs", SimpleNamespace(capture=capture))
    assert runner.capture_graphs(60.0) == len(captured) == 3


@pytest.mark.parametrize(
    ("flags", "precision"),
    [
        ("flags\t\t: avx512f avx512_bf16 vaes\n", "bf16"),
        ("flags\t\t: amx_bf16\n", "bf16"),
        ("flags\t\t: avx512f avx512_vnni\n", "fp32"),
        (None, "fp32"),
    ],
)
def test_a_cpu_uses_bf16_only_if_that_is_native(
    flags: str | None, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    if flags is not None:
        cpu_info.write_text(flags)
    monkeypatch.setattr(placement, "CPU_INFO", cpu_info)
    assert load_runner(SETTINGS.model_copy(update={"precision": "auto"})).precision == precision
    assert load_runner(SETTINGS).precision == "fp32"


def test_two_models_on_one_engine(runner: F5Runner, engine: Engine) -> None:
    extra = load_checkpoint("extra", TINY, SETTINGS, Device("cpu", engine.run))
    assert extra.name == "extra"
    assert extra.n_bytes == runner.n_bytes > 50_000_000
    jobs = [engine.submit([segment(0)], JobControl(60), runner=other) for other in (None, extra)]
    first, second = (next(job).samples for job in jobs)
    assert np.array_equal(first, second)


def test_the_samples_are_the_same_whichever_device_speaks(runner: F5Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)  # restored afterwards
    cpu = Device.at_start("cpu")
    several = load_default(SETTINGS, [cpu, cpu])
    replicas = (several, *several.replicas)
    group = EngineGroup([Engine(one, 24_000) for one in replicas])
    segments = [segment(seed) for seed in range(4)]
    spoken = [audio.samples for audio in group.submit(segments, JobControl(60), runner=several)]
    shared_out = [engine.load.n_segments for engine in group.engines]
    group.close()
    assert shared_out == [8, 8]
    for one, samples in zip(segments, spoken, strict=True):
        alone = runner.generate(one)
        assert np.linalg.norm(samples - alone) <= 1e-5 * np.linalg.norm(alone)


def test_the_mel_of_a_reference_is_computed_once_for_all_its_segments(runner: F5Runner) -> None:
    reference = np.full(12_000, 0.1, np.float32)
    first, second = runner.begin(segment(0, reference=reference)), runner.begin(segment(1, reference=reference))
    assert second.reference is first.reference
    assert second.schedule is first.schedule
    changed = reference.copy()
    changed[:6_000] = 0.0
    assert not torch.equal(runner.begin(segment(0, reference=changed)).reference, first.reference)


def out_of_memory_above(frames: int, model: DiT, monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[torch.Tensor]]:
    """Make the model fail as a full GPU does; return references to the tensors that it had made by then."""
    made = []
    forward = DiT.forward

    def full(self: DiT, x: torch.Tensor, packed: object, modulations: object) -> torch.Tensor:
        if len(packed.condition) > frames:  # type: ignore[attr-defined]
            activations = torch.zeros(1000)
            made.append(weakref.ref(activations))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return forward(self, x, packed, modulations)  # type: ignore[arg-type]

    monkeypatch.setattr(DiT, "forward", full)
    return made


def test_a_full_gpu_takes_smaller_batches_with_the_same_results(
    runner: F5Runner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = [segment(seed) for seed in range(3)]
    alone = [runner.generate(one) for one in segments]
    made = out_of_memory_above(400, runner.model, monkeypatch)
    batched = [audio.samples for audio in engine.submit(segments, JobControl(60))]
    assert made
    for samples, expected in zip(batched, alone, strict=True):
        assert np.linalg.norm(samples - expected) <= 1e-5 * np.linalg.norm(expected)


def test_a_segment_too_large_for_the_gpu_fails_alone_and_frees_its_memory(
    runner: F5Runner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = out_of_memory_above(350, runner.model, monkeypatch)
    large, small = engine.submit([segment(3)], JobControl(60)), engine.submit([segment(0)], JobControl(60))
    with pytest.raises(OutOfMemory, match="no room for this job") as caught:
        list(large)
    assert len(list(small)) == 1
    assert len(made) >= 2  # tried once more
    assert caught.value.__cause__ is not None  # the original error can still be read
    assert all(tensor() is None for tensor in made)
    assert len(list(engine.submit([segment(1)], JobControl(60)))) == 1


def test_a_broken_context_is_distinguished_from_a_full_gpu(runner: F5Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*arguments: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: device-side assert triggered")

    state = runner.begin(segment(0))
    monkeypatch.setattr(DiT, "forward", lost)
    with pytest.raises(GpuLost):
        runner.step([state])
    assert state.step == 0
