"""Speak with a trained checkpoint, as upstream's `CFM.sample` does for one item; the voices in turn.

    python -m scripts.train_tiny.sample --weights 'out/ema.*.safetensors' --vocoder vocoder.safetensors \
        --voices voices/ --texts held_out/*.txt --nfe 16 --out spoken/ [--part 0/8]

Writes spoken/<file of the text>-<line>-<voice>.ogg: Opus, a tenth of the size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile
import torch
import torchaudio
from safetensors.torch import load_file
from torch import Tensor

from f5_worker.models.f5.vocoder import Vocos
from scripts.train_tiny import model as model_module
from scripts.train_tiny.corpus import FLOOR, RATE_HZ, log_mel
from scripts.train_tiny.export import PREFIX, load_parts
from scripts.train_tiny.model import Arch, TinyDiT, even_upsampling
from scripts.train_tiny.prose import FRENCH

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
    characters = len(weights["text_embed.text_embed.weight"]) - 1
    qk_norm = "rms_norm" if any(".q_norm." in key for key in weights) else None
    dit = TinyDiT(Arch(depth=depth, conv_layers=layers, qk_norm=qk_norm), characters)
    missing, _ = dit.load_state_dict({k: v for k, v in weights.items() if not k.startswith("heads.")}, strict=False)
    if missing:
        raise ValueError(f"weights lack {missing}")
    return dit.to(device).eval()


def load_reference(clip: Path, device: torch.device) -> Tensor:
    """Return the log mel [n 100] of a clip, raised to upstream's RMS of 0.1 if quieter."""
    samples, rate = soundfile.read(clip, dtype="float32", always_2d=True)
    audio = torch.from_numpy(samples.mean(1))
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
    known = FRENCH[: dit.text_embed.text_embed.num_embeddings - 1]
    tokens = [known.index(char) for char in reference_text + text if char in known]
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
    """Speak the texts and write them as audio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--vocoder", type=Path, required=True)
    parser.add_argument("--voices", type=Path, required=True, help="folder of clips, each with its transcript")
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--nfe", type=int, default=16)
    parser.add_argument("--part", default="0/1", help="i/k: every k-th text, from the i-th")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dit = load_model(args.weights, device)
    vocoder = Vocos.from_weights(load_file(args.vocoder)).to(device)
    clips = sorted(path for path in args.voices.iterdir() if path.suffix != ".txt")
    voices = {clip.stem: (load_reference(clip, device), clip.with_suffix(".txt").read_text().strip()) for clip in clips}
    names = list(voices)
    jobs = [(path.stem, i, line) for path in args.texts for i, line in enumerate(path.read_text().splitlines())]
    part, parts = map(int, args.part.split("/"))
    for stem, index, text in jobs[part::parts]:
        name = names[index % len(names)]
        mel = speak(dit, *voices[name], text, args.nfe, seed=index)
        with torch.inference_mode():
            (audio,) = vocoder([mel])
        wav = audio.clamp(-1, 1).cpu().numpy()
        soundfile.write(args.out / f"{stem}-{index:03d}-{name}.ogg", wav, RATE_HZ, format="OGG", subtype="OPUS")


if __name__ == "__main__":
    main()
