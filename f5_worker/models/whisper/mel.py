"""Whisper's log-mel spectrogram, equal to faster-whisper's `FeatureExtractor`.

Legend: b rows, m mel bands, f frames, nw samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.models.cuda.upload import upload
from f5_worker.models.spectrogram import HOP_SAMPLES, N_FFT, mel_powers

SILENCE_SAMPLES = 160  # added at the end before the spectrogram is taken
POWER_FLOOR = 1e-10
RANGE = 8.0  # of the log10 powers of a clip, below its loudest one


def n_frames(n_samples: int) -> int:
    """Return the frames that a clip's sound has, the last of them begun."""
    return -(-n_samples // HOP_SAMPLES)


def pad_clips(clips: Sequence[Samples], rows: int, frames: int) -> Tensor:
    """Return clips `[nw]` as rows of what `log_mels` takes, on the host; rows without a clip are silent.

    Args:
        frames: of the longest clip, or more.
    """
    padded = np.zeros((rows, frames * HOP_SAMPLES + SILENCE_SAMPLES + N_FFT), np.float32)
    for row, clip in zip(padded, clips, strict=False):
        wave = np.pad(np.pad(clip, (0, SILENCE_SAMPLES)), N_FFT // 2, mode="reflect")
        row[: len(wave)] = wave
    return torch.from_numpy(padded)


def log_mel(recording: Samples, mels: int, device: torch.device) -> Tensor:
    """Return the log-mel frames `[m, f]` fp32 of a recording `[nw]` of any length, the last of them of its end."""
    waves = upload(pad_clips([recording], 1, n_frames(len(recording))), device)
    lengths = torch.tensor([len(recording)], device=device)
    return _log_mels(waves, lengths, mels)[0, :, : len(recording) // HOP_SAMPLES + 1]


def log_mels(waves: Tensor, lengths: Tensor, mels: int) -> tuple[Tensor, Tensor]:
    """Return the log-mel frames `[b, m, f]` fp32 of padded clips, and how many `[b]` each has.

    Their number is even, since the encoder takes two at a time; what is behind a clip's end is zero.

    Args:
        waves: as from `pad_clips`, for an even number of frames.
        lengths: `[b]` samples of each clip.
    """
    n_columns = (waves.shape[1] - SILENCE_SAMPLES - N_FFT) // HOP_SAMPLES
    frames = (lengths + HOP_SAMPLES - 1) // HOP_SAMPLES
    is_behind = torch.arange(n_columns, device=waves.device) >= frames[:, None]
    logs = _log_mels(waves, lengths, mels)[..., :n_columns]
    return logs.masked_fill(is_behind[:, None], 0.0), (frames + frames % 2).clamp(min=2)


def _log_mels(waves: Tensor, lengths: Tensor, mels: int) -> Tensor:
    """Return `[b, m, f]` of padded clips, which have `nw // HOP_SAMPLES + 1` frames each."""
    device = waves.device
    logs = mel_powers(waves, mels).clamp(min=POWER_FLOOR).log10()
    is_behind = torch.arange(logs.shape[-1], device=device) > (lengths // HOP_SAMPLES)[:, None]
    loudest = logs.masked_fill(is_behind[:, None], -torch.inf).amax((1, 2), keepdim=True)
    return (torch.maximum(logs, loudest - RANGE) + 4.0) / 4.0
