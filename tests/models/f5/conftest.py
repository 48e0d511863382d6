"""Small models with random weights: every option of the architecture, in milliseconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch

from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.network import DiT

SMALL = Arch(dim=128, depth=3, heads=2, ff_mult=2, text_dim=64, conv_layers=2)
VOCABULARY = 50
SWITCHES = {
    "v1": SMALL,
    "base": dataclasses.replace(SMALL, text_mask_padding=False, pe_attn_head=1),
    "upsampled text": dataclasses.replace(SMALL, text_embedding_average_upsampling=True),
    "qk norm": dataclasses.replace(SMALL, qk_norm="rms_norm"),
    "long skip": dataclasses.replace(SMALL, long_skip_connection=True),
    "no text blocks": dataclasses.replace(SMALL, conv_layers=0),
}


def randomise(model: torch.nn.Module, seed: int = 0) -> None:
    """Set weights at which every layer has an effect: upstream initialises modulations and output to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
            centre = 1.0 if name.endswith(("norm.weight", "gamma")) else 0.0
            parameter.copy_(centre + scale * torch.randn(parameter.shape, generator=generator))


class FakeCapturer:
    """Captures computations for step_graphs.py and segment_graphs.py: a replay computes again."""

    def __init__(self) -> None:
        self.n_replays = 0

    def __call__(self, compute: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        result = compute()

        def replay() -> None:
            self.n_replays += 1
            result.copy_(compute())

        return replay, result


def upstream_weights(model: DiT) -> dict[str, torch.Tensor]:
    """Return the model's weights under upstream's names, without the prefixes of its files."""
    weights = {}
    for name, tensor in model.state_dict().items():
        if ".to_qkv." in name:
            weights |= {name.replace("to_qkv", f"to_{part}"): third for part, third in zip("qkv", tensor.chunk(3))}  # noqa: B905
        else:
            weights[name] = tensor
    return weights


@pytest.fixture
def make_model() -> Callable[[Arch], DiT]:
    def make(arch: Arch) -> DiT:
        model = DiT(arch, VOCABULARY)
        randomise(model)
        return model.eval().requires_grad_(False)

    return make
