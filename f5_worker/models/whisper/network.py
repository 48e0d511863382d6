"""Whisper's encoder and decoder, for rows of different lengths in one pass.

The architecture of openai/whisper (MIT). Rows are padded at their end; what is behind a row's end changes nothing of
it, so that a row has the values that it has alone.

Legend: b rows, m mel bands, f mel frames, n encoder steps (f / 2), t tokens, h heads, d width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from f5_worker.models.whisper.config import MAX_FRAMES, MAX_TOKENS, WhisperArch


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return `x [b, n, d]` after the layer. mask: `[b, 1, 1, n]`, True where there is sound."""
        query, key, value = _split_heads(self.qkv(self.attention_norm(x)), 3, self.heads)
        x = x + self.out(_merge_heads(functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)))
        result: Tensor = x + self.down(functional.gelu(self.up(self.ffn_norm(x))))
        return result


class WhisperEncoder(nn.Module):
    """Log-mel frames to the states that the decoder attends to."""

    def __init__(self, arch: WhisperArch) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(arch.mels, arch.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(arch.width, arch.width, kernel_size=3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.empty(MAX_FRAMES // 2, arch.width))
        self.layers = nn.ModuleList(EncoderLayer(arch.width, arch.encoder_heads) for _ in range(arch.encoder_layers))
        self.norm = nn.LayerNorm(arch.width)

    def forward(self, mel: Tensor, frames: Tensor | None) -> Tensor:
        """Return states `[b, n, d]` of `mel [b, m, f]`, f even and at most 3000.

        Args:
            frames: `[b]` of each row, even; its mel is zero behind them. None where all rows are full.
        """
        x = functional.gelu(self.conv1(mel))
        mask = None
        if frames is not None:
            inside = torch.arange(mel.shape[-1], device=mel.device) < frames[:, None]
            x, mask = x * inside[:, None], inside[:, None, None, ::2]
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        states: Tensor = self.norm(x)
        return states


class DecoderLayer(nn.Module):
    """Self-attention, attention to the sound and a feed-forward network, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_query = nn.Linear(width, width)
        self.cross_key_value = nn.Linear(width, 2 * width)
        self.cross_out = nn.Linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def attend_to_sound(self, x: Tensor, sound: tuple[Tensor, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return `x [k * b, t, d]` after the attention to the sound of `b` clips; also its queries, split into heads.

        The k rows of a clip, one after another, share its keys and values.
        """
        (query,) = _split_heads(self.cross_query(self.cross_norm(x)), 1, self.heads)
        rows, clips = len(x), len(sound[0])
        shared = torch.unflatten(query, 0, (clips, rows // clips)).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(shared.flatten(2, 3), *sound, attn_mask=mask)
        attended = torch.unflatten(attended, 2, shared.shape[2:4]).transpose(1, 2).flatten(0, 1)
        return x + self.cross_out(_merge_heads(attended)), query

    def project_sound(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values `[b, h, n, d / h]` of the encoder's states."""
        key, value = _split_heads(self.cross_key_value(states), 2, self.heads)
        return key, value

    def feed_forward(self, x: Tensor) -> Tensor:
        """Return `x` after the feed-forward network."""
        result: Tensor = x + self.down(functional.gelu(self.up(self.ffn_norm(x))))
        return result


@dataclass(eq=False)
class Sound:
    """The sound as the decoder attends to it: keys and values of each layer, and which steps are sound.

    mask: `[b, 1, 1, n]`, True where there is sound; None where all of it is.
    """

    layers: list[tuple[Tensor, Tensor]]
    mask: Tensor | None


class TokenCache:
    """Keys and values of the tokens so far, `[2, b, h, max_tokens, d / h]` for each layer."""

    def __init__(self, decoder: WhisperDecoder, rows: int, max_tokens: int) -> None:
        weight = decoder.embedding.weight
        shape = (2, rows, decoder.heads, max_tokens, weight.shape[1] // decoder.heads)
        self.layers = [weight.new_empty(shape) for _ in decoder.layers]
        self.length = 0

    def reorder(self, rows: Tensor) -> None:
        """Make row i a copy of what row `rows[i]` was."""
        for layer in self.layers:
            layer[:, :, :, : self.length] = layer[:, :, :, : self.length].index_select(1, rows)


class WhisperDecoder(nn.Module):
    """Tokens and sound to the logits of the next token."""

    def __init__(self, arch: WhisperArch) -> None:
        super().__init__()
        self.embedding = nn.Embedding(arch.vocabulary, arch.width)
        self.positions = nn.Parameter(torch.empty(MAX_TOKENS, arch.width))
        self.layers = nn.ModuleList(DecoderLayer(arch.width, arch.decoder_heads) for _ in range(arch.decoder_layers))
        self.heads = arch.decoder_heads
        self.norm = nn.LayerNorm(arch.width)

    def project_sound(self, states: Tensor, steps: Tensor | None) -> Sound:
        """Return what the decoder attends to. steps: `[b]` of each row of `states [b, n, d]`; None for all."""
        mask = None
        if steps is not None:
            mask = (torch.arange(states.shape[1], device=states.device) < steps[:, None])[:, None, None]
        return Sound([layer.project_sound(states) for layer in self._layers], mask)

    def forward(
        self, tokens: Tensor, sound: Sound, cache: TokenCache | None = None, queries: list[Tensor] | None = None
    ) -> Tensor:
        """Return the last states `[b, t, d]` of `tokens [b, t]`; the sound may be that of every k-th row.

        Args:
            cache: of the tokens before these; the new ones are added to it. Without it there are none before.
            queries: receives each layer's queries to the sound, `[b, h, t, d / h]`.
        """
        before = cache.length if cache else 0
        n_tokens = tokens.shape[1]
        x = self.embedding(tokens) + self.positions[before : before + n_tokens]
        for index, layer in enumerate(self._layers):
            query, key, value = _split_heads(layer.qkv(layer.attention_norm(x)), 3, layer.heads)
            if cache:
                stored = cache.layers[index]
                stored[0, :, :, before : before + n_tokens] = key
                stored[1, :, :, before : before + n_tokens] = value
                key, value = stored[:, :, :, : before + n_tokens].unbind()
            # Several tokens at once come only at the beginning, where causal attention is square.
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=n_tokens > 1)
            x = x + layer.out(_merge_heads(attended))
            x, sound_query = layer.attend_to_sound(x, sound.layers[index], sound.mask)
            if queries is not None:
                queries.append(sound_query)
            x = layer.feed_forward(x)
        if cache:
            cache.length += n_tokens
        states: Tensor = self.norm(x)
        return states

    @property
    def _layers(self) -> Iterator[DecoderLayer]:
        return cast("Iterator[DecoderLayer]", iter(self.layers))

    def logits(self, states: Tensor) -> Tensor:
        """Return logits `[..., v]` in fp32 of states `[..., d]`."""
        return functional.linear(states, self.embedding.weight).float()


class Whisper(nn.Module):
    """The network: encoder and decoder."""

    def __init__(self, arch: WhisperArch) -> None:
        super().__init__()
        self.arch = arch
        self.encoder = WhisperEncoder(arch)
        self.decoder = WhisperDecoder(arch)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.decoder.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the precision of the weights."""
        return self.decoder.embedding.weight.dtype


def _split_heads(x: Tensor, n_parts: int, heads: int) -> tuple[Tensor, ...]:
    """Return each part of `x [b, t, parts * d]` as `[b, h, t, d / h]`."""
    rows, length, width = x.shape
    return x.view(rows, length, n_parts, heads, width // n_parts // heads).permute(2, 0, 3, 1, 4).unbind()


def _merge_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
