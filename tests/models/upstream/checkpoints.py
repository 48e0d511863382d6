"""Small checkpoints with random weights, as f5-tts saves them, of each of its networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from f5_worker.models.config import ModelConfig
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.upstream.checkpoint import build_cfm
from tests.conftest import TINY
from tests.models.f5.conftest import randomise

_SMALL = {"dim": 64, "depth": 4, "heads": 2, "dim_head": 32, "ff_mult": 2}
CONFIGS = {
    "E2-TTS": ModelConfig(_SMALL | {"text_mask_padding": False, "pe_attn_head": 1}, "UNetT"),
    "E2-TTS, newer": ModelConfig(_SMALL | {"text_dim": 32, "conv_layers": 1, "skip_connect_type": "add"}, "UNetT"),
    "MMDiT": ModelConfig(_SMALL, "MMDiT"),
    "F5-TTS": ModelConfig(_SMALL | {"text_dim": 32, "conv_layers": 1}, "DiT"),
}


def write_checkpoint(directory: Path, config: ModelConfig, seed: int = 0) -> Path:
    """Write a model of f5-tts, with the vocabulary, the vocoder and the voices of f5-tiny; return the directory."""
    cfm = build_cfm(config, len(Vocabulary.load(TINY / "vocab.txt")))
    randomise(cfm, seed)
    directory.mkdir(parents=True, exist_ok=True)
    weights = {f"ema_model.{name}": tensor for name, tensor in cfm.state_dict().items()}
    save(directory, weights | {"initted": torch.tensor(True), "step": torch.tensor(1)})
    values = {**config.arch, "backbone": config.backbone, "mel_spec_type": config.mel_spec_type}
    (directory / "arch.json").write_text(json.dumps(values))
    for name in ("vocab.txt", "vocoder.safetensors", "voices"):
        (directory / name).symlink_to(TINY / name)
    return directory


def save(directory: Path, weights: dict[str, Any]) -> None:
    save_file(weights, directory / "model.safetensors")
