"""From noise to mel: Euler steps along the model's velocity field, with classifier-free guidance.

Equal to `f5_tts.model.cfm.CFM.sample` of f5-tts 1.1.22 for one segment.

Legend: n frames of reference and target together, nr of the reference, m mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from f5_worker.engine.config import MEL_BANDS
from f5_worker.engine.model import DiT

# Empirically pruned step sampling (arXiv 2505.19931): which of 32 even steps to keep for few evaluations.
EPSS = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}
NO_GUIDANCE = 1e-5  # upstream skips the unconditional branch below this strength


def time_points(nfe: int, sway: float | None) -> Tensor:
    """The `nfe + 1` times from 0 to 1 between which the flow is stepped, fp32.

    sway: coefficient of sway sampling (arXiv 2410.06885, eq. 7); negative puts more steps early. None for none.
    """
    times = (1 / 32) * torch.tensor(EPSS[nfe]).float() if nfe in EPSS else torch.linspace(0, 1, nfe + 1)
    if sway is None:
        return times
    return times + sway * (torch.cos(torch.pi / 2 * times) - 1 + times)


def draw_noise(seed: int, n: int) -> Tensor:
    """Standard normal `[n, m]`, drawn on the CPU so that a seed means the same on every device."""
    return torch.randn(n, MEL_BANDS, generator=torch.Generator().manual_seed(seed))


def sample(
    model: DiT,
    reference: Tensor,
    tokens: Tensor,
    noise: Tensor,
    times: Tensor,
    guidance: float,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Mel of the whole segment, `[n, m]` fp32; its first nr frames are the reference's own.

    Args:
        reference: `[nr, m]`, nr < n.
        tokens: vocabulary indices of reference and target text.
        noise: `[n, m]`; its length decides the duration.
        times: as from `time_points`.
        guidance: strength of classifier-free guidance, 0 for none.
        on_step: called before each step with its number; may raise to stop.
    """
    guided = guidance >= NO_GUIDANCE
    condition = model.condition(reference, tokens, len(noise), guided=guided)
    modulations = model.modulations(times[:-1].to(model.device))
    x = noise
    for step, width in enumerate(times.diff().tolist()):
        on_step(step)
        velocity = model(x, step, condition, modulations).float()
        x = x + width * _guide(velocity, guidance if guided else 0.0)
    return torch.cat((reference.float(), x[len(reference) :]))


def _guide(velocity: Tensor, strength: float) -> Tensor:
    if math.isclose(strength, 0.0):
        return velocity[0]
    return velocity[0] + (velocity[0] - velocity[1]) * strength
