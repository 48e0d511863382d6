"""The training script's fast model computes the same as upstream's from the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from f5_worker.models.upstream.reference import UpstreamSampler
from scripts.train_tiny.batches import Composer
from scripts.train_tiny.corpus import Corpus, build
from scripts.train_tiny.model import (
    Arch,
    TinyDiT,
    even_upsampling,
    grouped_conv,
    plain_conv,
    with_further_characters,
)
from scripts.train_tiny.prose import FRENCH, VOCAB
from scripts.train_tiny.synth import TimedUtterance, mixtures, voice_styles

pytestmark = pytest.mark.model

VOCABULARY, FRAMES, TOKENS, PADDING = 74, 300, 41, 20


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("qk_norm", ["rms_norm", None])
@pytest.mark.parametrize("conv", [plain_conv, grouped_conv])
def test_the_training_model_equals_upstreams(conv: object, qk_norm: str | None, drop: bool) -> None:
    torch.manual_seed(0)
    arch = Arch(depth=2, qk_norm=qk_norm)
    upstream = UpstreamSampler(arch.as_dict(), None, VOCABULARY).cfm.transformer
    for parameter in upstream.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    ours = TinyDiT(arch, VOCABULARY, conv=conv)
    missing, _ = ours.load_state_dict(upstream.state_dict(), strict=False)
    assert not missing
    x, known = torch.randn(2, 1, FRAMES, 100)
    tokens, time, n = torch.randint(0, VOCABULARY, (1, TOKENS)), torch.tensor([0.3]), torch.tensor([FRAMES])
    lengths = torch.tensor([TOKENS])
    with torch.no_grad():
        theirs = upstream(x, known, tokens, time, drop_text=drop)
        padded = torch.nn.functional.pad(tokens, (0, PADDING))
        text = ours.encode_text(padded, lengths, torch.tensor([drop]), n)
        mine, _ = ours(x, known, text, even_upsampling(torch.arange(FRAMES), lengths, FRAMES), time)
    assert float((mine - theirs).norm() / theirs.norm()) < 1e-5


def test_a_further_character_starts_as_its_letter_without_accent() -> None:
    english = torch.arange(1 + len(VOCAB)).float()[:, None]
    french = with_further_characters(english, FRENCH)
    assert torch.equal(french[: len(english)], english)
    assert len(french) == 1 + len(FRENCH)
    assert [int(french[1 + FRENCH.index(char)]) for char in "éÇœ"] == [1 + VOCAB.index("e"), 1 + VOCAB.index("C"), 0]


def test_a_voice_named_with_a_plus_is_the_mean_of_two(tmp_path: Path) -> None:
    low, high = np.zeros((2, 4), np.float16), np.ones((2, 4), np.float16)
    np.savez(tmp_path / "styles.npz", low=low, high=high)
    styles = voice_styles(tmp_path / "styles.npz", ["high", "low+high"])
    assert set(styles) == {"high", "low+high"}
    assert np.array_equal(styles["low+high"], np.full((2, 4), 0.5, np.float32))
    (weighted,) = voice_styles(tmp_path / "styles.npz", ["0.25*low+0.75*high"]).values()
    assert np.array_equal(weighted, np.full((2, 4), 0.75, np.float32))


def test_mixtures_are_of_english_voices_of_one_sex_and_add_up(tmp_path: Path) -> None:
    names = ["af_a", "bf_b", "af_c", "am_a", "bm_b", "am_c", "ff_siwis"]
    np.savez(tmp_path / "styles.npz", **{name: np.ones((2, 4), np.float16) for name in names})
    found = mixtures(tmp_path / "styles.npz", 12, seed=1)
    assert found == mixtures(tmp_path / "styles.npz", 12, seed=1)
    for voice in found:
        parts = [part.split("*") for part in voice.split("+")]
        assert sum(float(weight) for weight, _ in parts) == pytest.approx(1, abs=0.02)
        assert {name[1] for _, name in parts} in ({"f"}, {"m"})
        assert {name for _, name in parts} <= set(names) - {"ff_siwis"}


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
