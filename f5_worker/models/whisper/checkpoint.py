"""Loading of a Whisper checkpoint into the network, on the CPU, key by key: Hugging Face's names or CTranslate2's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from f5_worker.errors import ModelUnavailable
from f5_worker.models.f5.skip_init import SkipInit
from f5_worker.models.published import CTRANSLATE2_WEIGHTS, HUGGING_FACE_WEIGHTS, is_hugging_face
from f5_worker.models.whisper.config import WhisperArch, read_arch
from f5_worker.models.whisper.model_bin import read_model_bin
from f5_worker.models.whisper.network import Whisper

MAX_PROBLEM_CHARS = 200  # torch names each tensor that is missing

# The modules of a layer by our names, and by those of each layout.
_HUGGING_FACE = {
    "attention_norm": "self_attn_layer_norm",
    "out": "self_attn.out_proj",
    "cross_norm": "encoder_attn_layer_norm",
    "cross_query": "encoder_attn.q_proj",
    "cross_out": "encoder_attn.out_proj",
    "ffn_norm": "final_layer_norm",
    "up": "fc1",
    "down": "fc2",
}
_HUGGING_FACE_FUSED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "cross_key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
_CTRANSLATE2 = {
    "attention_norm": "self_attention/layer_norm",
    "qkv": "self_attention/linear_0",
    "out": "self_attention/linear_1",
    "cross_norm": "attention/layer_norm",
    "cross_query": "attention/linear_0",
    "cross_key_value": "attention/linear_1",
    "cross_out": "attention/linear_2",
    "ffn_norm": "ffn/layer_norm",
    "up": "ffn/linear_0",
    "down": "ffn/linear_1",
}


def load_whisper(directory: Path) -> Whisper:
    """Load the checkpoint in `directory`, on the CPU, in the precision of its file.

    Raises:
        ModelUnavailable: files are missing or damaged, or do not belong together.
    """
    try:
        arch, weights = _read(directory)
        with SkipInit():
            model = Whisper(arch)
        model.load_state_dict(weights, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        problem = f"the recogniser's weights are not those of a Whisper model: {str(error)[:MAX_PROBLEM_CHARS]}"
        raise ModelUnavailable(problem) from None
    return model.eval().requires_grad_(False)


def _read(directory: Path) -> tuple[WhisperArch, dict[str, Tensor]]:
    if is_hugging_face(directory):
        try:
            stored = load_file(directory / HUGGING_FACE_WEIGHTS)
        except (SafetensorError, OSError) as error:
            raise ModelUnavailable(
                f"the recogniser's {HUGGING_FACE_WEIGHTS} cannot be read ({type(error).__name__}); fetch it again"
            ) from None
        arch = read_arch(directory)
        return arch, from_hugging_face(stored, arch)
    stored = read_model_bin(directory / CTRANSLATE2_WEIGHTS)
    arch = _arch_of(stored)
    return arch, from_ctranslate2(stored, arch)


def from_hugging_face(stored: Mapping[str, Tensor], arch: WhisperArch) -> dict[str, Tensor]:
    """Return the network's weights by our names. Keys have no bias there; in a fused projection it is zero."""
    stored = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    found = {
        "encoder.positions": stored["encoder.embed_positions.weight"],
        "decoder.positions": stored["decoder.embed_positions.weight"],
        "decoder.embedding.weight": stored["decoder.embed_tokens.weight"],
    }
    for part in ("conv1", "conv2"):
        found |= {f"encoder.{part}.{kind}": stored[f"encoder.{part}.{kind}"] for kind in ("weight", "bias")}
    for side, n_layers in (("encoder", arch.encoder_layers), ("decoder", arch.decoder_layers)):
        found |= {f"{side}.norm.{kind}": stored[f"{side}.layer_norm.{kind}"] for kind in ("weight", "bias")}
        for index in range(n_layers):
            layer = f"{side}.layers.{index}"
            for ours, theirs in _HUGGING_FACE.items():
                if side == "decoder" or not ours.startswith("cross_"):
                    found |= {
                        f"{layer}.{ours}.{kind}": stored[f"{layer}.{theirs}.{kind}"] for kind in ("weight", "bias")
                    }
            for ours, parts in _HUGGING_FACE_FUSED.items():
                if side == "decoder" or not ours.startswith("cross_"):
                    weights = [stored[f"{layer}.{part}.weight"] for part in parts]
                    biases = [stored.get(f"{layer}.{part}.bias") for part in parts]
                    zero = weights[0].new_zeros(arch.width)
                    found[f"{layer}.{ours}.weight"] = torch.cat(weights)
                    found[f"{layer}.{ours}.bias"] = torch.cat([zero if bias is None else bias for bias in biases])
    return found


def from_ctranslate2(stored: Mapping[str, Tensor], arch: WhisperArch) -> dict[str, Tensor]:
    """Return the network's weights by our names."""
    found = {
        "encoder.positions": stored["encoder/position_encodings/encodings"],
        "decoder.positions": stored["decoder/position_encodings/encodings"],
        "decoder.embedding.weight": stored["decoder/embeddings/weight"],
    }
    for part in ("conv1", "conv2"):
        found |= {f"encoder.{part}.{kind}": stored[f"encoder/{part}/{kind}"] for kind in ("weight", "bias")}
    for side, n_layers in (("encoder", arch.encoder_layers), ("decoder", arch.decoder_layers)):
        found |= _norm(stored, f"{side}.norm", f"{side}/layer_norm")
        for index in range(n_layers):
            for ours, theirs in _CTRANSLATE2.items():
                if side == "encoder" and ours.startswith("cross_"):
                    continue
                name, key = f"{side}.layers.{index}.{ours}", f"{side}/layer_{index}/{theirs}"
                if ours.endswith("_norm"):
                    found |= _norm(stored, name, key)
                else:
                    found |= {f"{name}.{kind}": stored[f"{key}/{kind}"] for kind in ("weight", "bias")}
    return found


def _norm(stored: Mapping[str, Tensor], name: str, key: str) -> dict[str, Tensor]:
    return {f"{name}.weight": stored[f"{key}/gamma"], f"{name}.bias": stored[f"{key}/beta"]}


def _arch_of(stored: Mapping[str, Tensor]) -> WhisperArch:
    """Return the sizes of a network in CTranslate2's layout, whose config.json does not have them."""
    embedding = stored["decoder/embeddings/weight"]
    n_layers = {
        side: sum(f"{side}/layer_{i}/ffn/linear_0/bias" in stored for i in range(len(stored)))
        for side in ("encoder", "decoder")
    }
    return WhisperArch(
        mels=stored["encoder/conv1/weight"].shape[1],
        width=embedding.shape[1],
        encoder_layers=n_layers["encoder"],
        encoder_heads=int(stored["encoder/num_heads"]),
        decoder_layers=n_layers["decoder"],
        decoder_heads=int(stored["decoder/num_heads"]),
        vocabulary=embedding.shape[0],
    )
