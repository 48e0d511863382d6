"""Begin and end of a segment by graphs of fixed length give the same results as without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, Arch
from f5_worker.models.f5.cuda.segment_graphs import SegmentGraphs, graph_lengths
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.vocoder import Vocos
from tests.models.f5.conftest import SMALL, SWITCHES, VOCABULARY, FakeCapturer, randomise
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


def graphs_of(model: DiT, *captured: int) -> tuple[SegmentGraphs, FakeCapturer]:
    capturer = FakeCapturer()
    graphs = SegmentGraphs(model, small_vocoder(), capturer)
    for n in captured:
        graphs.capture(n)
    return graphs, capturer


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_padded_begin_equals_a_plain_one(switch: str, make_model: MakeModel) -> None:
    """Long and short ones alternate, so that values left in the buffers would show in the next."""
    model = make_model(SWITCHES[switch])
    graphs, capturer = graphs_of(model, 64, 96)
    for n, nr, nt in ((96, 60, 90), (40, 30, 12), (64, 1, 80), (70, 20, 3), (33, 30, 40)):
        reference, tokens = drawn(nr, 100, seed=n), torch.arange(nt) % VOCABULARY
        expected = model.condition(reference, tokens, n, guided=True)
        assert difference(graphs.condition(reference, tokens, n, guided=True), expected) <= BOUND
    assert capturer.n_replays == (0 if switch == "upsampled text" else 5)


def test_a_padded_end_equals_a_plain_one(make_model: MakeModel) -> None:
    graphs, capturer = graphs_of(make_model(SMALL), 64, 96)
    vocoder = small_vocoder()
    mels = [drawn(n, 100, seed=n) for n in (96, 30, 64, 71, 2)]
    for ours, mel in zip(graphs.decode(mels), mels, strict=True):
        (expected,) = vocoder([mel])
        assert ours.shape == expected.shape
        assert difference(ours, expected) <= BOUND
    assert capturer.n_replays == len(mels)


def test_a_length_without_a_graph_is_computed_too(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    graphs, capturer = graphs_of(model, 64)
    reference, tokens, mel = drawn(20, 100, seed=0), torch.arange(9), drawn(65, 100, seed=1)
    for n, guided in ((65, True), (50, False)):
        plain = model.condition(reference, tokens, n, guided=guided)
        assert torch.equal(graphs.condition(reference, tokens, n, guided=guided), plain)
    assert torch.equal(graphs.decode([mel])[0], small_vocoder()([mel])[0])
    assert capturer.n_replays == 0


def test_lengths_have_little_padding_up_to_the_longest() -> None:
    every = sorted(graph_lengths())
    assert every[-1] == MAX_SEGMENT_FRAMES
    assert every[0] == 128
    assert all(above <= below * 9 / 8 for below, above in itertools.pairwise(every))
