"""The network against f5-tts 1.1.22 itself: same weights, same noise, same results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
import torch

from f5_worker.models.f5.checkpoint import load_model, load_vocoder
from f5_worker.models.f5.config import FRAMES_PER_S, Arch, mel_frames, read_arch
from f5_worker.models.f5.mel import log_mel
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.sampler import EPSS, FlowState, Schedule, StepBatch, draw_noise, sample, time_points
from f5_worker.models.upstream.reference import UpstreamSampler
from tests.models.f5.conftest import SMALL, SWITCHES, VOCABULARY, upstream_weights

pytestmark = pytest.mark.model

BOUND = 1e-4  # relative error of the mel, fp32
# (seconds, NFE, guidance): each length once, with few steps and no guidance for the long ones
LENGTHS = [
    (1.0, 32, 2.0), (1.3, 32, 0.0), (1.6, 16, 2.0), (2.0, 16, 0.0), (3.0, 7, 2.0),
    (4.5, 7, 0.0), (6.0, 7, 2.0), (9.0, 7, 0.0), (14.0, 7, 0.0), (30.0, 7, 0.0),
]  # fmt: skip


def upstream_of(model: DiT, vocabulary: int) -> UpstreamSampler:
    arch = {key: value for key, value in dataclasses.asdict(model.arch).items() if key != "mel_dim"}
    weights = {f"transformer.{key}": value for key, value in upstream_weights(model).items()}
    return UpstreamSampler(arch, weights, vocabulary)


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.fixture(scope="module", autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def clip(tiny: Path) -> torch.Tensor:
    samples, _ = soundfile.read(tiny / "voices" / "joe.wav", dtype="float32")
    return torch.from_numpy(samples)


@pytest.mark.parametrize("guidance_scale", [0.0, 2.0])
@pytest.mark.parametrize("switch", SWITCHES)
def test_every_option_of_the_architecture(
    switch: str, guidance_scale: float, make_model: Callable[[Arch], DiT]
) -> None:
    model = make_model(SWITCHES[switch])
    upstream = upstream_of(model, VOCABULARY)
    reference = torch.randn(60, 100, generator=torch.Generator().manual_seed(1))
    tokens = torch.arange(45) % VOCABULARY
    for frames in (70, 131, 260):
        theirs = upstream.sample(
            reference, tokens, frames, nfe=8, guidance_scale=guidance_scale, sway_coefficient=-1.0, seed=5
        )
        ours = sample(model, reference, tokens, draw_noise(5, frames), time_points(8, -1.0), guidance_scale)
        assert relative_error(ours, theirs) <= BOUND


@pytest.mark.parametrize("upsample", [True, False])
def test_the_bundled_small_model(upsample: bool, tiny: Path, clip: torch.Tensor) -> None:
    vocabulary = len((tiny / "vocab.txt").read_text().splitlines())
    model = load_model(tiny, vocabulary).float()
    model.text_embed.upsample = upsample
    model.arch = dataclasses.replace(read_arch(tiny), text_embedding_average_upsampling=upsample)
    upstream = upstream_of(model, vocabulary)
    reference = log_mel(clip)
    tokens, frames = torch.arange(120) % vocabulary, 450
    theirs = upstream.sample(reference, tokens, frames, nfe=8, guidance_scale=2.0, sway_coefficient=-1.0, seed=9)
    ours = sample(model, reference, tokens, draw_noise(9, frames), time_points(8, -1.0), 2.0)
    assert relative_error(ours, theirs) <= BOUND


def test_ten_lengths_in_one_batch_equal_upstreams_results_for_each_alone(tiny: Path, clip: torch.Tensor) -> None:
    vocabulary = len((tiny / "vocab.txt").read_text().splitlines())
    model = load_model(tiny, vocabulary).float()
    reference = log_mel(clip[:12_000])
    inputs = [
        (torch.arange(round(14 * s)) % vocabulary, len(reference) + round(s * FRAMES_PER_S)) for s, _, _ in LENGTHS
    ]
    states = []
    for seed, ((tokens, frames), (_, nfe, guidance_scale)) in enumerate(zip(inputs, LENGTHS, strict=True)):
        schedule = Schedule.from_times(model, time_points(nfe, -1.0))
        states.append(
            FlowState.begin(model.condition, reference, tokens, draw_noise(seed, frames), schedule, guidance_scale)
        )
    while left := [state for state in states if state.step < len(state.schedule.dt)]:
        StepBatch(model, left).step()
    upstream = upstream_of(model, vocabulary)
    for seed, ((tokens, frames), (seconds, nfe, guidance_scale)) in enumerate(zip(inputs, LENGTHS, strict=True)):
        theirs = upstream.sample(
            reference, tokens, frames, nfe=nfe, guidance_scale=guidance_scale, sway_coefficient=-1.0, seed=seed
        )
        assert relative_error(states[seed].target, theirs[len(reference) :]) <= BOUND, (seconds, nfe, guidance_scale)


@pytest.mark.parametrize("guidance_scale", [0.0, 2.0])
@pytest.mark.parametrize("nfe", [7, 16, 32])
def test_every_schedule_with_and_without_guidance(
    nfe: int, guidance_scale: float, make_model: Callable[[Arch], DiT]
) -> None:
    model = make_model(SMALL)
    upstream = upstream_of(model, VOCABULARY)
    reference = torch.randn(40, 100, generator=torch.Generator().manual_seed(0))
    for seconds in (1.0, 4.0):
        frames = 40 + round(seconds * FRAMES_PER_S)
        tokens = torch.arange(round(14 * seconds)) % VOCABULARY
        theirs = upstream.sample(
            reference, tokens, frames, nfe=nfe, guidance_scale=guidance_scale, sway_coefficient=-1.0, seed=1
        )
        ours = sample(model, reference, tokens, draw_noise(1, frames), time_points(nfe, -1.0), guidance_scale)
        assert relative_error(ours, theirs) <= BOUND, seconds


def test_more_tokens_than_frames_are_cut_as_upstream_cuts_them(make_model: Callable[[Arch], DiT]) -> None:
    model = make_model(SMALL)
    n, tokens = 40, torch.arange(64) % VOCABULARY
    ours = model.condition(torch.zeros(1, 100), tokens, n, guided=False)
    text = upstream_of(model, VOCABULARY).cfm.transformer.text_embed(tokens.unsqueeze(0), n)
    assert torch.allclose(ours, model.input_embed.condition(torch.zeros(1, n, 100), text), atol=1e-5)


@pytest.mark.parametrize("nfe", [*EPSS, 4, 8, 9, 24, 32, 64])
@pytest.mark.parametrize("sway_coefficient", [None, -1.0, -0.5, 0.7])
def test_time_points_equal_upstreams_to_the_bit(
    nfe: int, sway_coefficient: float | None, make_model: Callable[[Arch], DiT]
) -> None:
    cfm = upstream_of(make_model(SMALL), VOCABULARY).cfm
    seen: list[torch.Tensor] = []

    def velocity(*, x: torch.Tensor, time: torch.Tensor, **rest: object) -> torch.Tensor:
        seen.append(time)
        return torch.zeros_like(x)

    cfm.transformer.forward = velocity
    cfm.sample(
        torch.zeros(1, 2, 100), torch.zeros(1, 2), 4, steps=nfe, cfg_strength=0.0, sway_sampling_coef=sway_coefficient
    )
    assert torch.equal(torch.stack(seen), time_points(nfe, sway_coefficient)[:-1])


def test_mel_equals_upstreams(clip: torch.Tensor, make_model: Callable[[Arch], DiT]) -> None:
    upstream = upstream_of(make_model(SMALL), VOCABULARY)
    for samples in (clip, clip[:24_001], clip[:24_000] * 0 + 1e-4):
        assert len(log_mel(samples)) == mel_frames(len(samples))
        assert torch.allclose(log_mel(samples), upstream.mel(samples), atol=2e-4)


def test_vocoder_equals_vocos(tiny: Path, clip: torch.Tensor) -> None:
    from vocos.heads import ISTFTHead
    from vocos.models import VocosBackbone

    ours = load_vocoder(tiny)
    backbone, head = VocosBackbone(100, 256, 768, 6), ISTFTHead(256, 1024, 256, "center")
    backbone.load_state_dict(ours.backbone.state_dict())
    head.load_state_dict(ours.head.state_dict(), strict=False)  # the window is derived
    mel = log_mel(clip).unsqueeze(0)
    assert relative_error(ours([mel[0]])[0], head(backbone(mel.transpose(1, 2)))[0]) < 1e-5
