"""The mel spectrogram that F5 and Vocos share, without torchaudio.

Equal to upstream's `get_vocos_mel_spectrogram` (torchaudio `MelSpectrogram`, HTK scale, no norm, power 1).

Legend: n frames, m mel bands, nw samples.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from f5_worker.models.f5.config import HOP_SAMPLES, MEL_BANDS, N_FFT, SAMPLE_RATE

LOG_FLOOR = 1e-5


def log_mel(samples: Tensor) -> Tensor:
    """Return the natural log of the mel magnitudes of `samples [nw]` at 24 kHz, `[n, m]` fp32."""
    window = torch.hann_window(N_FFT, device=samples.device)
    spectrum = torch.stft(
        samples, N_FFT, HOP_SAMPLES, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    mel = spectrum.abs().transpose(0, 1) @ _filterbank(samples.device)
    return mel.clamp(min=LOG_FLOOR).log()


@lru_cache(maxsize=32)
def _filterbank(device: torch.device) -> Tensor:
    """Return triangular filters on the HTK mel scale, `[N_FFT // 2 + 1, m]`."""
    frequencies = np.linspace(0, SAMPLE_RATE // 2, N_FFT // 2 + 1)
    corners_mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), MEL_BANDS + 2)
    corners = 700 * (10 ** (corners_mel / 2595) - 1)
    distance = corners[None, :] - frequencies[:, None]
    rising = -distance[:, :-2] / np.diff(corners)[:-1]
    falling = distance[:, 2:] / np.diff(corners)[1:]
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32)).to(device)
