"""From noise to mel: Euler steps along the model's velocity field, with classifier-free guidance.

Equal to `f5_tts.model.cfm.CFM.sample` of f5-tts 1.1.22 for each segment, whatever its company.

Legend: n frames of reference and target together, nr of the reference, m mel bands, s steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from f5_worker.models.f5.config import MEL_BANDS, MIN_GUIDANCE_SCALE
from f5_worker.models.f5.network import DiT, Modulations
from f5_worker.models.f5.cuda.packed import Packed

# Empirically pruned step sampling (arXiv 2505.19931): which of 32 even steps to keep for few evaluations.
EPSS = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}


def time_points(nfe: int, sway_coefficient: float | None) -> Tensor:
    """The `nfe + 1` times from 0 to 1 between which the flow is stepped, fp32.

    sway_coefficient: coefficient of sway sampling (arXiv 2410.06885, eq. 7); negative puts more steps early. None for none.
    """
    times = (1 / 32) * torch.tensor(EPSS[nfe]).float() if nfe in EPSS else torch.linspace(0, 1, nfe + 1)
    if sway_coefficient is None:
        return times
    return times + sway_coefficient * (torch.cos(torch.pi / 2 * times) - 1 + times)


def draw_noise(seed: int, n: int) -> Tensor:
    """Standard normal `[n, m]`, drawn on the CPU so that a seed means the same on every device."""
    return torch.randn(n, MEL_BANDS, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Schedule:
    """The steps that a segment takes: the model's modulations at each, and how far each goes, `[s]` fp32."""

    modulations: Modulations
    widths: Tensor

    @classmethod
    def of(cls, model: DiT, times: Tensor) -> Schedule:
        """`times`: as from `time_points`."""
        times = times.to(model.device)
        return cls(model.modulations(times[:-1]), times.diff())


class Condition(Protocol):
    """`DiT.condition` of one model."""

    def __call__(self, reference: Tensor, tokens: Tensor, n: int, *, guided: bool) -> Tensor: ...


@dataclass(eq=False)
class FlowState:
    """A segment on its way from noise to mel.

    x: `[n, m]` fp32, after `step` steps. guidance: strength of classifier-free guidance, 0 for none.
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
        condition_of: Condition,
        reference: Tensor,
        tokens: Tensor,
        noise: Tensor,
        schedule: Schedule,
        guidance_scale: float,
    ) -> FlowState:
        """`reference [nr, m]`, nr < n; `noise [n, m]`, whose length decides the duration."""
        guided = guidance_scale >= MIN_GUIDANCE_SCALE
        condition = condition_of(reference, tokens, len(noise), guided=guided)
        return cls(reference, condition, schedule, guidance_scale if guided else 0.0, noise)

    @property
    def target(self) -> Tensor:
        """Mel of what follows the reference, `[n - nr, m]` fp32."""
        return self.x[len(self.reference) :]


Advance = Callable[[Tensor, Packed, Modulations, Tensor], Tensor]
"""`advance` of one model."""


class StepBatch:
    """Segments that take their next step in one forward, wherever each is in its own schedule.

    What does not change from step to step is packed once: keep the crew while its flows stay the same.
    """

    def __init__(self, model: DiT, flows: Sequence[FlowState], step: Advance | None = None) -> None:
        """`step`: what computes a step, if not `advance` itself."""
        self._advance = step or partial(advance, model)
        self._flows = sorted(flows, key=lambda flow: len(flow.condition), reverse=True)  # with guidance first
        self._packed = model.pack([flow.condition for flow in self._flows], [flow.guidance_scale for flow in self._flows])

    def step(self) -> None:
        """One Euler step for each flow. Nothing has changed if it raises."""
        x = _side_by_side([flow.x for flow in self._flows])
        widths = _side_by_side([flow.schedule.widths[_now(flow)] for flow in self._flows])
        moved = self._advance(x, self._packed, self._modulations(), widths)
        for flow, part in zip(self._flows, moved.split_with_sizes([len(flow.x) for flow in self._flows]), strict=True):
            flow.x = part
            flow.step += 1

    def _modulations(self) -> Modulations:
        """Of each flow's own step; one for all where they are the same."""
        first, *others = self._flows
        steps = self._flows
        if all(flow.schedule is first.schedule and flow.step == first.step for flow in others):
            steps = [first]
        return Modulations(
            _side_by_side([flow.schedule.modulations.blocks[_now(flow)] for flow in steps]),
            _side_by_side([flow.schedule.modulations.out[_now(flow)] for flow in steps]),
        )


def _now(flow: FlowState) -> slice:
    return slice(flow.step, flow.step + 1)


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """`torch.cat`, without the copy where there is only one: four launches fewer in each step of a segment alone."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def advance(model: DiT, x: Tensor, packed: Packed, modulations: Modulations, widths: Tensor) -> Tensor:
    """Noisy mel of all segments after one Euler step along the guided velocity.

    Args:
        x: `[f, m]` fp32.
        widths: how far each segment goes, `[segments]`.
    """
    return model.backend.ops.euler(x, model(x, packed, modulations), packed, widths)


def sample(model: DiT, reference: Tensor, tokens: Tensor, noise: Tensor, times: Tensor, guidance_scale: float) -> Tensor:
    """Mel of one segment alone, `[n, m]` fp32; its first nr frames are the reference's own.

    The arguments are those of `FlowState.begin`; times: as from `time_points`.
    """
    flow = FlowState.begin(model.condition, reference, tokens, noise, Schedule.of(model, times), guidance_scale)
    crew = StepBatch(model, [flow])
    for _ in times[1:]:
        crew.step()
    return torch.cat((reference.float(), flow.target))
