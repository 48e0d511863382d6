"""Vocos: mel spectrogram to waveform (arXiv 2306.00814).

Parameter names are those of the published checkpoint `charactr/vocos-mel-24khz`; sizes are read from the weights.

Legend: b batch, n frames, d width, m mel bands, nw samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.engine.config import HOP_SAMPLES, N_FFT
from f5_worker.engine.uninitialised import Uninitialised

MAX_MAGNITUDE = 1e2  # upstream's guard against a runaway exponential


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution and a scaled two-layer residual, `[b, d, n]` -> `[b, d, n]`."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, inner)
        self.pwconv2 = nn.Linear(inner, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.norm(self.dwconv(x).transpose(1, 2))
        out: Tensor = x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(mixed)))).transpose(1, 2)
        return out


class Backbone(nn.Module):
    """Mel frames to hidden frames, `[b, m, n]` -> `[b, n, d]`."""

    def __init__(self, mel_dim: int, dim: int, inner: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(mel_dim, dim, kernel_size=7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.convnext = nn.ModuleList(ConvNeXtBlock(dim, inner) for _ in range(layers))
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.norm(self.embed(mel).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        out: Tensor = self.final_layer_norm(x.transpose(1, 2))
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
        """Build from a checkpoint's tensors; the window and the feature extractor are derived, not read."""
        kept = {k: v.float() for k, v in weights.items() if k.startswith(("backbone.", "head.out."))}
        dim, mel_dim, _ = kept["backbone.embed.weight"].shape
        inner = kept["backbone.convnext.0.pwconv1.weight"].shape[0]
        layers = 1 + max(int(k.split(".")[2]) for k in kept if k.startswith("backbone.convnext."))
        with Uninitialised():
            vocoder = cls(mel_dim, dim, inner, layers)
        vocoder.load_state_dict(kept, assign=True)
        return vocoder.eval().requires_grad_(False)

    def forward(self, mel: Tensor) -> Tensor:
        """`mel [b, n, m]` -> `[b, (n - 1) * HOP_SAMPLES]`, centred as the mel was."""
        hidden = self.head.out(self.backbone(mel.float().transpose(1, 2))).transpose(1, 2)
        magnitude, phase = hidden.chunk(2, dim=1)
        spectrum = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), phase)
        window = torch.hann_window(N_FFT, device=mel.device)
        return torch.istft(spectrum, N_FFT, HOP_SAMPLES, window=window, center=True)
