"""Tests that need a GPU; the other tests of this package cover the same logic on a CPU."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.devices import start_engines
from f5_worker.cancellation import JobControl
from f5_worker.engine.group import EngineGroup
from f5_worker.errors import OutOfMemory, SettingsInvalid
from f5_worker.models.cuda import memory
from f5_worker.models.cuda.capture import GraphCapturer
from f5_worker.models.f5.attention import Attend, attend_dense, attend_flash, attend_torch
from f5_worker.models.f5.config import PUBLISHED, make_segment
from f5_worker.models.f5.cuda.attention_choice import (
    ROW_CLASSES,
    AttentionName,
    AttentionShape,
    ChosenAttention,
    unmeasured,
)
from f5_worker.models.f5.cuda.backend import choose_backend
from f5_worker.models.f5.cuda.ops import TorchOps
from f5_worker.models.f5.cuda.packed import Rows
from f5_worker.models.f5.cuda.segment_graphs import SegmentGraphs, graph_lengths
from f5_worker.models.f5.cuda.size_choice import SIZES, default_frames, unmeasured_frames
from f5_worker.models.f5.cuda.step_graphs import StepGraphs, graph_sizes
from f5_worker.models.f5.cuda.tuning import cuda_time_us
from f5_worker.models.f5.network import Backend, DiT
from f5_worker.models.f5.runner import F5Runner, load_runner, warm_up_segment
from f5_worker.models.f5.sampler import Advance, FlowState, Schedule, StepBatch, draw_noise, sample, time_points
from f5_worker.models.f5.vocoder import Vocos
from f5_worker.models.load import bound_memory, load_default, warm_up
from f5_worker.models.placement import choose_devices, devices_at_start
from f5_worker.settings import Settings
from tests.conftest import ROOT
from tests.models.f5.conftest import randomise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

VOCABULARY = 2545


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.cpu().float() - theirs.cpu().float()).norm() / theirs.cpu().float().norm())


@pytest.fixture(scope="module")
def full_size() -> DiT:
    model = DiT(PUBLISHED["F5TTS_v1_Base"], VOCABULARY)
    randomise(model)
    return model.eval().requires_grad_(False).cuda()


def sample_mel(model: DiT, *, frames: int = 900, nfe: int = 8, guidance_scale: float = 2.0) -> torch.Tensor:
    device = model.device
    reference = torch.randn(400, 100, generator=torch.Generator().manual_seed(3)).to(device)
    tokens = (torch.arange(150) % VOCABULARY).to(device)
    with torch.inference_mode():
        return sample(
            model, reference, tokens, draw_noise(1, frames).to(device), time_points(nfe, -1.0), guidance_scale
        )


@pytest.mark.parametrize("frames", [500, 900, 1_700])
def test_full_size_fp32_equals_upstream(full_size: DiT, frames: int) -> None:
    from tests.models.f5.test_parity import upstream_of

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    upstream = upstream_of(full_size, VOCABULARY).to("cuda", torch.float32)
    reference = torch.randn(400, 100, generator=torch.Generator().manual_seed(3)).cuda()
    tokens = (torch.arange(150) % VOCABULARY).cuda()
    torch.manual_seed(0)
    cpu_noise = draw_noise(1, frames)
    original = torch.randn
    torch.randn = lambda *shape, **rest: cpu_noise.cuda() if shape[0] == frames else original(*shape, **rest)  # type: ignore[assignment]
    try:
        theirs = upstream.sample(reference, tokens, frames, nfe=8, guidance_scale=2.0, sway_coefficient=-1.0, seed=1)
    finally:
        torch.randn = original
    ours = sample_mel(full_size, frames=frames)
    print(f"\nfp32, {frames} frames: relative error {error(ours, theirs):.2e}")
    assert error(ours, theirs) <= 1e-4


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 1e-2), (torch.bfloat16, 8e-2)])
def test_full_size_half_precision_stays_near_fp32(full_size: DiT, dtype: torch.dtype, bound: float) -> None:
    full = sample_mel(full_size)
    half = sample_mel(full_size.to(dtype))
    full_size.float()
    print(f"\n{dtype}: relative error {error(half[400:], full[400:]):.2e}")
    assert error(half[400:], full[400:]) <= bound


def test_the_small_model_gives_the_same_audio_on_both_devices() -> None:
    segment = make_segment(
        reference=np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32),
        tokens=tuple(range(60)),
        frames=500,
        nfe=8,
        guidance_scale=2.0,
        sway_coefficient=-1.0,
        seed=5,
    )
    on_cpu, on_gpu = (
        load_runner(Settings(model="f5-tiny", device=device, precision="fp32")).generate(segment)
        for device in ("cpu", "cuda")
    )
    difference = np.linalg.norm(on_cpu - on_gpu) / np.linalg.norm(on_cpu)
    print(f"\naudio on CPU and GPU: relative difference {difference:.2e}")
    assert difference < 1e-2
    again = load_runner(Settings(model="f5-tiny", device="cuda", precision="fp32")).generate(segment)
    assert np.array_equal(again, on_gpu)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_all_gpus_speak_the_same_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its own thread, all at once; with graphs and with what the first one has measured."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)  # restored afterwards
    names = choose_devices(Settings(device="cuda:all"))
    engines = start_engines(Settings(model="f5-tiny", device="cuda:all"), names)
    group = EngineGroup(engines)
    reference = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    jobs = [[make_segment(reference, tuple(range(60)), 400 + 10 * i, 8, 2.0, -1.0, i)] * 4 for i in range(8)]
    try:
        alone = [[audio.samples for audio in engines[0].submit(job, JobControl(60))] for job in jobs]
        with ThreadPoolExecutor(len(jobs)) as threads:
            shared = list(threads.map(lambda job: [audio.samples for audio in group.submit(job, JobControl(60))], jobs))
        assert all(engine.load.n_segments for engine in engines)
        assert [engine.run(torch.cuda.current_device) for engine in engines] == list(range(len(names)))
        assert not torch.backends.cudnn.enabled
    finally:
        group.close()
    for ours, theirs in zip(alone, shared, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert error(torch.from_numpy(a), torch.from_numpy(b)) <= 2e-3


RAGGED = (300, 1, 977, 977, 64)


def backend_of(name: str) -> Backend:
    """Return one of the backends, or skip the test."""
    pytest.importorskip({"flash": "flash_attn"}.get(name, "triton"))
    from f5_worker.models.f5.cuda.kernels import TritonAttention, TritonOps

    attends: dict[str, Attend] = {
        "dense": attend_dense, "flash": attend_flash, "torch": attend_torch, "triton": TritonAttention()
    }  # fmt: skip
    return Backend(TritonOps() if name == "triton" else TorchOps(), attends[name])


@pytest.mark.parametrize("name", ["flash", "torch", "triton"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_in_one_launch_equals_dense_attention(name: str, dtype: torch.dtype) -> None:
    attend = backend_of(name).attend
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(sum(RAGGED), 3, 16, 64, generator=generator).cuda().to(dtype).unbind(1)
    rows = Rows.from_lengths(RAGGED, q.device)
    expected = attend_dense(q.float(), k.float(), v.float(), rows)
    difference = error(attend(q, k, v, rows), expected)
    print(f"\n{name} {dtype}: relative error {difference:.2e}")
    assert difference <= {torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 2e-3)])
@pytest.mark.parametrize("name", ["dense", "flash", "torch", "triton"])
def test_a_batch_changes_no_segment_at_full_size(
    full_size: DiT, name: str, dtype: torch.dtype, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = backend_of(name)
    if name != "dense" and dtype is torch.float32:
        pytest.skip("half precision only")
    torch.backends.cuda.matmul.allow_tf32 = False  # not by monkeypatch, which cannot put it back
    torch.backends.cudnn.allow_tf32 = False
    monkeypatch.setattr(full_size.to(dtype), "backend", backend)
    try:
        batched, alone = ([_begin(full_size, seed) for seed in range(8)] for _ in range(2))
        with torch.inference_mode():
            batch = StepBatch(full_size, batched)
            for _ in range(8):
                batch.step()
            for state in alone:
                single = StepBatch(full_size, [state])
                for _ in range(8):
                    single.step()
    finally:
        full_size.float()
    worst = max(error(a.target, b.target) for a, b in zip(batched, alone, strict=True))
    print(f"\n{name} {dtype}: in a batch, relative difference at most {worst:.2e}")
    assert worst <= bound


@pytest.mark.parametrize("name", ["flash", "torch", "triton"])
def test_captured_steps_equal_plain_steps(full_size: DiT, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, in a batch, at several times, and without a fitting size; also against plain operations in fp32."""
    steps = 8

    def run(advance: Advance | None) -> list[FlowState]:
        states = [_begin(full_size, seed) for seed in range(6)]
        StepBatch(full_size, states[:1], advance).step()
        while left := [state for state in states if state.step < steps]:
            StepBatch(full_size, left, advance).step()
        return states

    exact = [state.target for state in run(None)]
    triton = backend_of("triton")
    monkeypatch.setattr(full_size.half(), "backend", Backend(triton.ops, backend_of(name).attend))
    try:
        with torch.inference_mode():
            eager = run(None)
            graphs = StepGraphs(full_size, GraphCapturer())
            for size in graph_sizes(default_frames().values()):
                graphs.capture(size)
            captured = run(graphs.advance)
    finally:
        full_size.float()
    from_eager = max(error(a.target, b.target) for a, b in zip(captured, eager, strict=True))
    from_exact = max(error(a.target, b) for a, b in zip(captured, exact, strict=True))
    print(f"\n{name}: captured steps differ by {from_eager:.2e} from eager ones, by {from_exact:.2e} from fp32")
    assert from_eager <= 2e-3
    assert from_exact <= 1e-2


@pytest.mark.parametrize("name", ["flash", "torch"])
def test_attention_that_is_asked_for_gives_the_same_speech(full_size: DiT, name: AttentionName) -> None:
    backend_of(name)
    before = full_size.backend
    try:
        choose_backend(full_size.half(), "triton", flash=True)
        expected = sample_mel(full_size)[400:]
        choose_backend(full_size, name, flash=True)
        assert full_size.backend.attend is {"flash": attend_flash, "torch": attend_torch}[name]
        difference = error(sample_mel(full_size)[400:], expected)
    finally:
        full_size.float().backend = before
    print(f"\nF5_ATTENTION={name} and triton: relative difference {difference:.2e}")
    assert difference <= 1e-2


def test_attention_is_measured_once_and_then_kept(
    full_size: DiT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    before = full_size.backend
    shape = AttentionShape.of(full_size.half())
    try:
        choose_backend(full_size, "auto", flash=True)
        attention = full_size.backend.attend
        assert isinstance(attention, ChosenAttention)
        with torch.inference_mode():
            for measure in unmeasured(attention, shape, full_size.device, cuda_time_us):
                measure()
    finally:
        full_size.float().backend = before
    print(f"\n{attention.chosen}")
    assert attention.chosen.keys() == {row_class.name for row_class in ROW_CLASSES}
    again = ChosenAttention(attention.backends)
    assert list(unmeasured(again, shape, full_size.device, cuda_time_us)) == []
    assert again.chosen == attention.chosen


def test_sizes_are_measured_once_and_then_kept(full_size: DiT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(full_size.half(), "backend", backend_of("triton"))
    frames, again = default_frames(), default_frames()
    try:
        with torch.inference_mode():
            for measure in unmeasured_frames(frames, full_size, cuda_time_us):
                measure()
        assert list(unmeasured_frames(again, full_size, cuda_time_us)) == []
    finally:
        full_size.float()
    print(f"\nas many: {[size for size in SIZES if frames[size] == size]}")
    assert again == frames


def test_captured_begins_and_ends_equal_plain_ones(full_size: DiT) -> None:
    vocoder = Vocos(mel_dim=100, dim=512, inner=1_536, layers=8)
    randomise(vocoder)
    vocoder.eval().requires_grad_(False).cuda()
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=False):
            graphs = SegmentGraphs(full_size.half(), vocoder, GraphCapturer())
            for n in graph_lengths():
                graphs.capture(n)
            for n in (4_096, 300, 1_621, 130, 777):
                reference, tokens, mel = drawn(n // 3, 100), torch.arange(n // 6).cuda() % VOCABULARY, drawn(n, 100)
                plain = full_size.condition(reference, tokens, n, guided=True)
                assert error(graphs.condition(reference, tokens, n, guided=True), plain) <= 2e-3
                assert error(graphs.decode([mel])[0], vocoder([mel])[0]) <= 1e-5
    finally:
        full_size.float()


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(shape[0])).cuda()


def _begin(model: DiT, seed: int) -> FlowState:
    with torch.inference_mode():
        return FlowState.begin(
            model.condition,
            torch.randn(300, 100, generator=torch.Generator().manual_seed(seed)).cuda(),
            (torch.arange(100 + seed) % VOCABULARY).cuda(),
            draw_noise(seed, 500 + 137 * seed).cuda(),
            Schedule.from_times(model, time_points(8, -1.0 if seed % 2 else None)),
            2.0 if seed % 3 else 0.0,
        )


def test_a_full_gpu_fails_one_job_and_runs_the_next() -> None:
    runner = load_runner(Settings(model="f5-tiny", device="cuda"))
    segment = make_segment(np.full(60_000, 0.1, np.float32), tuple(range(60)), 4_000, 4, 2.0, -1.0, 5)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(OutOfMemory, match="no room"):
            runner.generate(segment)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(runner.generate(segment)) > 0


def test_a_bound_on_memory_holds_and_leaves_room_for_the_largest_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(model="f5-tiny", device="cuda", gpu_memory_mb=100)
    devices = devices_at_start(settings)
    runner = load_default(settings, devices)
    warm_up(runner, devices)
    assert isinstance(runner, F5Runner)
    total = torch.cuda.get_device_properties(0).total_memory
    monkeypatch.setattr(memory, "_budgets", {})
    with pytest.raises(SettingsInvalid, match=r"F5_GPU_MEMORY_MB=100 is too small: .* set at least \d+") as caught:
        bound_memory(runner, devices, settings)
    needed = int(str(caught.value).split("set at least ")[1].split(",")[0])
    n_graphs = []
    try:
        for most in (needed + 50, 100_000):
            bound_memory(runner, devices, settings.model_copy(update={"gpu_memory_mb": most}))
            torch.cuda.reset_peak_memory_stats()
            n_graphs.append(runner.capture_graphs(60.0))
            assert len(runner.generate(warm_up_segment(4_096))) > 0
            assert torch.cuda.max_memory_reserved() <= min(most * 1_000_000, total)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    print(f"\nneeded: {needed} MB; graphs in 50 MB more, and without a bound: {n_graphs}")
    assert n_graphs[0] < n_graphs[1]


def test_a_broken_context_is_distinguished_from_a_full_gpu(tmp_path: Path) -> None:
    program = """
import torch
from f5_worker.models.cuda.errors import translate_cuda_error
try:
    torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")].sum().item()
except RuntimeError as error:
    print(type(translate_cuda_error(error)).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "GpuLost" in done.stdout, done.stderr[-2000:]
