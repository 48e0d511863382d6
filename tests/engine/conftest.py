"""Small models with random weights: every architecture switch, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from f5_worker.engine.config import Arch
from f5_worker.engine.model import DiT

SMALL = Arch(dim=128, depth=3, heads=2, ff_mult=2, text_dim=64, conv_layers=2)
VOCABULARY = 50


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights at which every layer matters: upstream starts its modulations and its output at zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
            centre = 1.0 if name.endswith(("norm.weight", "gamma")) else 0.0
            parameter.copy_(centre + spread * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def make_model() -> Callable[[Arch], DiT]:
    def make(arch: Arch) -> DiT:
        model = DiT(arch, VOCABULARY)
        randomise(model)
        return model.eval().requires_grad_(False)

    return make
