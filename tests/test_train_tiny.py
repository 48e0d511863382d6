"""The training script's fast model computes the same as upstream's from the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from f5_worker.models.upstream.reference import UpstreamSampler
from scripts.train_tiny.model import (
    Arch,
    TinyDiT,
    even_upsampling,
    grouped_conv,
    plain_conv,
    with_further_characters,
)
from scripts.train_tiny.prose import FRENCH, VOCAB
from scripts.train_tiny.synth import mixtures, voice_styles

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
