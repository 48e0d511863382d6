"""Checkpoints of f5-tts' other networks under the engine, against f5-tts alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.engine.engine import Engine
from f5_worker.engine.types import Segment
from f5_worker.errors import JobCancelled, ModelUnavailable, OutOfMemory
from f5_worker.models.f5.config import make_segment, mel_frames
from f5_worker.models.load import load
from f5_worker.models.placement import Device
from f5_worker.models.upstream.runner import UpstreamRunner
from f5_worker.settings import Settings
from tests.conftest import TINY
from tests.models.upstream.checkpoints import CONFIGS, save, write_checkpoint

pytest.importorskip("f5_tts")
pytestmark = pytest.mark.model

SETTINGS = Settings(device="cpu", precision="fp32")
CPU = [Device.at_start("cpu")]
BOUND = 1e-6  # largest difference of a sample


def segment(seed: int, *, nfe: int = 4, guidance_scale: float = 2.0, sway: float | None = -1.0) -> Segment:
    reference = np.random.default_rng(seed).normal(0, 0.1, 12_000).astype(np.float32)
    return make_segment(reference, tuple(range(20 + seed)), 120 + 31 * seed, nfe, guidance_scale, sway, seed)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: write_checkpoint(root / name, config) for name, config in CONFIGS.items()}


@pytest.fixture(scope="module")
def runner(directories: dict[str, Path]) -> UpstreamRunner:
    loaded = load("e2", directories["E2-TTS"], SETTINGS, CPU)
    assert isinstance(loaded, UpstreamRunner)
    return loaded


@pytest.fixture
def engine(runner: UpstreamRunner) -> Iterator[Engine]:
    engine = Engine(runner, 24_000)
    yield engine
    engine.close()


class F5Tts:
    """f5-tts alone: its own loading of the checkpoint, `CFM.sample` and Vocos."""

    def __init__(self, directory: Path, name: str) -> None:
        from vocos import Vocos
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone

        from f5_worker.models.upstream.package import import_model
        from f5_worker.models.upstream.reference import import_infer

        config = CONFIGS[name]
        self.cfm = import_infer().load_model(
            getattr(import_model(), config.backbone),
            config.arch,
            str(directory / "model.safetensors"),
            vocab_file=str(directory / "vocab.txt"),
            device="cpu",
        )
        self.vocoder = Vocos(torch.nn.Identity(), VocosBackbone(100, 256, 768, 6), ISTFTHead(256, 1024, 256, "center"))
        weights = {key: x.float() for key, x in load_file(directory / "vocoder.safetensors").items()}
        del weights["head.istft.window"]  # computed, here and there; the file has it in half precision
        self.vocoder.load_state_dict(weights, strict=False)
        self.vocoder.eval()

    def __call__(self, segment: Segment) -> Samples:
        with torch.inference_mode():
            mel, _ = self.cfm.sample(
                cond=torch.from_numpy(segment.reference)[None],
                text=torch.tensor([segment.tokens]),
                duration=segment.frames,
                steps=segment.nfe,
                cfg_strength=segment.guidance_scale,
                sway_sampling_coef=segment.sway_coefficient,
                seed=segment.seed,
            )
            target = mel[:, mel_frames(len(segment.reference)) :].permute(0, 2, 1)
            return self.vocoder.decode(target).squeeze().numpy()


SEGMENTS = [
    segment(0),
    segment(1, nfe=7, guidance_scale=0.0),
    segment(2, nfe=16, sway=None),
    segment(40, guidance_scale=3.5),  # more than ten seconds, and as many tokens as a text of them
]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_samples_are_those_of_f5_tts_alone(name: str, directories: dict[str, Path]) -> None:
    engine = "upstream" if name == "F5-TTS" else "auto"
    runner = load(name, directories[name], SETTINGS.model_copy(update={"engine": engine}), CPU)
    assert (runner.engine, runner.device, runner.precision) == ("upstream", "cpu", "fp32")
    alone = F5Tts(directories[name], name)
    for one in SEGMENTS:
        ours, theirs = runner.generate(one), alone(one)
        assert len(ours) == (one.frames - mel_frames(len(one.reference)) - 1) * 256
        assert np.sqrt(np.mean(theirs**2)) > 1e-3
        assert np.abs(ours - theirs).max() <= BOUND


def test_both_engines_speak_f5_alike() -> None:
    own, upstream = (
        load("f5-tiny", TINY, SETTINGS.model_copy(update={"engine": name}), CPU) for name in ("auto", "upstream")
    )
    assert (own.engine, upstream.engine) == ("own", "upstream")
    one = segment(1, nfe=8)
    ours, theirs = own.generate(one), upstream.generate(one)
    assert np.linalg.norm(ours - theirs) <= 1e-3 * np.linalg.norm(theirs)


def test_concurrent_jobs_have_the_same_audio_as_each_alone(runner: UpstreamRunner, engine: Engine) -> None:
    jobs = [[segment(0), segment(1, nfe=6)], [segment(2, guidance_scale=0.0)], [segment(3, nfe=5)]]

    def run(segments: list[Segment]) -> list[Samples]:
        return [audio.samples for audio in engine.submit(segments, JobControl(60))]

    with ThreadPoolExecutor() as threads:
        results = list(threads.map(run, jobs))
    for segments, spoken in zip(jobs, results, strict=True):
        for one, samples in zip(segments, spoken, strict=True):
            assert np.array_equal(samples, runner.generate(one))


def test_it_works_beside_a_model_of_the_own_engine(runner: UpstreamRunner, engine: Engine) -> None:
    own = load("f5-tiny", TINY, SETTINGS, [Device("cpu", engine.run)])
    jobs = [engine.submit([segment(0), segment(1)], JobControl(60), runner=each) for each in (own, runner)]
    by_own, by_upstream = ([audio.samples for audio in job] for job in jobs)
    assert np.array_equal(by_upstream[1], runner.generate(segment(1)))
    expected = own.generate(segment(1))
    assert np.linalg.norm(by_own[1] - expected) <= 1e-5 * np.linalg.norm(expected)


def test_a_cancelled_job_stops_between_segments(
    runner: UpstreamRunner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, sampled = JobControl(60), []
    sample = runner.cfm.sample

    def cancel(**arguments: Any) -> Any:
        sampled.append(arguments["seed"])
        control.cancel()
        return sample(**arguments)

    monkeypatch.setattr(runner.cfm, "sample", cancel)
    with pytest.raises(JobCancelled):
        list(engine.submit([segment(0), segment(1), segment(2)], control))
    monkeypatch.undo()
    assert len(list(engine.submit([segment(3)], JobControl(60)))) == 1
    assert sampled == [0]


def test_a_segment_that_fails_leaves_nothing_to_the_next(
    runner: UpstreamRunner, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """f5-tts keeps the embedded text from step to step, and forgets it only at the end of a sampling that works."""
    expected = runner.generate(segment(1))
    block, calls = runner.cfm.transformer.layers[-1][-1], []
    monkeypatch.setattr(block, "forward", lambda x: fail(calls))
    with pytest.raises(OutOfMemory, match="no room for this job"):
        list(engine.submit([segment(0)], JobControl(60)))
    assert len(calls) == 2  # tried once more
    monkeypatch.undo()
    (audio,) = engine.submit([segment(1)], JobControl(60))
    assert np.array_equal(audio.samples, expected)


def fail(calls: list[int]) -> torch.Tensor:
    calls.append(threading.get_ident())
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")


def test_its_memory_is_counted(runner: UpstreamRunner, directories: dict[str, Path]) -> None:
    sizes = (load_file(directories["E2-TTS"] / name) for name in ("model.safetensors", "vocoder.safetensors"))
    assert runner.n_bytes == pytest.approx(sum(4 * x.numel() for file in sizes for x in file.values()), rel=0.01)


# -- files that cannot be used ----------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "e2", CONFIGS["E2-TTS"])


def edit(directory: Path, **renamed: str | None) -> None:
    """Rename tensors of a model, or take them out."""
    weights = load_file(directory / "model.safetensors")
    for old, new in renamed.items():
        tensor = weights.pop(f"ema_model.transformer.{old}")
        if new is not None:
            weights[f"ema_model.transformer.{new}"] = tensor
    save(directory, weights)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"proj_out.bias": None}, "model 'e2': model.safetensors lacks proj_out.bias of UNetT; use files"),
        ({"proj_out.bias": None, "proj_out.weight": None}, r"lacks proj_out.bias and 1 more tensors of UNetT"),
        ({"rotary_embed.inv_freq": None}, None),
    ],
)
def test_missing_weights_are_named(checkpoint: Path, changes: dict[str, None], words: str | None) -> None:
    edit(checkpoint, **changes)
    if words is None:
        load("e2", checkpoint, SETTINGS, CPU)
    else:
        with pytest.raises(ModelUnavailable, match=words):
            load("e2", checkpoint, SETTINGS, CPU)


def describe(directory: Path, **changes: Any) -> None:
    import json

    path = directory / "arch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depth": 6}, r"model.safetensors lacks layers.* more tensors of UNetT; use files that belong together"),
        ({"skip_connect_type": "add"}, r"has layers.* 1 more tensors, unlike UNetT; use files that belong together"),
        ({"dim": 128}, r"model.safetensors and arch.json differ: size mismatch for .*"),
        ({"depth": 3}, r"f5-tts' UNetT does not take what arch.json holds: .*even"),
        ({"wings": 2}, r"f5-tts' UNetT does not take what arch.json holds: .*'wings'"),
        ({"backbone": "MMDiT"}, r"f5-tts' MMDiT does not take what arch.json holds: .*'pe_attn_head'"),
    ],
)
def test_weights_of_another_architecture_are_rejected(checkpoint: Path, changes: dict[str, Any], words: str) -> None:
    describe(checkpoint, **changes)
    with pytest.raises(ModelUnavailable, match=words):
        load("e2", checkpoint, SETTINGS, CPU)


def test_a_vocabulary_of_another_model_is_rejected(checkpoint: Path) -> None:
    (checkpoint / "vocab.txt").unlink()
    (checkpoint / "vocab.txt").write_text(" \na\nb\n")
    with pytest.raises(ModelUnavailable, match=r"vocab.txt has 3 entries, the checkpoint was made with \d\d"):
        load("e2", checkpoint, SETTINGS, CPU)


def test_another_vocoder_is_rejected(checkpoint: Path) -> None:
    (checkpoint / "vocoder.safetensors").unlink()
    (checkpoint / "vocoder.safetensors").symlink_to(checkpoint / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"vocoder\.safetensors is not a Vocos checkpoint: it has no 'backbone"):
        load("e2", checkpoint, SETTINGS, CPU)
