"""Sampling from noise to mel: Euler steps along the model's velocity field, with classifier-free guidance.

Equal to `f5_tts.model.cfm.CFM.sample` of f5-tts 1.1.22 for each segment, whatever else is in its batch.

Legend: n frames of reference and target together, nr of the reference, f of all segments of a batch, m mel bands,
s steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from f5_worker.models.f5.config import MEL_BANDS, MIN_GUIDANCE_SCALE
from f5_worker.models.f5.cuda.packed import PackedBatch
from f5_worker.models.f5.network import DiT, Modulations

# Empirically pruned step sampling (arXiv 2505.19931): which of 32 equal steps to keep for few evaluations.
EPSS = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}


def time_points(nfe: int, sway_coefficient: float | None) -> Tensor:
    """Return the `nfe + 1` times from 0 to 1 that bound the Euler steps, fp32.

    sway_coefficient: of sway sampling (arXiv 2410.06885, eq. 7): a negative one puts more steps early, None is without.
    """
    times = (1 / 32) * torch.tensor(EPSS[nfe]).float() if nfe in EPSS else torch.linspace(0, 1, nfe + 1)
    if sway_coefficient is None:
        return times
    return times + sway_coefficient * (torch.cos(torch.pi / 2 * times) - 1 + times)


def draw_noise(seed: int, n: int) -> Tensor:
    """Return standard normal noise `[n, m]`, drawn on the CPU so that a seed means the same on every device."""
    return torch.randn(n, MEL_BANDS, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Schedule:
    """The steps that a segment takes: the model's modulations at each, and the length of each, `dt [s]` fp32."""

    modulations: Modulations
    dt: Tensor

    @classmethod
    def from_times(cls, model: DiT, times: Tensor) -> Schedule:
        """Return the schedule of the given times, which are as from `time_points`."""
        times = times.to(model.device)
        return cls(model.modulations(times[:-1]), times.diff())


class ComputeCondition(Protocol):
    """`DiT.condition` of one model, or an equivalent of it."""

    def __call__(self, reference: Tensor, tokens: Tensor, n: int, *, guided: bool) -> Tensor: ...


@dataclass(eq=False)
class FlowState:
    """A segment between noise and mel.

    Attributes:
        reference: mel of the reference, `[nr, m]`.
        condition: as from `DiT.condition`.
        guidance_scale: of classifier-free guidance, 0 for none.
        x: `[n, m]` fp32, after `step` steps.
    """

    reference: Tensor
    condition: Tensor
    schedule: Schedule
    guidance_scale: float
    x: Tensor
    step: int = 0

    @classmethod
    def begin(
        cls,
        compute_condition: ComputeCondition,
        reference: Tensor,
        tokens: Tensor,
        noise: Tensor,
        schedule: Schedule,
        guidance_scale: float,
    ) -> FlowState:
        """Return a segment before its first step.

        Args:
            reference: `[nr, m]`, nr < n.
            noise: `[n, m]`; its length decides the duration.
        """
        guided = guidance_scale >= MIN_GUIDANCE_SCALE
        condition = compute_condition(reference, tokens, len(noise), guided=guided)
        return cls(reference, condition, schedule, guidance_scale if guided else 0.0, noise)

    @property
    def target(self) -> Tensor:
        """Return the mel that follows the reference, `[n - nr, m]` fp32."""
        return self.x[len(self.reference) :]


Advance = Callable[[Tensor, PackedBatch, Modulations, Tensor], Tensor]
"""`advance` of one model."""


class StepBatch:
    """Segments that take their next step in one forward, each at its own step of its own schedule.

    What does not change from step to step is packed once: keep the batch as long as its members stay the same.

    Args:
        advance_batch: computes a step, as `advance` of the model does, which is the default.
    """

    def __init__(self, model: DiT, states: Sequence[FlowState], advance_batch: Advance | None = None) -> None:
        self._advance = advance_batch or partial(advance, model)
        self._states = sorted(states, key=lambda state: len(state.condition), reverse=True)  # with guidance first
        self._packed = model.pack(
            [state.condition for state in self._states], [state.guidance_scale for state in self._states]
        )

    def step(self) -> None:
        """Take one Euler step with each segment. If it raises, no segment has changed."""
        x = _concat([state.x for state in self._states])
        dt = _concat([state.schedule.dt[_current_step(state)] for state in self._states])
        advanced = self._advance(x, self._packed, self._modulations(), dt)
        lengths = [len(state.x) for state in self._states]
        for state, part in zip(self._states, advanced.split_with_sizes(lengths), strict=True):
            state.x = part
            state.step += 1

    def _modulations(self) -> Modulations:
        """Return the modulations of each segment's current step, or of one step if all are at the same."""
        first, *others = self._states
        distinct = self._states
        if all(state.schedule is first.schedule and state.step == first.step for state in others):
            distinct = [first]
        return Modulations(
            _concat([state.schedule.modulations.blocks[_current_step(state)] for state in distinct]),
            _concat([state.schedule.modulations.out[_current_step(state)] for state in distinct]),
        )


def _current_step(state: FlowState) -> slice:
    return slice(state.step, state.step + 1)


def _concat(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate, without a copy if there is one part: four launches fewer in each step of a single segment."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def advance(model: DiT, x: Tensor, packed: PackedBatch, modulations: Modulations, dt: Tensor) -> Tensor:
    """Return the noisy mel of all segments after one Euler step along the guided velocity.

    Args:
        x: `[f, m]` fp32.
        dt: length of each segment's step, `[segments]`.
    """
    return model.backend.ops.euler(x, model(x, packed, modulations), packed, dt)


def sample(
    model: DiT, reference: Tensor, tokens: Tensor, noise: Tensor, times: Tensor, guidance_scale: float
) -> Tensor:
    """Return the mel of a single segment, `[n, m]` fp32; its first nr frames are the reference itself.

    The arguments are those of `FlowState.begin`; times: as from `time_points`.
    """
    schedule = Schedule.from_times(model, times)
    state = FlowState.begin(model.condition, reference, tokens, noise, schedule, guidance_scale)
    batch = StepBatch(model, [state])
    for _ in times[1:]:
        batch.step()
    return torch.cat((reference.float(), state.target))
