"""Checkpoints for the vocoder BigVGAN, whose code comes with f5-tts' repository and not with its wheels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from f5_worker.errors import ModelUnavailable
from f5_worker.models.config import ModelConfig
from f5_worker.models.f5.config import HOP_SAMPLES, make_segment
from f5_worker.models.load import load
from f5_worker.models.placement import Device
from f5_worker.models.upstream.checkpoint import BIGVGAN
from f5_worker.models.upstream.package import import_bigvgan, import_model
from f5_worker.models.upstream.reference import import_infer
from f5_worker.settings import Settings
from tests.models.f5.conftest import randomise
from tests.models.upstream.checkpoints import CONFIGS, write_checkpoint

pytest.importorskip("f5_tts")
pytestmark = pytest.mark.model

SETTINGS = Settings(device="cpu", precision="fp32")
CONFIG: ModelConfig = dataclasses.replace(CONFIGS["F5-TTS"], mel_spec_type="bigvgan")


@pytest.fixture
def has_code() -> bool:
    import_infer()  # and stand-ins for what plots, which BigVGAN's code imports, too
    try:
        import_bigvgan()
    except ModelUnavailable:
        return False
    return True


def test_without_its_code_the_error_says_where_it_is(tmp_path: Path, has_code: bool) -> None:
    if has_code:
        pytest.skip("this f5-tts has it")
    directory = write_checkpoint(tmp_path / "f5", CONFIG)
    with pytest.raises(ModelUnavailable, match=r"wheels do not have; install f5-tts from its repository with the sub"):
        load("f5", directory, SETTINGS, [Device.at_start("cpu")])


@pytest.mark.parametrize("normed", [True, False])
def test_the_samples_are_those_of_f5_tts_alone(tmp_path: Path, has_code: bool, normed: bool) -> None:
    if not has_code:
        pytest.skip("this f5-tts is a wheel, without third_party/BigVGAN")
    bigvgan = import_bigvgan()
    vocoder = bigvgan.BigVGAN(bigvgan.AttrDict(BIGVGAN | {"upsample_initial_channel": 64}))
    randomise(vocoder)
    if not normed:
        vocoder.remove_weight_norm()
    directory = write_checkpoint(tmp_path / "f5", CONFIG)
    (directory / "vocoder.safetensors").unlink()
    save_file(vocoder.state_dict(), directory / "vocoder.safetensors")
    cfm = import_infer().load_model(
        import_model().DiT,
        CONFIG.arch,
        str(directory / "model.safetensors"),
        mel_spec_type="bigvgan",
        vocab_file=str(directory / "vocab.txt"),
        device="cpu",
    )
    reference = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)
    segment = make_segment(reference, tuple(range(20)), 120, 4, 2.0, -1.0, 7)
    with torch.inference_mode():
        mel, _ = cfm.sample(
            torch.from_numpy(reference)[None], torch.tensor([segment.tokens]), 120,
            steps=4, cfg_strength=2.0, sway_sampling_coef=-1.0, seed=7,
        )  # fmt: skip
        n_reference = len(reference) // HOP_SAMPLES
        theirs = vocoder(mel[:, n_reference:].permute(0, 2, 1)).squeeze().numpy()
    ours = load("f5", directory, SETTINGS, [Device.at_start("cpu")]).generate(segment)
    assert len(ours) == (120 - n_reference) * HOP_SAMPLES
    assert np.sqrt(np.mean(theirs**2)) > 1e-4
    assert np.abs(ours - theirs).max() <= 1e-6
