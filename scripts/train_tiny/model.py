"""The DiT of F5-TTS, written for fast training; its parameters carry upstream's names.

Differences from upstream are of form only (`tests/test_train_tiny.py` holds the two equal): text is encoded
at its own length instead of padded to the audio's (the padding's share in GRN is added in closed form),
upsampling is a product with a one-hot matrix, depthwise convolutions are sums of shifted products.

b batch, n frames, nt text tokens, d model width.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEL_BANDS = 100


@dataclass(frozen=True)
class Arch:
    """Arguments of upstream's `DiT`."""

    dim: int = 256
    depth: int = 11
    heads: int = 4
    ff_mult: int = 2
    text_dim: int = 256
    conv_layers: int = 6
    qk_norm: str | None = "rms_norm"
    text_mask_padding: bool = True
    text_embedding_average_upsampling: bool = True
    attn_mask_enabled: bool = True

    def as_dict(self) -> dict[str, object]:
        """Return the arguments by name."""
        return asdict(self)


class TextBlock(nn.Module):
    """ConvNeXt V2 block."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, 2 * dim)
        self.grn = nn.Module()
        self.grn.gamma = nn.Parameter(torch.zeros(1, 1, 2 * dim))
        self.grn.beta = nn.Parameter(torch.zeros(1, 1, 2 * dim))
        self.pwconv2 = nn.Linear(2 * dim, dim)

    def weights(self) -> list[Tensor]:
        """Return the parameters in the order that `text_block` takes them."""
        return [
            self.dwconv.weight, self.dwconv.bias, self.norm.weight, self.norm.bias, self.pwconv1.weight,
            self.pwconv1.bias, self.grn.gamma, self.grn.beta, self.pwconv2.weight, self.pwconv2.bias,
        ]  # fmt: skip


def text_block(x: Tensor, keep: Tensor, beyond: Tensor, w: list[Tensor]) -> Tensor:
    """Run a text block: x [b nt d], keep [b nt 1] real tokens, beyond [b 1 1] count of upstream's padding rows."""
    conv_w, conv_b, norm_w, norm_b, up_w, up_b, gamma, beta, down_w, down_b = w
    rows = x.shape[1]
    padded = F.pad(x, (0, 0, 3, 3))
    y = conv_b + sum(padded[:, k : k + rows] * conv_w[:, 0, k] for k in range(7))
    y = F.gelu(F.linear(F.layer_norm(y, (x.shape[-1],), norm_w, norm_b, 1e-6), up_w, up_b)).float()
    idle = F.layer_norm(conv_b.float(), (x.shape[-1],), norm_w, norm_b, 1e-6)
    idle = F.gelu(F.linear(idle, up_w, up_b)).float()
    energy = (y.square().sum(1, keepdim=True) + beyond * idle.square()).clamp_min(1e-12).sqrt()
    y = gamma * (y * (energy / (energy.mean(-1, keepdim=True) + 1e-6))) + beta + y
    return (x + F.linear(y, down_w, down_b)) * keep


class Block(nn.Module):
    """DiT block: attention and feed-forward, both modulated by the time step."""

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        dim, inner = arch.dim, arch.dim * arch.ff_mult
        self.attn_norm = nn.Module()
        self.attn_norm.linear = nn.Linear(dim, 6 * dim)
        self.attn = nn.Module()
        for name in ("to_q", "to_k", "to_v"):
            setattr(self.attn, name, nn.Linear(dim, arch.heads * 64))
        self.attn.to_out = nn.ModuleList([nn.Linear(arch.heads * 64, dim)])
        if arch.qk_norm:
            self.attn.q_norm, self.attn.k_norm = nn.RMSNorm(64, eps=1e-6), nn.RMSNorm(64, eps=1e-6)
        self.ff = nn.Module()
        self.ff.ff = nn.ModuleList([nn.ModuleList([nn.Linear(dim, inner)]), nn.Identity(), nn.Linear(inner, dim)])
        nn.init.zeros_(self.attn_norm.linear.weight)
        nn.init.zeros_(self.attn_norm.linear.bias)

    def weights(self) -> list[Tensor]:
        """Return the parameters in the order that `dit_block` takes them."""
        a, f = self.attn, self.ff.ff
        layers = [self.attn_norm.linear, a.to_q, a.to_k, a.to_v, a.to_out[0], f[0][0], f[2]]
        norms = [a.q_norm.weight, a.k_norm.weight] if hasattr(a, "q_norm") else []
        return [*(tensor for layer in layers for tensor in (layer.weight, layer.bias)), *norms]


def dit_block(x: Tensor, emb: Tensor, cos: Tensor, sin: Tensor, w: list[Tensor]) -> Tensor:
    """Run a DiT block: x [b n d], emb [b d] (after SiLU), cos and sin [n 64], w of `Block.weights`."""
    ada_w, ada_b, q_w, q_b, k_w, k_b, v_w, v_b, o_w, o_b, up_w, up_b, down_w, down_b, *norms = w
    b, n, d = x.shape
    shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = F.linear(emb, ada_w, ada_b).float()[:, None].chunk(6, -1)
    h = F.layer_norm(x.float(), (d,), eps=1e-6) * (1 + scale_a) + shift_a
    qkv = F.linear(h, torch.cat((q_w, k_w, v_w)), torch.cat((q_b, k_b, v_b)))
    q, k, v = qkv.view(b, n, 3, -1, 64).permute(2, 0, 3, 1, 4)
    if norms:
        q = F.rms_norm(q.float(), (64,), norms[0], 1e-6).to(v.dtype)
        k = F.rms_norm(k.float(), (64,), norms[1], 1e-6).to(v.dtype)
    h = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
    x = x + gate_a * F.linear(h.transpose(1, 2).reshape(b, n, -1), o_w, o_b).float()
    h = F.layer_norm(x, (d,), eps=1e-6) * (1 + scale_f) + shift_f
    h = F.linear(F.gelu(F.linear(h, up_w, up_b), approximate="tanh"), down_w, down_b)
    return (x + gate_f * h.float()).to(RESIDUAL.get(x.device.type, torch.float32))


# The residual stream in bf16 halves the bytes of the pointwise work; float32 on a CPU, for exact comparison.
RESIDUAL = {"cuda": torch.bfloat16}


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary embedding over neighbouring pairs; x [b h n 64]."""
    pairs = x.unflatten(-1, (-1, 2))
    rotated = torch.stack((-pairs[..., 1], pairs[..., 0]), -1).flatten(-2)
    return (x * cos + rotated * sin).to(x.dtype)


def grouped_conv(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Compute a grouped convolution as one batched product over unfolded windows; x [b n d]."""
    b, n, d = x.shape
    width = weight.shape[-1]
    windows = F.pad(x, (0, 0, width // 2, width // 2)).unfold(1, n, 1)  # b width d n (view)
    windows = windows.view(b, width, groups, d // groups, n).permute(2, 0, 4, 1, 3).reshape(groups, b * n, -1)
    kernel = weight.view(groups, d // groups, d // groups, width).permute(0, 3, 2, 1).reshape(groups, -1, d // groups)
    return torch.bmm(windows, kernel).view(groups, b, n, -1).permute(1, 2, 0, 3).reshape(b, n, d) + bias


def plain_conv(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Compute the same through the library's convolution."""
    return F.conv1d(x.transpose(1, 2), weight, bias, padding=weight.shape[-1] // 2, groups=groups).transpose(1, 2)


class TinyDiT(nn.Module):
    """F5-TTS's DiT. `conv` computes the position convolutions; `wrap` may compile the pure functions."""

    def __init__(self, arch: Arch, vocab_size: int, conv=plain_conv, wrap=lambda f: f) -> None:
        super().__init__()
        self.arch, self.conv = arch, conv
        dim = arch.dim
        self.time_embed = nn.Module()
        self.time_embed.time_mlp = nn.Sequential(nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.text_embed = nn.Module()
        self.text_embed.text_embed = nn.Embedding(vocab_size + 1, arch.text_dim)
        self.text_embed.text_blocks = nn.ModuleList(TextBlock(arch.text_dim) for _ in range(arch.conv_layers))
        self.input_embed = nn.Module()
        self.input_embed.proj = nn.Linear(2 * MEL_BANDS + arch.text_dim, dim)
        convs = [nn.Conv1d(dim, dim, 31, groups=16, padding=15) for _ in range(2)]
        self.input_embed.conv_pos_embed = nn.Module()
        self.input_embed.conv_pos_embed.conv1d = nn.Sequential(convs[0], nn.Mish(), convs[1], nn.Mish())
        self.transformer_blocks = nn.ModuleList(Block(arch) for _ in range(arch.depth))
        self.norm_out = nn.Module()
        self.norm_out.linear = nn.Linear(dim, 2 * dim)
        self.proj_out = nn.Linear(dim, MEL_BANDS)
        for layer in (self.norm_out.linear, self.proj_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.run_text, self.run_block = wrap(text_block), wrap(dit_block)
        self.register_buffer("positions", _text_positions(arch.text_dim, 512), persistent=False)
        self.register_buffer("angles", _rotary_angles(4096), persistent=False)

    def encode_text(self, tokens: Tensor, lengths: Tensor, drop: Tensor, padded_to: Tensor) -> Tensor:
        """Encode text: tokens [b nt] (indices), lengths [b], drop [b] bool, padded_to [b] frames -> [b nt d]."""
        rows = tokens.shape[1]
        keep = (torch.arange(rows, device=tokens.device) < lengths[:, None]).unsqueeze(-1)
        ids = torch.where(drop[:, None] | ~keep[..., 0], 0, tokens + 1)
        x = (self.text_embed.text_embed(ids) + self.positions[:rows]) * keep
        beyond = (padded_to - rows).to(x.dtype)[:, None, None]
        for block in self.text_embed.text_blocks:
            x = self.run_text(x, keep, beyond, block.weights())
        return x

    def forward(
        self, x: Tensor, cond: Tensor, text: Tensor, upsample: Tensor, time: Tensor, taps: tuple[int, ...] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """Predict the flow: x, cond [b n 100]; text [b nt d] encoded; upsample [b n] token of each frame; time [b].

        Returns the flow [b n 100] and the hidden states after the blocks named in `taps`.
        """
        n, rows = x.shape[1], text.shape[1]
        one_hot = (upsample[..., None] == torch.arange(rows, device=x.device)).to(text.dtype)
        spread = torch.bmm(one_hot, text)
        h = F.linear(
            torch.cat((x, cond, spread.to(x.dtype)), -1), self.input_embed.proj.weight, self.input_embed.proj.bias
        )
        first, _, second, _ = self.input_embed.conv_pos_embed.conv1d
        near = F.mish(self.conv(h, first.weight, first.bias, 16))
        h = h + F.mish(self.conv(near, second.weight, second.bias, 16))
        h = h.to(RESIDUAL.get(h.device.type, torch.float32))
        emb = F.silu(self.time_embed.time_mlp(_sinusoid(time)))
        cos, sin = self.angles[:n].cos(), self.angles[:n].sin()
        hidden = []
        for index, block in enumerate(self.transformer_blocks):
            h = self.run_block(h, emb, cos, sin, block.weights())
            if index in taps:
                hidden.append(h)
        scale, shift = self.norm_out.linear(emb)[:, None].chunk(2, -1)
        h = F.layer_norm(h.float(), (h.shape[-1],), eps=1e-6) * (1 + scale) + shift
        return self.proj_out(h), hidden


def even_upsampling(frames: Tensor, lengths: Tensor, n: int) -> Tensor:
    """Spread text evenly over frames as upstream, the remainder at its end; frames [n], lengths [b] -> [b n]."""
    each, rest = (n // lengths)[:, None], (n % lengths)[:, None]
    short_frames = each * (lengths[:, None] - rest)
    late = (lengths[:, None] - rest) + torch.div(frames - short_frames, each + 1, rounding_mode="floor")
    return torch.where(frames < short_frames, torch.div(frames, each, rounding_mode="floor"), late)


def with_further_characters(embedding: Tensor, vocab: str) -> Tensor:
    """Return a text embedding with a row for every character: one that it lacks is as its letter without accent.

    Any other character has the row of the filler.
    """
    known = vocab[: len(embedding) - 1]  # the first row is the filler
    letters = [unicodedata.normalize("NFD", char)[0] for char in vocab[len(known) :]]
    rows = [0 if letter not in known else 1 + known.index(letter) for letter in letters]
    return torch.cat((embedding, embedding[rows]))


def _sinusoid(time: Tensor) -> Tensor:
    steps = torch.exp(torch.arange(128, device=time.device).float() * -(math.log(10_000) / 127))
    angles = 1000 * time.float()[:, None] * steps
    return torch.cat((angles.sin(), angles.cos()), -1)


def _text_positions(dim: int, rows: int) -> Tensor:
    freqs = 1.0 / (10_000 ** (torch.arange(0, dim, 2).float() / dim))
    angles = torch.outer(torch.arange(rows).float(), freqs)
    return torch.cat((angles.cos(), angles.sin()), -1)


def _rotary_angles(rows: int) -> Tensor:
    freqs = 1.0 / (10_000 ** (torch.arange(0, 64, 2).float() / 64))
    return torch.outer(torch.arange(rows).float(), freqs).repeat_interleave(2, -1)
