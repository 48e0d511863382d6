"""A segment's sound does not depend on what else is on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.sampler import StepBatch, FlowState, Schedule, draw_noise, time_points
from f5_worker.models.f5.vocoder import Vocos
from tests.models.f5.conftest import SMALL, SWITCHES, VOCABULARY, randomise

MakeModel = Callable[[Arch], DiT]
BOUND = 1e-5  # relative difference, fp32


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


def begin(model: DiT, seed: int, *, nfe: int = 5) -> FlowState:
    """A segment of a length, text, strength and schedule of its own."""
    reference = torch.randn(20 + seed % 7, 100, generator=torch.Generator().manual_seed(seed))
    tokens = torch.arange(10 + seed) % VOCABULARY
    schedule = Schedule.of(model, time_points(nfe, [-1.0, None, 0.4][seed % 3]))
    return FlowState.begin(
        model.condition, reference, tokens, draw_noise(seed, 40 + 5 * seed), schedule, [2.0, 0.0, 1.2, 3.0][seed % 4]
    )


def finish(model: DiT, flows: Sequence[FlowState]) -> None:
    while left := [flow for flow in flows if flow.step < len(flow.schedule.widths)]:
        StepBatch(model, left).step()


def alone(model: DiT, seed: int, *, nfe: int = 5) -> torch.Tensor:
    flow = begin(model, seed, nfe=nfe)
    finish(model, [flow])
    return flow.target


@pytest.mark.slow
@pytest.mark.parametrize("switch", SWITCHES)
def test_side_by_side_is_as_alone(switch: str, make_model: MakeModel) -> None:
    model = make_model(SWITCHES[switch])
    flows = [begin(model, seed) for seed in range(5)]
    finish(model, flows)
    for seed, flow in enumerate(flows):
        assert difference(flow.target, alone(model, seed)) <= BOUND


@pytest.mark.parametrize("n", [2, 8, pytest.param(32, marks=pytest.mark.model)])
def test_among_many_is_as_alone(n: int, make_model: MakeModel) -> None:
    model = make_model(SMALL)
    flows = [begin(model, seed, nfe=3) for seed in range(n)]
    finish(model, flows)
    for seed in {0, 1, n // 2, n - 1}:
        assert difference(flows[seed].target, alone(model, seed, nfe=3)) <= BOUND


def test_joining_and_leaving_on_the_way_is_as_alone(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    flows = [begin(model, 0, nfe=9), begin(model, 1, nfe=4)]
    for seed in range(2, 6):
        StepBatch(model, [flow for flow in flows if flow.step < len(flow.schedule.widths)]).step()
        flows.append(begin(model, seed, nfe=4))
    finish(model, flows)
    for seed, flow in enumerate(flows):
        assert difference(flow.target, alone(model, seed, nfe=9 if seed == 0 else 4)) <= BOUND


def test_a_crew_in_step_is_as_one_out_of_step(make_model: MakeModel) -> None:
    """Segments at the same time share one row of the tables; at different times each has its own."""
    model = make_model(SMALL)
    schedule = Schedule.of(model, time_points(4, -1.0))
    reference, tokens = torch.zeros(10, 100), torch.arange(9)
    flows = [FlowState.begin(model.condition, reference, tokens, draw_noise(seed, 50), schedule, 2.0) for seed in (1, 2)]
    crew = StepBatch(model, flows)
    assert len(crew._modulations().out) == 1
    StepBatch(model, flows[:1]).step()
    assert len(crew._modulations().out) == 2
    StepBatch(model, flows[1:]).step()
    assert len(crew._modulations().out) == 1
    finish(model, flows)
    apart = FlowState.begin(model.condition, reference, tokens, draw_noise(2, 50), schedule, 2.0)
    finish(model, [apart])
    assert difference(flows[1].target, apart.target) <= BOUND


@pytest.mark.parametrize("lengths", [(30, 90, 41, 41), (50, 50)])
def test_the_vocoder_hears_each_alone(lengths: tuple[int, ...]) -> None:
    vocoder = Vocos(100, 32, 64, 3)
    randomise(vocoder)
    mels = [draw_noise(seed, n) for seed, n in enumerate(lengths)]
    for mel, sound in zip(mels, vocoder(mels), strict=True):
        assert sound.shape == ((len(mel) - 1) * 256,)
        assert difference(sound, vocoder([mel])[0]) <= BOUND
