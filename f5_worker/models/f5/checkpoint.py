"""Loading of a checkpoint's files into modules, on the CPU: upstream's names and shapes, key by key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from f5_worker.errors import ModelUnavailable
from f5_worker.models.config import read_traits
from f5_worker.models.f5.config import read_arch
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.skip_init import SkipInit
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.f5.vocoder import Vocos

# Keys that upstream saves and this worker computes, or does not need.
_IGNORED_PREFIXES = ("mel_spec.", "transformer.rotary_embed.", "transformer.text_embed.freqs_cis", "initted", "step")


def load_vocabulary(directory: Path) -> Vocabulary:
    """Load the tokens of the checkpoint in `directory`, and how a text is split into them.

    Raises:
        ModelUnavailable: vocab.txt is missing, or text.json cannot be read.
    """
    return Vocabulary.load(require_file(directory, "vocab.txt"), characters=read_traits(directory).characters)


def load_model(directory: Path, vocabulary_size: int) -> DiT:
    """Load the transformer in `directory`, on the CPU, in the precision of its file.

    Raises:
        ModelUnavailable: files are missing or damaged, or do not belong together.
    """
    weights = read_transformer(directory, vocabulary_size)
    with SkipInit():
        model = DiT(read_arch(directory), vocabulary_size)
    try:
        model.load_state_dict(fuse_qkv(weights), assign=True)
    except RuntimeError as error:
        raise ModelUnavailable(f"model {directory.name!r}: weights and architecture differ: {error}") from None
    return model.eval().requires_grad_(False)


def read_transformer(directory: Path, vocabulary_size: int) -> dict[str, Tensor]:
    """Read the transformer's weights, under upstream's names within its backbone.

    Raises:
        ModelUnavailable: the file is missing or damaged, or belongs to another vocabulary.
    """
    weights = read_weights(require_file(directory, "model.safetensors"))
    weights = {name.removeprefix("ema_model."): tensor for name, tensor in weights.items()}
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(_IGNORED_PREFIXES)}
    kept = {name.removeprefix("transformer."): tensor for name, tensor in kept.items()}
    embedding = kept.get("text_embed.text_embed.weight")
    if embedding is None:
        raise ModelUnavailable(f"model {directory.name!r}: model.safetensors is not of f5-tts: it embeds no text")
    embedding_size = len(embedding) - 1  # row 0 is the padding token
    if embedding_size != vocabulary_size:
        raise ModelUnavailable(
            f"model {directory.name!r}: vocab.txt has {vocabulary_size} entries, the checkpoint was made with "
            f"{embedding_size}; use the vocab.txt that came with it"
        )
    return kept


def load_vocoder(directory: Path) -> Vocos:
    """Load the vocoder in `directory`, on the CPU, in fp32.

    Raises:
        ModelUnavailable: its file is missing or damaged, or not a Vocos checkpoint.
    """
    weights = read_weights(require_file(directory, "vocoder.safetensors"))
    try:
        return Vocos.from_weights(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelUnavailable(
            f"model {directory.name!r}: vocoder.safetensors is not a Vocos checkpoint: {error}"
        ) from None


def fuse_qkv(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Concatenate upstream's three projections of each attention; one with a projection missing stays as it is."""
    fused = dict(weights)
    for name in weights:
        parts = [name.replace(".attn.to_q.", f".attn.to_{part}.") for part in "qkv"]
        if ".attn.to_q." in name and all(part in weights for part in parts):
            fused[name.replace(".to_q.", ".to_qkv.")] = torch.cat([fused.pop(part) for part in parts])
    return fused


def require_file(directory: Path, name: str) -> Path:
    """Return the path of a checkpoint's file.

    Raises:
        ModelUnavailable: it is missing.
    """
    path = directory / name
    if not path.is_file():
        raise ModelUnavailable(f"model {directory.name!r} has no {name}; its directory is incomplete")
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, onto the CPU.

    Raises:
        ModelUnavailable: it is damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(
            f"{path.name} of model {path.parent.name!r} cannot be read ({error}); copy it there again"
        ) from None
