"""Whisper's encoder and decoder, for rows of different lengths in one pass.

The architecture of openai/whisper (MIT). Rows are padded at their end; what is behind a row's end changes nothing of
it, so that a row has the values that it has alone.

Legend: b rows, m mel bands, f mel frames, n encoder steps (f / 2), t tokens, h heads, d width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from f5_worker.models.whisper.config import MAX_FRAMES, MAX_TOKENS, WhisperArch

ROWS_ALIGNED = 8  # 16 bytes in half precision, which fast kernels read at once


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


class DecoderCache(Protocol):
    """Keys and values of the tokens so far.

    Attributes:
        mask: of those that `append` returns, True for those that count; None where all do.
    """

    mask: Tensor | None

    def begin(self, n_tokens: int) -> slice | Tensor:
        """Make room for so many tokens; return their positions."""
        ...

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values `[b, h, t, d / h]` of these tokens in a layer; return those of all tokens so far."""
        ...


class TokenCache:
    """A `DecoderCache` that grows: `[2, b, h, max_tokens, d / h]` for each layer."""

    def __init__(self, decoder: WhisperDecoder, rows: int, max_tokens: int) -> None:
        weight = decoder.embedding.weight
        shape = (2, rows, decoder.heads, max_tokens, weight.shape[1] // decoder.heads)
        self.layers = [weight.new_empty(shape) for _ in decoder.layers]
        self.length, self._max_tokens = 0, max_tokens  # the length is that of the longest row
        self.mask: Tensor | None = None
        self._before = 0
        self._positions: Tensor | None = None  # `[b, 1]` of the token that comes next, where they differ

    def cut(self, lengths: Tensor) -> None:
        """Cut off the tokens behind the first `lengths [b, 1]` of each row; then they come one at a time."""
        for layer in self.layers:
            layer[:, :, :, self.length :] = 0.0  # masked in shorter rows, which counts for nothing only of a number
        self._positions = lengths

    def begin(self, n_tokens: int) -> slice | Tensor:
        """Make room for so many tokens; return their positions."""
        self._before, self.length = self.length, min(self.length + n_tokens, self._max_tokens)
        if self._positions is None:
            return slice(self._before, self.length)
        # Of those that no longer count, the longest row may stay at the end while others go on.
        positions, self._positions = self._positions, (self._positions + 1).clamp(max=self._max_tokens)
        self.mask = (torch.arange(self.length, device=positions.device) <= positions)[:, None, None]
        return positions

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values of these tokens in a layer; return those of all tokens so far."""
        stored = self.layers[layer]
        if self._positions is None:
            stored[0, :, :, self._before : self.length] = key
            stored[1, :, :, self._before : self.length] = value
        else:
            at = (self._positions - 1)[None, :, None, :, None].expand(2, *key.shape)
            stored.scatter_(3, at, torch.stack([key, value]))
        key, value = stored[:, :, :, : self.length].unbind()
        return key, value

    def reorder(self, rows: Tensor) -> None:
        """Make row i a copy of what row `rows[i]` was."""
        for layer in self.layers:
            layer[:, :, :, : self.length] = layer[:, :, :, : self.length].index_select(1, rows)


class PathCache:
    """A `DecoderCache` of fixed shapes, for one token of each row at positions that are on the device.

    Nothing in it moves when rows are reordered: each row has the path of the slots in which its tokens are stored.

    Args:
        layers: `[slots, 2 * d]` of each layer; the token of row `i` at a position is stored in slot
            `position * rows + i`.
        paths: `[rows, max_tokens]` slots of each row's tokens, with any valid ones behind its position.
        positions: `[rows]`.
    """

    def __init__(self, layers: Sequence[Tensor], paths: Tensor, positions: Tensor) -> None:
        rows, max_tokens = paths.shape
        self._layers, self._paths, self._positions = layers, paths, positions.long()[:, None]
        self._slots = self._positions[:, 0] * rows + torch.arange(rows, device=paths.device)
        self.mask = (torch.arange(max_tokens, device=paths.device) <= self._positions)[:, None, None]

    def begin(self, n_tokens: int) -> Tensor:
        """Return the positions."""
        return self._positions

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the key and value of each row's token in a layer; return those of all of its path."""
        stored, heads = self._layers[layer], key.shape[1]
        stored.index_copy_(0, self._slots, _joined(key, value)[:, 0])
        along = stored.index_select(0, self._paths.flatten())
        key, value = _split_heads(along.view(*self._paths.shape, -1), 2, heads)
        return key, value


class FirstTokens:
    """A `DecoderCache` of the tokens with which rows begin, all at once; they are stored for a `PathCache`.

    Args:
        layers: as those of `PathCache`.
        slots: `[b * t]` of the tokens of each row.
    """

    mask = None

    def __init__(self, layers: Sequence[Tensor], slots: Tensor) -> None:
        self._layers, self._slots = layers, slots.long()

    def begin(self, n_tokens: int) -> slice:
        """Return the positions."""
        return slice(n_tokens)

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values in a layer; return them."""
        self._layers[layer].index_copy_(0, self._slots, _joined(key, value).flatten(0, 1))
        return key, value


class WhisperDecoder(nn.Module):
    """Tokens and sound to the logits of the next token."""

    def __init__(self, arch: WhisperArch) -> None:
        super().__init__()
        self.vocabulary = arch.vocabulary
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
        self, tokens: Tensor, sound: Sound, cache: DecoderCache | None = None, queries: list[Tensor] | None = None
    ) -> Tensor:
        """Return the last states `[b, t, d]` of `tokens [b, t]`; the sound may be that of every k-th row.

        Args:
            cache: of the tokens before these; the new ones are added to it. Without it there are none before.
            queries: receives each layer's queries to the sound, `[b, h, t, d / h]`.
        """
        n_tokens = tokens.shape[1]
        x = self.embedding(tokens) + self.positions[cache.begin(n_tokens) if cache else slice(n_tokens)]
        mask = cache.mask if cache else None
        for index, layer in enumerate(self._layers):
            query, key, value = _split_heads(layer.qkv(layer.attention_norm(x)), 3, layer.heads)
            if cache:
                key, value = cache.append(index, key, value)
            # Several tokens at once come only at the beginning, where causal attention is square.
            attended = functional.scaled_dot_product_attention(query, key, value, mask, is_causal=n_tokens > 1)
            x = x + layer.out(_merge_heads(attended))
            x, sound_query = layer.attend_to_sound(x, sound.layers[index], sound.mask)
            if queries is not None:
                queries.append(sound_query)
            x = layer.feed_forward(x)
        states: Tensor = self.norm(x)
        return states

    @property
    def _layers(self) -> Iterator[DecoderLayer]:
        return cast("Iterator[DecoderLayer]", iter(self.layers))

    def logits(self, states: Tensor) -> Tensor:
        """Return logits `[..., v]` in fp32 of states `[..., d]`."""
        return functional.linear(states, self.embedding.weight)[..., : self.vocabulary].float()

    def pad_vocabulary(self) -> None:
        """Add rows of zeros to the embedding: in half precision a product with an odd number of them is slow."""
        weight = self.embedding.weight
        padded = functional.pad(weight, (0, 0, 0, -len(weight) % ROWS_ALIGNED))
        self.embedding.weight = nn.Parameter(padded, requires_grad=False)


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


def _joined(key: Tensor, value: Tensor) -> Tensor:
    """Return keys and values `[b, t, 2 * d]` of several heads, one behind the other."""
    return torch.cat([_merge_heads(key), _merge_heads(value)], -1)


def _merge_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
