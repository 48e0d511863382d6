"""A segment's audio does not depend on the other segments of its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.sampler import FlowState, Schedule, StepBatch, draw_noise, time_points
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
    """Return a segment whose length, text, guidance and schedule follow from the seed."""
    reference = torch.randn(20 + seed % 7, 100, generator=torch.Generator().manual_seed(seed))
    tokens = torch.arange(10 + seed) % VOCABULARY
    schedule = Schedule.from_times(model, time_points(nfe, [-1.0, None, 0.4][seed % 3]))
    return FlowState.begin(
        model.condition, reference, tokens, draw_noise(seed, 40 + 5 * seed), schedule, [2.0, 0.0, 1.2, 3.0][seed % 4]
    )


def finish(model: DiT, states: Sequence[FlowState]) -> None:
    while left := [state for state in states if state.step < len(state.schedule.dt)]:
        StepBatch(model, left).step()


def alone(model: DiT, seed: int, *, nfe: int = 5) -> torch.Tensor:
    state = begin(model, seed, nfe=nfe)
    finish(model, [state])
    return state.target


@pytest.mark.slow
@pytest.mark.parametrize("switch", SWITCHES)
def test_in_a_batch_is_as_alone(switch: str, make_model: MakeModel) -> None:
    model = make_model(SWITCHES[switch])
    states = [begin(model, seed) for seed in range(5)]
    finish(model, states)
    for seed, state in enumerate(states):
        assert difference(state.target, alone(model, seed)) <= BOUND


@pytest.mark.parametrize("n", [2, 8, pytest.param(32, marks=pytest.mark.model)])
def test_among_many_is_as_alone(n: int, make_model: MakeModel) -> None:
    model = make_model(SMALL)
    states = [begin(model, seed, nfe=3) for seed in range(n)]
    finish(model, states)
    for seed in {0, 1, n // 2, n - 1}:
        assert difference(states[seed].target, alone(model, seed, nfe=3)) <= BOUND


def test_joining_and_leaving_a_batch_is_as_alone(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    states = [begin(model, 0, nfe=9), begin(model, 1, nfe=4)]
    for seed in range(2, 6):
        StepBatch(model, [state for state in states if state.step < len(state.schedule.dt)]).step()
        states.append(begin(model, seed, nfe=4))
    finish(model, states)
    for seed, state in enumerate(states):
        assert difference(state.target, alone(model, seed, nfe=9 if seed == 0 else 4)) <= BOUND


def test_a_batch_at_one_time_is_as_one_at_several(make_model: MakeModel) -> None:
    """Segments at the same time share one row of the tables; at different times each has its own."""
    model = make_model(SMALL)
    schedule = Schedule.from_times(model, time_points(4, -1.0))
    reference, tokens = torch.zeros(10, 100), torch.arange(9)
    states = [
        FlowState.begin(model.condition, reference, tokens, draw_noise(seed, 50), schedule, 2.0) for seed in (1, 2)
    ]
    batch = StepBatch(model, states)
    assert len(batch._modulations().out) == 1
    StepBatch(model, states[:1]).step()
    assert len(batch._modulations().out) == 2
    StepBatch(model, states[1:]).step()
    assert len(batch._modulations().out) == 1
    finish(model, states)
    alone_state = FlowState.begin(model.condition, reference, tokens, draw_noise(2, 50), schedule, 2.0)
    finish(model, [alone_state])
    assert difference(states[1].target, alone_state.target) <= BOUND


@pytest.mark.parametrize("lengths", [(30, 90, 41, 41), (50, 50)])
def test_the_vocoder_decodes_each_as_alone(lengths: tuple[int, ...]) -> None:
    vocoder = Vocos(100, 32, 64, 3)
    randomise(vocoder)
    mels = [draw_noise(seed, n) for seed, n in enumerate(lengths)]
    for mel, samples in zip(mels, vocoder(mels), strict=True):
        assert samples.shape == ((len(mel) - 1) * 256,)
        assert difference(samples, vocoder([mel])[0]) <= BOUND
