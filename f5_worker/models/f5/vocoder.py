"""Vocos: mel spectrogram to waveform (arXiv 2306.00814).

Parameter names are those of the published checkpoint `charactr/vocos-mel-24khz`; sizes are read from the weights.

Legend: n frames (of several segments, one after another), d width, m mel bands, nw samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.f5.config import HOP_SAMPLES, N_FFT
from f5_worker.models.f5.cuda.packed import Rows, convolve_rows
from f5_worker.models.f5.skip_init import SkipInit

MAX_MAGNITUDE = 1e2  # upstream's guard against an exponential that runs away

Convolve = Callable[[Tensor, nn.Conv1d], Tensor]
"""A convolution along the frames of each segment separately, `[n, d]` -> `[n, d]`."""


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution and a scaled two-layer residual, `[n, d]` -> `[n, d]`."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, inner)
        self.pwconv2 = nn.Linear(inner, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, convolve: Convolve) -> Tensor:
        """Apply the block to `x [n, d]`."""
        h = self.norm(convolve(x, self.dwconv))
        out: Tensor = x + self.gamma * self.pwconv2(F.gelu(self.pwconv1(h)))
        return out


class Backbone(nn.Module):
    """Mel frames to hidden frames, `[n, m]` -> `[n, d]`."""

    def __init__(self, mel_dim: int, dim: int, inner: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(mel_dim, dim, kernel_size=7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.convnext = nn.ModuleList(ConvNeXtBlock(dim, inner) for _ in range(layers))
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, mel: Tensor, convolve: Convolve) -> Tensor:
        """Return the hidden frames of `mel [n, m]`."""
        x = self.norm(convolve(mel, self.embed))
        for block in self.convnext:
            x = block(x, convolve)
        out: Tensor = self.final_layer_norm(x)
        return out


class Head(nn.Module):
    """Hidden frames to magnitudes and phases."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, N_FFT + 2)


class Vocos(nn.Module):
    """Mel to samples. Runs in fp32: its exponential overflows fp16."""

    def __init__(self, mel_dim: int, dim: int, inner: int, layers: int) -> None:
        super().__init__()
        self.backbone = Backbone(mel_dim, dim, inner, layers)
        self.head = Head(dim)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Vocos:
        """Build the vocoder from a checkpoint's tensors, except for the window and the feature extractor."""
        kept = {k: v.float() for k, v in weights.items() if k.startswith(("backbone.", "head.out."))}
        dim, mel_dim, _ = kept["backbone.embed.weight"].shape
        inner = kept["backbone.convnext.0.pwconv1.weight"].shape[0]
        layers = 1 + max(int(k.split(".")[2]) for k in kept if k.startswith("backbone.convnext."))
        with SkipInit():
            vocoder = cls(mel_dim, dim, inner, layers)
        vocoder.load_state_dict(kept, assign=True)
        return vocoder.eval().requires_grad_(False)

    def forward(self, mels: Sequence[Tensor]) -> list[Tensor]:
        """Decode mels separately, each `[n, m]` -> `[(n - 1) * HOP_SAMPLES]`, centred as the mel was."""
        rows = Rows.from_lengths([len(mel) for mel in mels], mels[0].device)

        def convolve(x: Tensor, convolution: nn.Conv1d) -> Tensor:
            return convolve_rows(x, rows, convolution)

        hidden = self.head.out(self.backbone(torch.cat(list(mels)).float(), convolve))
        return [_istft(part, None) for part in hidden.split_with_sizes(rows.lengths)]

    def decode_padded(self, mel: Tensor, padding_mask: Tensor) -> Tensor:
        """Decode a mel whose last frames are padding -> `[(n - 1) * HOP_SAMPLES]`, the mel's own samples first.

        padding_mask: `[n, 1]`, True for padding.
        """

        def convolve(x: Tensor, convolution: nn.Conv1d) -> Tensor:
            out: Tensor = convolution(x.masked_fill(padding_mask, 0.0).T.unsqueeze(0))
            return out.squeeze(0).T

        return _istft(self.head.out(self.backbone(mel, convolve)), padding_mask)


def n_samples(n: int) -> int:
    """Return the samples of a mel of `n` frames."""
    return (n - 1) * HOP_SAMPLES


def _istft(hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
    """Return the inverse short-time Fourier transform of `[n, N_FFT + 2]`, as `torch.istft`, without padding frames."""
    magnitude, phase = hidden.chunk(2, dim=1)
    spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
    window = torch.hann_window(N_FFT, device=hidden.device)
    frames = torch.fft.irfft(spectrum, N_FFT, dim=1) * window
    weights = (window * window).expand_as(frames)
    if padding_mask is not None:
        frames, weights = frames.masked_fill(padding_mask, 0.0), weights.masked_fill(padding_mask, 0.0)
    centre = N_FFT // 2
    end = centre + n_samples(len(hidden))
    return _overlap_add(frames)[centre:end] / _overlap_add(weights)[centre:end]


def _overlap_add(frames: Tensor) -> Tensor:
    """Return the sum of `[n, N_FFT]`, each frame one hop behind the one before."""
    parts = frames.reshape(len(frames), -1, HOP_SAMPLES).unbind(1)
    last = len(parts) - 1
    return torch.stack([F.pad(part, (0, 0, i, last - i)) for i, part in enumerate(parts)]).sum(0).flatten()
