"""F5's diffusion transformer for inference, loading upstream checkpoints key by key.

Equal to `f5_tts.model.backbones.dit.DiT` of f5-tts 1.1.22, but split by what changes when:
once a segment (`condition`), once a schedule (`modulations`), once a step (`forward`).

Segments of different lengths go through one forward side by side (packed.py), each at its own time.

Legend: b rows of a segment (1, or 2 with guidance), n frames, nt text tokens, d model width, m mel bands, s steps,
t times that meet in one forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.f5.attention import Attend, Attention, attend_dense, rotary_tables
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, Arch
from f5_worker.models.f5.cuda.ops import Gated, Ops, TorchOps
from f5_worker.models.f5.cuda.packed import Packed, Rows
from f5_worker.models.f5.cuda.upload import upload

TIME_FEATURES = 256


@dataclass(frozen=True)
class Backend:
    """How the model computes, where there is a choice; the defaults run everywhere."""

    ops: Ops = field(default_factory=TorchOps)
    attend: Attend = attend_dense


@dataclass(frozen=True)
class Modulations:
    """AdaLN shifts, scales and gates: blocks `[s, depth, 6, d]`, out `[s, 2, d]`; s is t in a forward."""

    blocks: Tensor
    out: Tensor


class GlobalResponseNorm(nn.Module):
    """GRN of ConvNeXt V2 (arXiv 2301.00808); its statistics run over the whole padded text, but for what is `padding_mask`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        energy = torch.linalg.vector_norm(x if padding_mask is None else x.masked_fill(padding_mask, 0.0), dim=1, keepdim=True)
        relative = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        out: Tensor = self.gamma * (x * relative) + self.beta + x
        return out


class TextBlock(nn.Module):
    """ConvNeXt V2 block over the text, `[b, n, d]` -> `[b, n, d]`; padding_mask: as `DiT.condition_padded` takes it."""

    def __init__(self, dim: int, mult: int = 2) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, dim * mult)
        self.grn = GlobalResponseNorm(dim * mult)
        self.pwconv2 = nn.Linear(dim * mult, dim)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        mixed = self.norm(self.dwconv(x.transpose(1, 2)).transpose(1, 2))
        out: Tensor = x + self.pwconv2(self.grn(F.gelu(self.pwconv1(mixed)), padding_mask))
        return out


class TextEmbedding(nn.Module):
    """Characters to one vector a frame: padded to the segment's length or spread evenly over it."""

    def __init__(self, arch: Arch, vocabulary_size: int) -> None:
        super().__init__()
        self.mask_padding = arch.text_mask_padding
        self.spread = arch.text_embedding_average_upsampling
        self.text_embed = nn.Embedding(vocabulary_size + 1, arch.text_dim)  # row 0 is the filler
        self.text_blocks = nn.ModuleList(TextBlock(arch.text_dim) for _ in range(arch.conv_layers))
        self.register_buffer("positions", _text_positions(MAX_SEGMENT_FRAMES, arch.text_dim), persistent=False)

    def forward(self, tokens: Tensor, padding_mask: Tensor | None, *, guided: bool) -> Tensor:
        """`tokens [n]`, 1 + index with filler behind -> `[b, n, text_dim]`, row 1 for the unconditional branch.

        padding_mask: as `DiT.condition_padded` takes it.
        """
        x: Tensor = self.text_embed(torch.stack((tokens, torch.zeros_like(tokens))) if guided else tokens.unsqueeze(0))
        if len(self.text_blocks) > 0:
            hidden = (tokens == 0).unsqueeze(-1) if self.mask_padding else padding_mask
            x = x + self.positions[: len(tokens)]  # type: ignore[index]
            x = x if hidden is None else x.masked_fill(hidden, 0.0)
            for block in self.text_blocks:
                x = block(x, padding_mask)
                x = x if hidden is None else x.masked_fill(hidden, 0.0)
        return x

    def even(self, nt: int, n: int) -> Tensor:
        """Frame -> token: each token `n // nt` frames, the last `n % nt` tokens one more, as upstream spreads."""
        repeats = torch.full((nt,), n // nt, device=self.text_embed.weight.device)
        repeats[nt - n % nt :] += 1
        return torch.repeat_interleave(repeats, output_size=n)


class TimeEmbedding(nn.Module):
    """Sinusoidal features of the flow's time and a small MLP, `[s]` -> `[s, d]`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(TIME_FEATURES, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor, dtype: torch.dtype) -> Tensor:
        half = TIME_FEATURES // 2
        rates = torch.exp(torch.arange(half, device=time.device).float() * -(math.log(10_000) / (half - 1)))
        angles = 1000 * time.float().unsqueeze(1) * rates
        features = torch.cat((angles.sin(), angles.cos()), dim=-1)
        out: Tensor = self.time_mlp(features.to(dtype))
        return out


class ConvPosition(nn.Module):
    """Convolutional position embedding, `[n, d]` -> `[n, d]`."""

    def __init__(self, dim: int, kernel: int = 31, groups: int = 16) -> None:
        super().__init__()
        convolutions = (nn.Conv1d(dim, dim, kernel, groups=groups, padding=kernel // 2) for _ in range(2))
        self.conv1d = nn.Sequential(next(convolutions), nn.Mish(), next(convolutions), nn.Mish())

    def forward(self, x: Tensor, rows: Rows, ops: Ops) -> Tensor:
        for layer in self.conv1d:
            if isinstance(layer, nn.Conv1d):  # each with the Mish behind it
                x = ops.convolve(x, rows, layer)
        return x


class InputEmbedding(nn.Module):
    """Projection of noisy mel, reference mel and text, side by side, to the model's width."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.mel_dim = arch.mel_dim
        self.proj = nn.Linear(2 * arch.mel_dim + arch.text_dim, arch.dim)
        self.conv_pos_embed = ConvPosition(arch.dim)

    def fixed(self, reference: Tensor, text: Tensor) -> Tensor:
        """The part that does not depend on the noise: `[b, n, m]`, `[b, n, text_dim]` -> `[b, n, d]`."""
        return F.linear(torch.cat((reference, text), dim=-1), self.proj.weight[:, self.mel_dim :], self.proj.bias)

    def forward(self, x: Tensor, packed: Packed, ops: Ops) -> Tensor:
        """`x` of the segments once, though those with guidance have two rows -> `[n, d]`."""
        projected = ops.project(x, self.proj.weight[:, : self.mel_dim], packed)
        out: Tensor = self.conv_pos_embed(projected, packed.rows, ops) + projected
        return out


class AdaNorm(nn.Module):
    """The linear layer that turns the time embedding into `parts` vectors of shift, scale and gate."""

    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(dim, dim * parts)

    def forward(self, time: Tensor) -> Tensor:
        """`[s, d]` -> `[s, parts, d]`."""
        out: Tensor = self.linear(F.silu(time)).view(len(time), self.parts, -1)
        return out


class FeedForward(nn.Module):
    """Two linear layers around a tanh-GELU; nested as upstream nests them, for the keys."""

    def __init__(self, dim: int, mult: int) -> None:
        super().__init__()
        into = nn.Sequential(nn.Linear(dim, dim * mult), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(into, nn.Identity(), nn.Linear(dim * mult, dim))

    def forward(self, x: Tensor, ops: Ops) -> Tensor:
        out: Tensor = self.ff[2](ops.linear_gelu(x, self.ff[0][0]))  # type: ignore[index]
        return out


class Block(nn.Module):
    """One transformer block with adaptive norms."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.attn_norm = AdaNorm(arch.dim, parts=6)
        self.attn = Attention(arch.dim, arch.heads, arch.dim_head, arch.qk_norm is not None, arch.pe_attn_head)
        self.ff = FeedForward(arch.dim, arch.ff_mult)

    def forward(
        self, x: Tensor, added: Gated | None, modulation: Tensor, packed: Packed, times: Tensor | None, run: Backend
    ) -> tuple[Tensor, Gated]:
        """`x [n, d]` and what is still to be added to it, `modulation [t, 6, d]` -> the same two."""
        shift, scale, gate, ff_shift, ff_scale, ff_gate = modulation.unbind(1)
        x, normed = run.ops.norm(x, added, shift, scale, times)
        mixed = self.attn(normed, packed.cos, packed.sin, packed.rows, run.ops, run.attend)
        x, normed = run.ops.norm(x, Gated(mixed, gate), ff_shift, ff_scale, times)
        return x, Gated(self.ff(normed, run.ops), ff_gate)


class DiT(nn.Module):
    """The velocity field of F5-TTS. Module names give upstream's checkpoint keys."""

    def __init__(self, arch: Arch, vocabulary_size: int) -> None:
        super().__init__()
        self.arch = arch
        self.time_embed = TimeEmbedding(arch.dim)
        self.text_embed = TextEmbedding(arch, vocabulary_size)
        self.input_embed = InputEmbedding(arch)
        self.transformer_blocks = nn.ModuleList(Block(arch) for _ in range(arch.depth))
        self.long_skip_connection = nn.Linear(arch.dim * 2, arch.dim, bias=False) if arch.long_skip_connection else None
        self.norm_out = AdaNorm(arch.dim, parts=2)
        self.proj_out = nn.Linear(arch.dim, arch.mel_dim)
        self.backend = Backend()
        cos, sin = rotary_tables(MAX_SEGMENT_FRAMES, arch.dim_head)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        return self.proj_out.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.proj_out.weight.device

    def condition(self, reference: Tensor, tokens: Tensor, n: int, *, guided: bool) -> Tensor:
        """What no step changes of a segment: its part of `Packed.fixed`, `[b, n, d]`.

        Args:
            reference: mel of the reference clip, `[nr, m]`, nr < n.
            tokens: vocabulary indices of reference and target text, `[nt]`.
            n: frames of reference and target together.
            guided: add the unconditional row that classifier-free guidance needs.
        """
        nt = min(len(tokens), n)
        known = F.pad(reference.to(self.dtype), (0, 0, 0, n - len(reference)))
        padded = F.pad(tokens[:n] + 1, (0, n - nt))
        spread = self.text_embed.even(nt, n) if self.text_embed.spread else None
        return self.condition_padded(known, padded, None, spread, guided=guided)

    def condition_padded(
        self, known: Tensor, tokens: Tensor, padding_mask: Tensor | None, spread: Tensor | None, *, guided: bool
    ) -> Tensor:
        """`condition`, for n frames or more.

        Args:
            known: mel of the reference, then zeros, `[n, m]`.
            tokens: 1 + index of each, then filler, 0, `[n]`.
            padding_mask: the frames behind the segment's last, `[n, 1]`, if there are any.
            spread: each frame's place in the text, `[n]`, for a model that spreads the text over its frames.
        """
        text = self.text_embed(tokens, padding_mask, guided=guided)
        text = text if spread is None else text[:, spread]
        rows = torch.stack((known, torch.zeros_like(known))) if guided else known.unsqueeze(0)
        return self.input_embed.fixed(rows, text)

    def pack(self, conditions: Sequence[Tensor], strengths: Sequence[float]) -> Packed:
        """Put segments side by side; `conditions`: as from `condition`, those with guidance first."""
        parts = [condition[0] for condition in conditions]
        parts += [condition[1] for condition in conditions if len(condition) > 1]
        rows = Rows.of([len(part) for part in parts], self.device)
        n, f = sum(rows.lengths), sum(rows.lengths[: len(conditions)])
        own = (np.arange(len(parts)) % len(conditions)).repeat(rows.lengths)
        frames = np.arange(n)
        indices = np.stack((own, frames % f, np.where(frames < n - f, frames + f, frames)))
        segment, source, twin = upload(torch.from_numpy(indices), self.device).unbind()
        strength = upload(torch.from_numpy(np.asarray(strengths, np.float32)[own[:f], None]), self.device)
        cos, sin = self.cos[rows.positions], self.sin[rows.positions]  # type: ignore[index]
        return Packed(rows, torch.cat(parts), cos, sin, segment, source, twin[:f], strength)

    def modulations(self, times: Tensor) -> Modulations:
        """Adaptive norms for all steps of a schedule: they depend on nothing but the time, `times [s]`."""
        time = self.time_embed(times, self.dtype)
        blocks = torch.stack([block.attn_norm(time) for block in self.transformer_blocks], dim=1)  # type: ignore[operator]
        return Modulations(blocks, self.norm_out(time))

    def forward(self, x: Tensor, packed: Packed, modulations: Modulations) -> Tensor:
        """Velocity of every row.

        Args:
            x: noisy mel of the segments, one after another, `[f, m]`.
            modulations: one time for all segments, or one for each.

        Returns:
            `[n, m]`: of the conditioned rows, then of the unconditional ones.
        """
        times = None if len(modulations.out) == 1 else packed.segment
        h: Tensor = self.input_embed(x, packed, self.backend.ops)
        residual, added = h, None
        for block, modulation in zip(self.transformer_blocks, modulations.blocks.unbind(1), strict=True):
            h, added = block(h, added, modulation, packed, times, self.backend)
        scale, shift = modulations.out.unbind(1)
        h, normed = self.backend.ops.norm(h, added, shift, scale, times)
        if self.long_skip_connection is not None:
            h = self.long_skip_connection(torch.cat((h, residual), dim=-1))
            _, normed = self.backend.ops.norm(h, None, shift, scale, times)
        return self.backend.ops.output_linear(normed, self.proj_out)


def _text_positions(n: int, dim: int, theta: float = 10_000.0) -> Tensor:
    """Cosines, then sines, of text positions 0..n-1, `[n, d]` fp32 (upstream `precompute_freqs_cis`)."""
    rates = 1.0 / theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
    angles = torch.outer(torch.arange(n), rates)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
