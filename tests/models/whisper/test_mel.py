"""The spectrogram is faster-whisper's, for clips of any length and in a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from f5_worker.models.whisper.mel import log_mel, log_mels, n_frames, pad_clips
from tests.models.whisper.small import clip

CPU = torch.device("cpu")
LENGTHS = (0, 1, 40, 159, 160, 161, 16_000, 16_000 + 159, 24_007)


@pytest.mark.parametrize("mels", [80, 128])
def test_it_is_faster_whispers(mels: int) -> None:
    from faster_whisper.feature_extractor import FeatureExtractor

    clips = [clip(2.0, seed)[:length] for seed, length in enumerate(LENGTHS)]
    waves = pad_clips(clips, len(clips) + 1, 152)
    found, frames = log_mels(waves, torch.tensor([*LENGTHS, 0]), mels)
    assert torch.isfinite(found).all()  # also of the row without a clip
    extract = FeatureExtractor(feature_size=mels)
    for row, samples in enumerate(clips):
        expected = extract(samples)
        np.testing.assert_allclose(log_mel(samples, mels, CPU).numpy(), expected, atol=1e-4)
        count = n_frames(len(samples))
        np.testing.assert_allclose(found[row, :, :count].numpy(), expected[:, :count], atol=1e-4)
        assert not found[row, :, count:].any()
        assert frames[row] == max(2, count + count % 2)
