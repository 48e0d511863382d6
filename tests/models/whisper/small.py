"""A small Whisper with random weights, written in both layouts: it computes as the real ones do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.models.cuda.capture import CaptureGraph
from f5_worker.models.whisper.config import DecodingConfig, WhisperArch
from f5_worker.models.whisper.network import Whisper
from f5_worker.models.whisper.runner import ForcedText, WhisperRunner

WORDS = 200
SPECIAL = ("endoftext", "startoftranscript", "en", "transcribe", "translate", "startoflm", "startofprev", "nospeech")
SPECIAL_IDS = {name: WORDS + index for index, name in enumerate((*SPECIAL, "notimestamps"))}
END, START, NO_TIMESTAMPS = SPECIAL_IDS["endoftext"], SPECIAL_IDS["startoftranscript"], SPECIAL_IDS["notimestamps"]
TIMESTAMPS = 1_501
ARCH = WhisperArch(
    mels=80, width=32, encoder_layers=2, encoder_heads=2, decoder_layers=2, decoder_heads=4,
    vocabulary=NO_TIMESTAMPS + 1 + TIMESTAMPS,
)  # fmt: skip
HEADS = ((0, 1), (1, 0), (1, 3))
SUPPRESS, SUPPRESS_AT_START = (3, 7), (5, END)


@lru_cache(maxsize=4)
def small_whisper(seed: int = 0) -> Whisper:
    """Return the network in fp32; its logits are as far apart as those of a trained one."""
    generator = torch.Generator().manual_seed(seed)
    model = Whisper(ARCH)
    weights = {}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("norm.weight"):
            weights[name] = 1.0 + 0.1 * noise
        elif "embedding" in name or "positions" in name:
            weights[name] = 0.7 * noise
        else:
            weights[name] = noise * (1.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1)
        if name.endswith(("qkv.bias", "cross_key_value.bias")):  # Whisper's keys have no bias
            weights[name][ARCH.width * (name.endswith("qkv.bias")) :][: ARCH.width] = 0.0
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def small_runner(seed: int = 0) -> WhisperRunner:
    """Return a runner of it on the CPU."""
    return WhisperRunner(small_whisper(seed), DecodingConfig(HEADS, SUPPRESS, SUPPRESS_AT_START))


def stand_in_capture(captures: list[int]) -> CaptureGraph:
    """Return what stands for a capture on the CPU: the same computation, into the same place; counts them."""

    def capture(compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        captures.append(1)
        result = compute()

        def replay() -> None:
            result.copy_(compute())

        return replay, result

    return capture


def clip(seconds: float, seed: int = 0) -> Samples:
    """Return noise that changes over time, at 16 kHz."""
    rng = np.random.default_rng(seed)
    n_samples = round(seconds * 16_000)
    tone = np.sin(np.cumsum(np.repeat(rng.uniform(0.05, 1.5, n_samples // 1_600 + 1), 1_600)[:n_samples]))
    return (0.1 * tone + 0.02 * rng.normal(size=n_samples)).astype(np.float32)


def forced(samples: Samples, n_tokens: int, seed: int = 0) -> ForcedText:
    """Return random words for a clip."""
    tokens = np.random.default_rng(seed).integers(0, WORDS, n_tokens).tolist()
    return ForcedText((START, NO_TIMESTAMPS), tuple(tokens), END, -(-len(samples) // 160) // 2)


def vocabulary() -> list[str]:
    """Return all tokens."""
    names = [f"w{index}" for index in range(WORDS)] + [f"<|{name}|>" for name in SPECIAL_IDS]
    return names + [f"<|{index * 0.02:.2f}|>" for index in range(TIMESTAMPS)]


def write_tokenizer(directory: Path) -> None:
    """Write tokenizer.json."""
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({token: index for index, token in enumerate(vocabulary())}, "w0")).save(
        str(directory / "tokenizer.json")
    )


def write_hugging_face(directory: Path, model: Whisper) -> Path:
    """Write a directory as `openai/whisper-*` on the hub."""
    directory.mkdir()
    ours = model.state_dict()
    stored = {
        "encoder.embed_positions.weight": ours["encoder.positions"],
        "decoder.embed_positions.weight": ours["decoder.positions"],
        "decoder.embed_tokens.weight": ours["decoder.embedding.weight"],
    }
    names = {
        "attention_norm": ["self_attn_layer_norm"], "out": ["self_attn.out_proj"],
        "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "cross_norm": ["encoder_attn_layer_norm"], "cross_query": ["encoder_attn.q_proj"],
        "cross_key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"], "cross_out": ["encoder_attn.out_proj"],
        "ffn_norm": ["final_layer_norm"], "up": ["fc1"], "down": ["fc2"],
    }  # fmt: skip
    for name, tensor in ours.items():
        side, *inner, module, kind = name.split(".") if name.count(".") > 1 else (*name.split("."), "", "")
        if name.startswith(f"{side}.conv"):
            stored[name] = tensor
        elif name.startswith(f"{side}.norm"):
            stored[f"{side}.layer_norm.{kind}"] = tensor
        elif inner and inner[0] == "layers":
            theirs = names[module]
            for part, chunk in zip(theirs, tensor.chunk(len(theirs)), strict=True):
                if not (part.endswith("k_proj") and kind == "bias"):
                    stored[f"{side}.layers.{inner[1]}.{part}.{kind}"] = chunk
    save_file({f"model.{name}": tensor.half().contiguous() for name, tensor in stored.items()},
              directory / "model.safetensors")  # fmt: skip
    sizes = {
        "num_mel_bins": ARCH.mels, "d_model": ARCH.width, "vocab_size": ARCH.vocabulary,
        "encoder_attention_heads": ARCH.encoder_heads, "decoder_attention_heads": ARCH.decoder_heads,
        **{name: value for name, value in asdict(ARCH).items() if name.endswith("layers")},
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(sizes))
    generation = {
        "alignment_heads": HEADS, "suppress_tokens": SUPPRESS, "begin_suppress_tokens": SUPPRESS_AT_START
    }  # fmt: skip
    (directory / "generation_config.json").write_text(json.dumps(generation))
    write_tokenizer(directory)
    return directory


def write_ctranslate2(directory: Path, model: Whisper, quantization: str | None) -> Path:
    """Write a directory by CTranslate2's own converter code, quantized as it does."""
    from ctranslate2.specs import WhisperSpec

    directory.mkdir()
    spec = WhisperSpec(ARCH.encoder_layers, ARCH.encoder_heads, ARCH.decoder_layers, ARCH.decoder_heads)
    for conv in ("conv1", "conv2"):
        _set(getattr(spec.encoder, conv), getattr(model.encoder, conv))
    spec.encoder.position_encodings.encodings = _array(model.encoder.positions)
    spec.decoder.position_encodings.encodings = _array(model.decoder.positions)
    spec.decoder.embeddings.weight = _array(model.decoder.embedding.weight)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    for side, ours in ((spec.encoder, model.encoder), (spec.decoder, model.decoder)):
        _set_norm(side.layer_norm, ours.norm)
        for theirs, layer in zip(side.layer, ours.layers, strict=True):
            _set_attention(theirs.self_attention, layer.attention_norm, [layer.qkv, layer.out])
            if side is spec.decoder:
                _set_attention(
                    theirs.attention, layer.cross_norm, [layer.cross_query, layer.cross_key_value, layer.cross_out]
                )
            _set_norm(theirs.ffn.layer_norm, layer.ffn_norm)
            _set(theirs.ffn.linear_0, layer.up)
            _set(theirs.ffn.linear_1, layer.down)
    spec.config.alignment_heads = [list(head) for head in HEADS]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = list(SUPPRESS), list(SUPPRESS_AT_START)
    spec.config.lang_ids = [SPECIAL_IDS["en"]]
    spec.register_vocabulary(vocabulary())
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(directory))
    write_tokenizer(directory)
    return directory


def _array(tensor: Tensor) -> Any:
    return tensor.detach().numpy().copy()


def _set(theirs: Any, module: Any) -> None:
    theirs.weight, theirs.bias = _array(module.weight), _array(module.bias)


def _set_norm(theirs: Any, module: Any) -> None:
    theirs.gamma, theirs.beta = _array(module.weight), _array(module.bias)


def _set_attention(theirs: Any, norm: Any, linear: Sequence[Any]) -> None:
    _set_norm(theirs.layer_norm, norm)
    for spec, module in zip(theirs.linear, linear, strict=True):
        _set(spec, module)
