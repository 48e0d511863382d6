"""Whisper's log-mel spectrogram, equal to faster-whisper's `FeatureExtractor` (librosa's Slaney scale and norm).

Legend: b rows, m mel bands, f frames, nw samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from f5_worker.audio.levels import Samples
from f5_worker.models.f5.cuda.upload import upload
from f5_worker.models.whisper.config import HOP_SAMPLES, SAMPLE_RATE

N_FFT = 400
SILENCE_SAMPLES = 160  # added at the end before the spectrogram is taken
POWER_FLOOR = 1e-10
RANGE = 8.0  # of the log10 powers of a clip, below its loudest one

# Slaney's scale: linear up to a frequency, logarithmic above it.
LINEAR_HZ_PER_MEL = 200.0 / 3
LINEAR_UNTIL_HZ = 1_000.0
LOG_STEP = np.log(6.4) / 27.0


def n_frames(n_samples: int) -> int:
    """Return the frames that a clip's sound has, the last of them begun."""
    return -(-n_samples // HOP_SAMPLES)


def log_mel(recording: Samples, mels: int, device: torch.device) -> Tensor:
    """Return the log-mel frames `[m, f]` fp32 of a recording `[nw]` of any length, the last of them of its end."""
    return _log_mels([recording], mels, device)[0]


def log_mels(clips: Sequence[Samples], mels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the log-mel frames `[b, m, f]` fp32 of clips `[nw]`, and how many `[b]` each has.

    Their number is even, since the encoder takes two at a time; what is behind a clip's end is zero.
    """
    logs = _log_mels(clips, mels, device)
    counts = [n_frames(len(clip)) for clip in clips]
    length = max(2, max(counts) + max(counts) % 2)
    logs = functional.pad(logs, (0, max(0, length - logs.shape[-1])))[..., :length]
    frames = upload(torch.tensor(counts), device)
    is_behind = torch.arange(length, device=device) >= frames[:, None]
    return logs.masked_fill(is_behind[:, None], 0.0), (frames + frames % 2).clamp(min=2)


def _log_mels(clips: Sequence[Samples], mels: int, device: torch.device) -> Tensor:
    """Return `[b, m, f]` of clips, which have `nw // HOP_SAMPLES + 1` frames each."""
    waves = [np.pad(np.pad(clip, (0, SILENCE_SAMPLES)), N_FFT // 2, mode="reflect") for clip in clips]
    padded = np.zeros((len(waves), max(map(len, waves))), np.float32)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    spectrum = torch.stft(
        upload(torch.from_numpy(padded), device), N_FFT, HOP_SAMPLES, window=_window(device), center=False,
        return_complex=True,
    )  # fmt: skip
    powers = _filters(mels, device) @ spectrum[..., :-1].abs().square()
    logs = powers.clamp(min=POWER_FLOOR).log10()
    frames = upload(torch.tensor([len(clip) // HOP_SAMPLES + 1 for clip in clips]), device)
    is_behind = torch.arange(logs.shape[-1], device=device) >= frames[:, None]
    loudest = logs.masked_fill(is_behind[:, None], -torch.inf).amax((1, 2), keepdim=True)
    return (torch.maximum(logs, loudest - RANGE) + 4.0) / 4.0


@lru_cache(maxsize=4)
def _window(device: torch.device) -> Tensor:
    return torch.from_numpy(np.hanning(N_FFT + 1)[:-1].astype(np.float32)).to(device)


@lru_cache(maxsize=4)
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
