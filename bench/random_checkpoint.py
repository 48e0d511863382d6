"""A checkpoint of a published shape with random weights, for measuring speed where the real one is not at hand.

    python bench/random_checkpoint.py out/random-base [--shape F5TTS_v1_Base]

What the weights are does not change how long a step takes; none is zero, as upstream's initial ones are.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker.models.f5.config import MEL_BANDS, PUBLISHED  # noqa: E402 - the repository is no installed package
from f5_worker.models.f5.network import DiT  # noqa: E402
from f5_worker.models.f5.vocoder import Vocos  # noqa: E402

VOCABULARY = 2_545  # of the published checkpoints
VOCOS = (MEL_BANDS, 512, 1_536, 8)  # charactr/vocos-mel-24khz: bands, width, inner width, layers


def write(directory: Path, shape: str) -> None:
    """`model.safetensors` (fp16, upstream's names), `arch.json`, `vocab.txt` and `vocoder.safetensors`."""
    arch = PUBLISHED[shape]
    model, vocoder = DiT(arch, VOCABULARY), Vocos(*VOCOS)
    weights = {}
    for name, tensor in drawn(model).items():
        if ".to_qkv." in name:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            weights |= {name.replace("to_qkv", f"to_{part}"): third.clone() for part, third in parts}
        else:
            weights[name] = tensor
    directory.mkdir(parents=True, exist_ok=True)
    named = {f"ema_model.transformer.{name}": tensor.half() for name, tensor in weights.items()}
    save_file(named, directory / "model.safetensors")
    save_file(drawn(vocoder), directory / "vocoder.safetensors")
    (directory / "arch.json").write_text(json.dumps(asdict(arch)))
    (directory / "vocab.txt").write_text("".join(f"{chr(0x4E00 + i)}\n" for i in range(VOCABULARY)))


def drawn(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Its parameters, at a size that keeps activations near 1."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, parameter in module.named_parameters():
        spread = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
        weights[name] = spread * torch.randn(parameter.shape, generator=generator)
    return weights


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--shape", choices=sorted(PUBLISHED), default="F5TTS_v1_Base")
    asked = parser.parse_args()
    write(asked.directory, asked.shape)
