"""Begin and end of a segment at the head of fixed buffers: as without them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, Arch
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.cuda.segment_graphs import SegmentGraphs, lengths
from f5_worker.models.f5.vocoder import Vocos
from tests.models.f5.conftest import SMALL, SWITCHES, VOCABULARY, Recorder, randomise
from tests.models.f5.test_batch_independence import difference

MakeModel = Callable[[Arch], DiT]
BOUND = 1e-5


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small_vocoder() -> Vocos:
    vocoder = Vocos(mel_dim=100, dim=32, inner=64, layers=3)
    randomise(vocoder)
    return vocoder.eval().requires_grad_(False)


def graphs_of(model: DiT, *recorded: int) -> tuple[SegmentGraphs, Recorder]:
    recorder = Recorder()
    graphs = SegmentGraphs(model, small_vocoder(), recorder)
    for n in recorded:
        graphs.record(n)
    return graphs, recorder


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_begin_on_fixed_buffers_is_the_begin(switch: str, make_model: MakeModel) -> None:
    """Long and short in turns, so that what one leaves behind would show in the next."""
    model = make_model(SWITCHES[switch])
    graphs, recorder = graphs_of(model, 64, 96)
    for n, nr, nt in ((96, 60, 90), (40, 30, 12), (64, 1, 80), (70, 20, 3), (33, 30, 40)):
        reference, tokens = drawn(nr, 100, seed=n), torch.arange(nt) % VOCABULARY
        expected = model.condition(reference, tokens, n, guided=True)
        assert difference(graphs.condition(reference, tokens, n, guided=True), expected) <= BOUND
    assert recorder.replays == (0 if switch == "spread text" else 5)


def test_an_end_on_fixed_buffers_is_the_end(make_model: MakeModel) -> None:
    graphs, recorder = graphs_of(make_model(SMALL), 64, 96)
    vocoder = small_vocoder()
    mels = [drawn(n, 100, seed=n) for n in (96, 30, 64, 71, 2)]
    for ours, mel in zip(graphs.sounds(mels), mels, strict=True):
        (expected,) = vocoder([mel])
        assert ours.shape == expected.shape
        assert difference(ours, expected) <= BOUND
    assert recorder.replays == len(mels)


def test_what_fits_no_recorded_length_is_computed_all_the_same(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    graphs, recorder = graphs_of(model, 64)
    reference, tokens, mel = drawn(20, 100, seed=0), torch.arange(9), drawn(65, 100, seed=1)
    for n, guided in ((65, True), (50, False)):
        plain = model.condition(reference, tokens, n, guided=guided)
        assert torch.equal(graphs.condition(reference, tokens, n, guided=guided), plain)
    assert torch.equal(graphs.sounds([mel])[0], small_vocoder()([mel])[0])
    assert recorder.replays == 0


def test_lengths_waste_little_up_to_the_longest() -> None:
    every = sorted(lengths())
    assert every[-1] == MAX_SEGMENT_FRAMES
    assert every[0] == 128
    assert all(above <= below * 9 / 8 for below, above in itertools.pairwise(every))
