"""Speak with a trained checkpoint, as upstream's `CFM.sample` does for one item: mels of the targets.

    python -m scripts.train_tiny.sample --weights 'out/ema.*.safetensors' --voices voices/ --texts sentences.txt \
        --nfe 32 --out mels.npz [--part 0/8]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torchaudio
from torch import Tensor

from scripts.train_tiny import model as model_module
from scripts.train_tiny.corpus import FLOOR, RATE_HZ, log_mel
from scripts.train_tiny.export import PREFIX, load_parts
from scripts.train_tiny.model import Arch, TinyDiT, even_upsampling
from scripts.train_tiny.texts import VOCAB

EPSS = {
    7: [0, 2, 4, 6, 8, 16, 24, 32],
    16: [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32],
}  # upstream's pruned steps, in 32nds
CFG, SWAY = 2.0, -1.0
_COUNTED = (("transformer_blocks.", 1), ("text_embed.text_blocks.", 2))  # where a key carries a block's number


def load_model(pattern: str, device: torch.device) -> TinyDiT:
    """Load training parts or an exported model.safetensors."""
    model_module.RESIDUAL.clear()  # inference in float32 throughout
    weights = {k.removeprefix(PREFIX).removeprefix("dit."): v.float() for k, v in load_parts(pattern).items()}
    depth, layers = (len({k.split(".")[i] for k in weights if k.startswith(p)}) for p, i in _COUNTED)
    dit = TinyDiT(Arch(depth=depth, conv_layers=layers), len(VOCAB))
    missing, _ = dit.load_state_dict({k: v for k, v in weights.items() if not k.startswith("heads.")}, strict=False)
    if missing:
        raise ValueError(f"weights lack {missing}")
    return dit.to(device).eval()


def load_reference(wav: Path, device: torch.device) -> Tensor:
    """Return the log mel [n 100] of a clip, raised to upstream's RMS of 0.1 if quieter."""
    import wave

    with wave.open(str(wav)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
    audio = torch.from_numpy(samples.mean(1) / 32768).float()
    rms = audio.square().mean().sqrt()
    audio = audio * max(1.0, 0.1 / float(rms))
    if rate != RATE_HZ:
        audio = torchaudio.functional.resample(audio, rate, RATE_HZ)
    return log_mel(torch.device("cpu"))(audio).clamp_min(1e-5).log().T.to(device)


def total_frames(reference: Tensor, reference_text: str, text: str) -> int:
    """Return upstream's length: as many frames a byte as the reference; very short texts at 0.3 of its pace."""
    frames = len(reference) - 1
    pace = 0.3 if len(text.encode()) < 10 else 1.0
    return frames + int(frames / len(reference_text.encode()) * len(text.encode()) / pace)


@torch.inference_mode()
def speak(dit: TinyDiT, reference: Tensor, reference_text: str, text: str, nfe: int, seed: int) -> Tensor:
    """Return the mel [n 100] of the target alone."""
    reference_text = reference_text.strip() + " "
    tokens = [VOCAB.index(char) for char in reference_text + text if char in VOCAB]
    n = max(total_frames(reference, reference_text, text), len(tokens) + 1, len(reference) + 1)
    device = reference.device
    x = torch.randn(n, 100, generator=torch.Generator().manual_seed(seed)).to(device)
    cond = torch.zeros(2, n, 100, device=device)
    cond[0, : len(reference)] = reference
    ids = torch.nn.functional.pad(torch.tensor([tokens, tokens], device=device), (0, 18))
    lengths = torch.tensor([len(tokens)] * 2, device=device)
    drop = torch.tensor([False, True], device=device)
    encoded = dit.encode_text(ids, lengths, drop, torch.tensor([n, n], device=device))
    spread = even_upsampling(torch.arange(n, device=device), lengths, n)
    for now, then in _steps(nfe):
        at = torch.full((2,), now, device=device)
        flow, _ = dit(x.expand(2, n, 100), cond, encoded, spread, at)
        x = x + (then - now) * (flow[0] + CFG * (flow[0] - flow[1]))
    return x[len(reference) :].clamp_min(FLOOR)


def _steps(nfe: int) -> list[tuple[float, float]]:
    grid = torch.tensor(EPSS[nfe]) / 32 if nfe in EPSS else torch.linspace(0, 1, nfe + 1)
    grid = grid + SWAY * (torch.cos(torch.pi / 2 * grid) - 1 + grid)
    return list(zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True))


def main() -> None:
    """Speak the texts and write their mels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--voices", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--nfe", type=int, default=32)
    parser.add_argument("--part", default="0/1", help="i/k: every k-th text, from the i-th")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dit = load_model(args.weights, device)
    voices = sorted(args.voices.glob("*.wav"))
    texts = [line for line in args.texts.read_text().splitlines() if line]
    part, parts = map(int, args.part.split("/"))
    mels = {}
    for index in range(part, len(texts), parts):
        wav = voices[index % len(voices)]
        reference = load_reference(wav, device)
        mel = speak(dit, reference, wav.with_suffix(".txt").read_text(), texts[index], args.nfe, seed=index)
        mels[f"{index:03d}-{wav.stem}"] = mel.cpu().half().numpy()
    np.savez(args.out, **mels)


if __name__ == "__main__":
    main()
