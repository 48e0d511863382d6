"""Mel spectra of speech at 16 kHz as librosa makes them (Slaney's scale and norm): windows of 25 ms, every 10 ms.

Legend: b rows, m mel bands, f frames, nw samples at 16 kHz.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16_000
N_FFT = 400
HOP_SAMPLES = 160

# Slaney's scale: linear up to a frequency, logarithmic above it.
LINEAR_HZ_PER_MEL = 200.0 / 3
LINEAR_UNTIL_HZ = 1_000.0
LOG_STEP = np.log(6.4) / 27.0


def mel_powers(waves: Tensor, mels: int) -> Tensor:
    """Return the power `[b, m, f]` in each mel band of the windows that begin at each hop of waves `[b, nw]`."""
    device = waves.device
    spectrum = torch.stft(waves, N_FFT, HOP_SAMPLES, window=_window(device), center=False, return_complex=True)
    return _filters(mels, device) @ spectrum.abs().square()


@lru_cache(maxsize=32)
def _window(device: torch.device) -> Tensor:
    return torch.from_numpy(np.hanning(N_FFT + 1)[:-1].astype(np.float32)).to(device)


@lru_cache(maxsize=32)
def _filters(mels: int, device: torch.device) -> Tensor:
    """Return triangular filters `[m, N_FFT // 2 + 1]` of equal area."""
    frequencies = np.fft.rfftfreq(N_FFT, 1.0 / SAMPLE_RATE)
    linear_mels = LINEAR_UNTIL_HZ / LINEAR_HZ_PER_MEL
    last_mel = linear_mels + np.log(SAMPLE_RATE / 2 / LINEAR_UNTIL_HZ) / LOG_STEP
    points = np.linspace(0.0, last_mel, mels + 2)
    above = LINEAR_UNTIL_HZ * np.exp(LOG_STEP * (np.maximum(points, linear_mels) - linear_mels))
    corners = np.where(points < linear_mels, points * LINEAR_HZ_PER_MEL, above)
    distances = corners[:, None] - frequencies
    rising = -distances[:-2] / np.diff(corners)[:-1, None]
    falling = distances[2:] / np.diff(corners)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (corners[2:] - corners[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32)).to(device)
