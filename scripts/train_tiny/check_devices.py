"""Hold Kokoro on the GPU equal to Kokoro on the CPU, before hours of speech are made: the same loudness over time.

python -m scripts.train_tiny.check_devices --model kokoro.onnx --styles styles.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from scripts.train_tiny.onnx_torch import OnnxGraph
from scripts.train_tiny.synth import voice_styles

TOKENS = [0, 50, 47, 54, 156, 57, 135, 3, 16, 65, 156, 87, 158, 54, 46, 4, 0]  # "hello, world" in Kokoro's phonemes


def loudness(model: Path, style: np.ndarray, device: str) -> np.ndarray:
    """Return the root mean square of every 25 ms of a short text."""
    graph = OnnxGraph(model, ["audio"], torch.device(device))
    feeds = {
        "tokens": torch.tensor([TOKENS]), "style": torch.from_numpy(style).to(device),
        "speed": torch.tensor([1.0], device=device),
    }  # fmt: skip
    wav = graph(feeds)[0].cpu().numpy().reshape(-1)
    return np.sqrt(np.square(wav[: len(wav) // 600 * 600].reshape(-1, 600)).mean(1))


def main() -> None:
    """Compare the two, and fail if they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--styles", type=Path, required=True)
    args = parser.parse_args()
    style = voice_styles(args.styles, ["af_bella"])["af_bella"][len(TOKENS) - 2][None]
    cpu, gpu = (loudness(args.model, style, d) for d in ("cpu", "cuda" if torch.cuda.is_available() else "cpu"))
    same = len(cpu) == len(gpu) and float(np.corrcoef(cpu, gpu)[0, 1])
    print(f"{len(cpu)} and {len(gpu)} frames, correlation {same}, level {cpu.mean():.4f} and {gpu.mean():.4f}")
    if not same or same < 0.95 or not 0.8 < gpu.mean() / cpu.mean() < 1.25:
        raise SystemExit("the GPU computes something else")


if __name__ == "__main__":
    main()
