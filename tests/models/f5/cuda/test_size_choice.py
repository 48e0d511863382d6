"""Each size of CUDA graphs has the number of frames whose products are the fastest on this GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from f5_worker.models.f5.config import Arch
from f5_worker.models.f5.cuda import size_choice
from f5_worker.models.f5.cuda.size_choice import (
    SIZES,
    block_products,
    default_frames,
    read_frames,
    unmeasured_frames,
)
from f5_worker.models.f5.network import DiT
from tests.models.f5.conftest import SMALL

SLOW_AS_MANY = {1_024, 3_584}


@pytest.fixture
def model(make_model: Callable[[Arch], DiT]) -> DiT:
    return make_model(SMALL)


def choose(model: DiT, kept: Path | None, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, int], int]:
    """Return the choice where a frame takes 1 us, but 1.1 us in SLOW_AS_MANY, and how many pieces of work it took."""
    monkeypatch.setattr(size_choice, "_choice_file", lambda model: kept)
    monkeypatch.setattr(size_choice, "block_products", lambda model, n: n)
    frames, n_pieces = default_frames(), 0
    for measure in unmeasured_frames(frames, model, lambda n: n * (1.1 if n in SLOW_AS_MANY else 1.0)):  # type: ignore[operator]
        measure()
        n_pieces += 1
    return frames, n_pieces


def test_the_faster_number_of_frames_is_chosen_and_kept(
    model: DiT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, n_pieces = choose(model, tmp_path / "frames.json", monkeypatch)
    assert frames == {size: size - 16 * (size in SLOW_AS_MANY) for size in SIZES}
    assert n_pieces == len(SIZES)
    assert choose(model, tmp_path / "frames.json", monkeypatch) == (frames, 0)
    assert choose(model, None, monkeypatch) == (frames, len(SIZES))


@pytest.mark.parametrize("kept", [None, {}, [], [512], [size - 1 for size in SIZES], ["512"] * len(SIZES)])
def test_a_file_that_cannot_be_used_is_no_choice(kept: object, tmp_path: Path) -> None:
    file = tmp_path / "frames.json"
    assert read_frames(file) == {}
    file.write_text(json.dumps(kept))
    assert read_frames(file) == {}


def test_the_products_measured_are_those_of_a_block(model: DiT, monkeypatch: pytest.MonkeyPatch) -> None:
    products = []
    linear = torch.nn.Linear.forward

    def forward(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        products.append((len(x), self))
        return linear(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    block_products(model, 48)()
    block = model.transformer_blocks[0]
    layers = [layer for layer in block.modules() if isinstance(layer, torch.nn.Linear)]
    assert {layer for _, layer in products} == set(layers) - set(block.attn_norm.modules())
    assert {n for n, _ in products} == {48}
