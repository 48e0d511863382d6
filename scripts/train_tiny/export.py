"""Convert training weights to the files of models/f5-tiny.

python -m scripts.train_tiny.export --weights 'out/ema.*.safetensors' --vocoder vocoder.safetensors --out f5-tiny/
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from scripts.train_tiny.model import Arch
from scripts.train_tiny.prose import VOCABS

PREFIX = "ema_model.transformer."
PART_BYTES = 15_000_000


def save_parts(weights: dict[str, Tensor], folder: Path, name: str) -> list[Path]:
    """Write `name.0.safetensors`, ...: parts below the size limits of most transfers."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, value in weights.items():
        if size + value.nbytes > PART_BYTES and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][key] = value.contiguous()
        size += value.nbytes
    paths = [folder / f"{name}.{index}.safetensors" for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        save_file(part, path)
    return paths


def load_parts(pattern: str) -> dict[str, Tensor]:
    """Read all parts whose paths match a pattern.

    Raises:
        FileNotFoundError: no file matches.
    """
    path = Path(pattern)
    found: dict[str, Tensor] = {}
    for part in sorted(path.parent.glob(path.name)):
        found |= load_file(part)
    if not found:
        raise FileNotFoundError(pattern)
    return found


def export(weights: dict[str, Tensor], vocoder: Path, out: Path, language: str = "en-us") -> None:
    """Write the model's files without the heads that only training uses."""
    out.mkdir(parents=True, exist_ok=True)
    model = {PREFIX + k.removeprefix("dit."): v.half().clone() for k, v in weights.items() if k.startswith("dit.")}
    if not all(bool(torch.isfinite(v).all()) for v in model.values()):
        raise ValueError("a weight is not finite in float16")
    save_file(model, out / "model.safetensors", metadata={"format": "pt"})
    (out / "arch.json").write_text(json.dumps(Arch().as_dict()) + "\n")
    traits = {
        "languages": [language.split("-")[0]],
        "characters": True,  # as corpus.py splits a text
        "guillemets": set("«»") <= set(VOCABS[language]),
        **dict.fromkeys(("lower_capitals", "spell_letters", "one_sentence"), True),  # what the texts have none of
    }
    (out / "text.json").write_text(json.dumps(traits) + "\n")
    (out / "vocab.txt").write_text("".join(f"{char}\n" for char in VOCABS[language]))
    own = out / "vocoder.safetensors"
    if vocoder.resolve() != own.resolve():
        own.unlink(missing_ok=True)  # models/f5-tiny-fr has a link to that of models/f5-tiny
        shutil.copyfile(vocoder, own)


def main() -> None:
    """Export a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="pattern of the parts")
    parser.add_argument("--vocoder", type=Path, required=True)
    parser.add_argument("--language", choices=list(VOCABS), default="en-us")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(load_parts(args.weights), args.vocoder, args.out, args.language)


if __name__ == "__main__":
    main()
