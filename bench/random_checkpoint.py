"""A checkpoint of a published architecture with random weights, to measure speed without the real one.

    python bench/random_checkpoint.py out/random-base [--arch F5TTS_v1_Base]

The values of the weights do not change how long a step takes; none is zero, as upstream's initial ones are.
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

from f5_worker.models.f5.config import MEL_BANDS, PUBLISHED  # noqa: E402 - the repository is not an installed package
from f5_worker.models.f5.network import DiT  # noqa: E402
from f5_worker.models.f5.vocoder import Vocos  # noqa: E402

VOCABULARY_SIZE = 2_545  # of the published checkpoints
VOCOS = (MEL_BANDS, 512, 1_536, 8)  # charactr/vocos-mel-24khz: bands, width, inner width, layers


def write_checkpoint(directory: Path, name: str) -> None:
    """Write `model.safetensors` (fp16, upstream's names), `arch.json`, `vocab.txt` and `vocoder.safetensors`."""
    arch = PUBLISHED[name]
    model, vocoder = DiT(arch, VOCABULARY_SIZE), Vocos(*VOCOS)
    weights = {}
    for key, tensor in random_weights(model).items():
        if ".to_qkv." in key:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            weights |= {key.replace("to_qkv", f"to_{part}"): third.clone() for part, third in parts}
        else:
            weights[key] = tensor
    directory.mkdir(parents=True, exist_ok=True)
    upstream_weights = {f"ema_model.transformer.{key}": tensor.half() for key, tensor in weights.items()}
    save_file(upstream_weights, directory / "model.safetensors")
    save_file(random_weights(vocoder), directory / "vocoder.safetensors")
    (directory / "arch.json").write_text(json.dumps(asdict(arch)))
    (directory / "vocab.txt").write_text("".join(f"{chr(0x4E00 + i)}\n" for i in range(VOCABULARY_SIZE)))


def random_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Draw values for a module's parameters, at a scale that keeps activations near 1."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, parameter in module.named_parameters():
        scale = 0.5 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
        weights[key] = scale * torch.randn(parameter.shape, generator=generator)
    return weights


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--arch", choices=sorted(PUBLISHED), default="F5TTS_v1_Base")
    args = parser.parse_args()
    write_checkpoint(args.directory, args.arch)
