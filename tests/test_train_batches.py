"""The items of a training: drawn by voice, and as long as the sentences that people write."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("torchaudio", reason="only training needs it")

from scripts.train_tiny.batches import Composer, _reverberated
from scripts.train_tiny.corpus import FLOOR, Corpus, build
from scripts.train_tiny.synth import TimedUtterance

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    rng = np.random.default_rng(1)
    spoken = []
    for voice in ("joe", "af_a", "0.5*af_a+0.5*af_c"):
        for length_s in rng.uniform(0.3, 9, 120):
            text = "a" * max(1, int(length_s * 15))
            times = np.linspace(0, length_s, len(text), endpoint=False).astype(np.float32)
            wav = rng.integers(-2_000, 2_000, int(length_s * 6_000)).astype(np.int16)
            spoken.append(TimedUtterance(text, wav, 6_000, times, times, np.ones(len(text), np.int16), voice, 1.0))
    return build(spoken, torch.device("cpu"))


def test_items_are_drawn_as_often_from_each_kind_of_voice_as_its_share(corpus: Corpus) -> None:
    assert float(corpus.pool_weight.sum()) == pytest.approx(1)
    assert float(corpus.pool_weight.max()) < 0.2


@pytest.mark.parametrize("n", [448, 1408])
def test_no_utterance_is_cut_and_long_ones_follow_short_references(corpus: Corpus, n: int) -> None:
    composer = Composer(corpus, seed=1)
    ends, longest = [], []
    for _ in range(6):
        plan = composer._plan(16, n, n // 3)
        ends.append(((plan.start + plan.frames) * plan.valid).amax(1))
        after = plan.valid & (plan.start >= plan.start.gather(1, plan.target.clamp_min(0)[:, None]))
        longest.append((plan.frames * after).amax(1)[plan.target >= 0])
    assert int(torch.cat(ends).max()) <= n
    assert float((torch.cat(longest) > 0.4 * n).float().mean()) > 0.15
    batch = composer.batch(16, n, n // 3, 1.0)
    assert bool((batch.upsample < batch.lengths[:, None]).all())


def test_reverberation_adds_echoes_that_fade_and_nothing_before_the_sound() -> None:
    clap = torch.full((2, 60, 4), FLOOR)
    clap[:, 10] = 0.0
    wet, decay = torch.tensor([0.0, 0.2])[:, None, None], torch.tensor([0.5, 0.8])[:, None, None]
    dry, heard = _reverberated(clap, wet, decay)
    assert torch.allclose(dry, clap[0], atol=1e-5)
    assert torch.allclose(heard[:11].exp(), clap[1, :11].exp(), atol=1e-4)
    echoes = 0.2 * 0.8 ** torch.arange(32.0)
    assert torch.allclose(heard[11:43].exp(), echoes[:, None].expand(32, 4), atol=1e-3)
    assert float(heard[43:].max()) < FLOOR + 1
