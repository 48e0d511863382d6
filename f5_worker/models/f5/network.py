"""F5's diffusion transformer for inference, loading upstream checkpoints key by key.

Equal to `f5_tts.model.backbones.dit.DiT` of f5-tts 1.1.22, but split by how often its parts change:
once a segment (`condition`), once a schedule (`modulations`), once a step (`forward`).

Segments of different lengths share one forward (packed.py), each at its own time.

Legend: b rows of a segment (1, or 2 with guidance), n frames, f of the conditional rows, nr of the reference, nt text
tokens, d model width, m mel bands, s steps, t distinct times in one forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f5_worker.models.cuda.upload import upload
from f5_worker.models.f5.attention import Attend, Attention, attend_dense, rotary_tables
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, Arch
from f5_worker.models.f5.cuda.ops import GatedBranch, Ops, TorchOps
from f5_worker.models.f5.cuda.packed import PackedBatch, Rows

TIME_FEATURES = 256


@dataclass(frozen=True)
class Backend:
    """The implementations that the model computes with, where there is a choice; the defaults run everywhere."""

    ops: Ops = field(default_factory=TorchOps)
    attend: Attend = attend_dense


@dataclass(frozen=True)
class Modulations:
    """AdaLN shifts, scales and gates: blocks `[s, depth, 6, d]`, out `[s, 2, d]`; s is t in a forward."""

    blocks: Tensor
    out: Tensor


class GlobalResponseNorm(nn.Module):
    """GRN of ConvNeXt V2 (arXiv 2301.00808); its statistics are over the whole text except for masked padding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, dim))
        self.beta = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Normalise `x [b, n, d]`; padding_mask: as in `DiT.condition_padded`."""
        unpadded = x if padding_mask is None else x.masked_fill(padding_mask, 0.0)
        norm = torch.linalg.vector_norm(unpadded, dim=1, keepdim=True)
        relative = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
        out: Tensor = self.gamma * (x * relative) + self.beta + x
        return out


class TextBlock(nn.Module):
    """ConvNeXt V2 block over the text, `[b, n, d]` -> `[b, n, d]`."""

    def __init__(self, dim: int, mult: int = 2) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, dim * mult)
        self.grn = GlobalResponseNorm(dim * mult)
        self.pwconv2 = nn.Linear(dim * mult, dim)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Apply the block to `x [b, n, d]`; padding_mask: as in `DiT.condition_padded`."""
        h = self.norm(self.dwconv(x.transpose(1, 2)).transpose(1, 2))
        out: Tensor = x + self.pwconv2(self.grn(F.gelu(self.pwconv1(h)), padding_mask))
        return out


class TextEmbedding(nn.Module):
    """Embeds text tokens, one vector a frame: padded to the segment's length, or upsampled evenly to it."""

    def __init__(self, arch: Arch, vocabulary_size: int) -> None:
        super().__init__()
        self.mask_padding = arch.text_mask_padding
        self.upsample = arch.text_embedding_average_upsampling
        self.text_embed = nn.Embedding(vocabulary_size + 1, arch.text_dim)  # row 0 is the padding token
        self.text_blocks = nn.ModuleList(TextBlock(arch.text_dim) for _ in range(arch.conv_layers))
        self.register_buffer("positions", _text_positions(MAX_SEGMENT_FRAMES, arch.text_dim), persistent=False)

    def forward(self, tokens: Tensor, padding_mask: Tensor | None, *, guided: bool) -> Tensor:
        """Embed `tokens [n]`, 1 + index and then padding -> `[b, n, text_dim]`; row 1 is the unconditional one.

        padding_mask: as in `DiT.condition_padded`.
        """
        x: Tensor = self.text_embed(torch.stack((tokens, torch.zeros_like(tokens))) if guided else tokens.unsqueeze(0))
        if len(self.text_blocks) > 0:
            mask = (tokens == 0).unsqueeze(-1) if self.mask_padding else padding_mask
            x = x + self.positions[: len(tokens)]  # type: ignore[index]
            x = x if mask is None else x.masked_fill(mask, 0.0)
            for block in self.text_blocks:
                x = block(x, padding_mask)
                x = x if mask is None else x.masked_fill(mask, 0.0)
        return x

    def upsample_indices(self, nt: int, n: int) -> Tensor:
        """Return the token of each frame, `[n]`: `n // nt` frames a token, the last `n % nt` one more, as upstream."""
        repeats = torch.full((nt,), n // nt, device=self.text_embed.weight.device)
        repeats[nt - n % nt :] += 1
        return torch.repeat_interleave(repeats, output_size=n)


class TimeEmbedding(nn.Module):
    """Sinusoidal features of the flow's time and a small MLP, `[s]` -> `[s, d]`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(TIME_FEATURES, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, time: Tensor, dtype: torch.dtype) -> Tensor:
        """Embed `time [s]`; the features are computed in fp32, the MLP in `dtype`."""
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
        """Return the embedding of each row of `x [n, d]`."""
        for layer in self.conv1d:
            if isinstance(layer, nn.Conv1d):  # `convolve` includes the Mish that follows
                x = ops.convolve(x, rows, layer)
        return x


class InputEmbedding(nn.Module):
    """Projection of noisy mel, reference mel and text, concatenated, to the model's width."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.mel_dim = arch.mel_dim
        self.proj = nn.Linear(2 * arch.mel_dim + arch.text_dim, arch.dim)
        self.conv_pos_embed = ConvPosition(arch.dim)

    def condition(self, reference: Tensor, text: Tensor) -> Tensor:
        """Project what does not depend on the noisy mel: `[b, n, m]`, `[b, n, text_dim]` -> `[b, n, d]`."""
        return F.linear(torch.cat((reference, text), dim=-1), self.proj.weight[:, self.mel_dim :], self.proj.bias)

    def forward(self, x: Tensor, packed: PackedBatch, ops: Ops) -> Tensor:
        """Embed `x [f, m]`, which both rows of a segment with guidance read -> `[n, d]`."""
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
        """Return the vectors of each time, `[s, d]` -> `[s, parts, d]`."""
        out: Tensor = self.linear(F.silu(time)).view(len(time), self.parts, -1)
        return out


class FeedForward(nn.Module):
    """Two linear layers around a tanh-GELU; nested as upstream nests them, for the checkpoint's keys."""

    def __init__(self, dim: int, mult: int) -> None:
        super().__init__()
        project_in = nn.Sequential(nn.Linear(dim, dim * mult), nn.GELU(approximate="tanh"))
        self.ff = nn.Sequential(project_in, nn.Identity(), nn.Linear(dim * mult, dim))

    def forward(self, x: Tensor, ops: Ops) -> Tensor:
        """Apply both layers, `[n, d]` -> `[n, d]`."""
        out: Tensor = self.ff[2](ops.linear_gelu(x, self.ff[0][0]))  # type: ignore[index]
        return out


class Block(nn.Module):
    """A transformer block with adaptive norms."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.attn_norm = AdaNorm(arch.dim, parts=6)
        self.attn = Attention(arch.dim, arch.heads, arch.dim_head, arch.qk_norm is not None, arch.pe_attn_head)
        self.ff = FeedForward(arch.dim, arch.ff_mult)

    def forward(
        self,
        x: Tensor,
        branch: GatedBranch | None,
        modulation: Tensor,
        packed: PackedBatch,
        time_index: Tensor | None,
        backend: Backend,
    ) -> tuple[Tensor, GatedBranch]:
        """Return the residual stream `x [n, d]` and the branch still to be added to it, given the same two.

        modulation: `[t, 6, d]`.
        """
        ops = backend.ops
        shift, scale, gate, ff_shift, ff_scale, ff_gate = modulation.unbind(1)
        x, normed = ops.norm(x, branch, shift, scale, time_index)
        attended = self.attn(normed, packed.cos, packed.sin, packed.rows, ops, backend.attend)
        x, normed = ops.norm(x, GatedBranch(attended, gate), ff_shift, ff_scale, time_index)
        return x, GatedBranch(self.ff(normed, ops), ff_gate)


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
        """Return the precision of the weights."""
        return self.proj_out.weight.dtype

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.proj_out.weight.device

    def condition(self, reference: Tensor, tokens: Tensor, n: int, *, guided: bool) -> Tensor:
        """Return what no step changes of a segment: its part of `PackedBatch.condition`, `[b, n, d]`.

        Args:
            reference: mel of the reference clip, `[nr, m]`, nr < n.
            tokens: vocabulary indices of the reference's transcript and the text to speak, `[nt]`.
            n: frames of reference and target together.
            guided: add the unconditional row that classifier-free guidance needs.
        """
        nt = min(len(tokens), n)
        padded_reference = F.pad(reference.to(self.dtype), (0, 0, 0, n - len(reference)))
        padded_tokens = F.pad(tokens[:n] + 1, (0, n - nt))
        upsample = self.text_embed.upsample_indices(nt, n) if self.text_embed.upsample else None
        return self.condition_padded(padded_reference, padded_tokens, None, upsample, guided=guided)

    def condition_padded(
        self, reference: Tensor, tokens: Tensor, padding_mask: Tensor | None, upsample: Tensor | None, *, guided: bool
    ) -> Tensor:
        """Return `condition` for padded inputs, which may be longer than the segment.

        Args:
            reference: mel of the reference, then zeros, `[n, m]`.
            tokens: 1 + index of each token, then 0 as padding, `[n]`.
            padding_mask: True for frames beyond the segment's end, `[n, 1]`; None if there are none.
            upsample: the token of each frame, `[n]`, for a model that upsamples the text to its frames.
        """
        text = self.text_embed(tokens, padding_mask, guided=guided)
        text = text if upsample is None else text[:, upsample]
        references = torch.stack((reference, torch.zeros_like(reference))) if guided else reference.unsqueeze(0)
        return self.input_embed.condition(references, text)

    def pack(self, conditions: Sequence[Tensor], guidance_scales: Sequence[float]) -> PackedBatch:
        """Pack segments into one batch; `conditions`: as from `condition`, those with guidance first."""
        parts = [condition[0] for condition in conditions]
        parts += [condition[1] for condition in conditions if len(condition) > 1]
        rows = Rows.from_lengths([len(part) for part in parts], self.device)
        n, f = sum(rows.lengths), sum(rows.lengths[: len(conditions)])
        segment = (np.arange(len(parts)) % len(conditions)).repeat(rows.lengths)
        frames = np.arange(n)
        indices = np.stack((segment, frames % f, np.where(frames < n - f, frames + f, frames)))
        segment_index, source_frame, unconditional_frame = upload(torch.from_numpy(indices), self.device).unbind()
        scale_of_frame = np.asarray(guidance_scales, np.float32)[segment[:f], None]
        return PackedBatch(
            rows=rows,
            condition=torch.cat(parts),
            cos=self.cos[rows.positions],  # type: ignore[index]
            sin=self.sin[rows.positions],  # type: ignore[index]
            segment_index=segment_index,
            source_frame=source_frame,
            unconditional_frame=unconditional_frame[:f],
            guidance_scale=upload(torch.from_numpy(scale_of_frame), self.device),
        )

    def modulations(self, times: Tensor) -> Modulations:
        """Return the adaptive norms for all steps of a schedule: they depend only on the time, `times [s]`."""
        time = self.time_embed(times, self.dtype)
        blocks = torch.stack([block.attn_norm(time) for block in self.transformer_blocks], dim=1)  # type: ignore[operator]
        return Modulations(blocks, self.norm_out(time))

    def forward(self, x: Tensor, packed: PackedBatch, modulations: Modulations) -> Tensor:
        """Return the velocity of every row.

        Args:
            x: noisy mel of the segments, one after another, `[f, m]`.
            modulations: of one time for all segments, or of one time for each.

        Returns:
            `[n, m]`: the conditional rows, then the unconditional ones.
        """
        ops = self.backend.ops
        time_index = None if len(modulations.out) == 1 else packed.segment_index
        h: Tensor = self.input_embed(x, packed, ops)
        embedded, branch = h, None
        for block, modulation in zip(self.transformer_blocks, modulations.blocks.unbind(1), strict=True):
            h, branch = block(h, branch, modulation, packed, time_index, self.backend)
        scale, shift = modulations.out.unbind(1)
        h, normed = ops.norm(h, branch, shift, scale, time_index)
        if self.long_skip_connection is not None:
            h = self.long_skip_connection(torch.cat((h, embedded), dim=-1))
            _, normed = ops.norm(h, None, shift, scale, time_index)
        return ops.output_linear(normed, self.proj_out)


def _text_positions(n: int, dim: int, theta: float = 10_000.0) -> Tensor:
    """Return cosines, then sines, of text positions 0..n-1, `[n, d]` fp32 (upstream `precompute_freqs_cis`)."""
    rates = 1.0 / theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
    angles = torch.outer(torch.arange(n), rates)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
