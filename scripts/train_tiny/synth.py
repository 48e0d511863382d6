"""Synthesize speech with its timeline: Piper or Kokoro speaks the prepared items.

Both models give the duration of each phoneme, so every character gets its true time, from which the alignment
curriculum is made. Piper runs on the CPU's cores, Kokoro on the GPU. Stops at a deadline and keeps what is done.

    python -m scripts.train_tiny.synth piper  --model joe.onnx    --config joe.json --items items.jsonl.xz \
        --out shards/ --seconds 80
    python -m scripts.train_tiny.synth kokoro --model kokoro.onnx --config joe.json --items items.jsonl.xz \
        --out extra/ --styles styles.npz --vocab vocab.json --voices af_bella am_adam+af_kore --seconds 200 --workers 6
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.train_tiny.phonemes import load_items

EDGE_S = 0.03  # silence kept around the speech


@dataclass(frozen=True)
class TimedUtterance:
    """An utterance trimmed to its speech, with times in seconds from its start."""

    text: str
    wav: np.ndarray  # [nw] int16
    rate_hz: int
    char_t: np.ndarray  # [len(text)] float32
    phone_t: np.ndarray  # [np] float32
    phone_id: np.ndarray  # [np] int16
    voice: str
    slowness: float  # 1 = the voice's own pace, 2 = twice as long


class SpeechSynthesizer(Protocol):
    """A text-to-speech model that gives the duration of each phoneme."""

    def speak(self, item: dict[str, Any], rng: np.random.Generator) -> TimedUtterance | None:
        """Speak an item of `phonemes.prepare`; return None if the model cannot."""


def _session(model: bytes | str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_output(model: Path, op_type: str) -> bytes:
    """Return the ONNX model with its per-phoneme durations (the only `op_type` node) as a further output."""
    import onnx

    graph = onnx.load(str(model))
    names = [node.output[0] for node in graph.graph.node if node.op_type == op_type]
    assert len(names) == 1, names
    graph.graph.output.append(onnx.helper.make_tensor_value_info(names[0], onnx.TensorProto.FLOAT, None))
    return graph.SerializeToString()


class Piper:
    """en_US-joe-medium: 22,050 Hz, durations in hops of 256 samples."""

    def __init__(self, model: Path) -> None:
        self.session = _session(with_output(model, "Ceil"))

    def speak(self, item: dict[str, Any], rng: np.random.Generator) -> TimedUtterance | None:
        """Speak an item at a random pace; see SpeechSynthesizer."""
        ids = np.array([item["ids"]], np.int64)
        slowness = float(np.exp(rng.uniform(np.log(0.7), np.log(1.8))))
        scales = np.array([rng.uniform(0.5, 0.7), slowness, rng.uniform(0.5, 0.9)], np.float32)
        lengths = np.array([ids.shape[1]], np.int64)
        wav, hops = self.session.run(None, {"input": ids, "input_lengths": lengths, "scales": scales})
        starts = np.concatenate([[0], np.cumsum(hops.reshape(-1))])[2:-2:2] * 256 / 22_050
        phones = np.array(item["ids"][2:-1:2], np.int16)
        return trim(item, wav.reshape(-1), 22_050, starts, phones, "joe", slowness)


class Kokoro:
    """Kokoro-82M: 24,000 Hz, durations in frames of 600 samples; one style vector for each length of text."""

    def __init__(self, model: Path, styles: Path, vocab: Path, voices: Sequence[str], worker: int = 0) -> None:
        import torch

        from scripts.train_tiny.onnx_torch import OnnxGraph

        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("high")
        if gpus := torch.cuda.device_count():
            torch.cuda.set_device(worker % gpus)
        self.device = torch.device("cuda" if gpus else "cpu")
        self.graph = OnnxGraph(model, ["audio", "/encoder/Clip_output_0"], self.device)
        self.vocab: dict[str, int] = json.loads(vocab.read_text())["vocab"]
        self.styles, self.voices = voice_styles(styles, voices), list(voices)

    def speak(self, item: dict[str, Any], rng: np.random.Generator) -> TimedUtterance | None:
        """Speak an item in a random voice (as often as it is named) at a random pace; see SpeechSynthesizer."""
        return self.speak_as(item, str(rng.choice(self.voices)), float(np.exp(rng.uniform(np.log(0.75), np.log(1.6)))))

    def speak_as(self, item: dict[str, Any], voice: str, slowness: float = 1.0) -> TimedUtterance | None:
        """Speak an item in one of the voices; return None if the model cannot."""
        import torch

        tokens = [0, *(self.vocab.get(phoneme, -1) for phoneme in item["phonemes"]), 0]
        if min(tokens) < 0 or len(tokens) - 2 >= len(self.styles[voice]):
            return None
        feeds = {
            "tokens": torch.tensor([tokens]),
            "style": torch.from_numpy(self.styles[voice][len(tokens) - 2][None]).to(self.device),
            "speed": torch.tensor([1 / slowness], device=self.device),
        }
        wav, frames = (value.cpu().numpy().reshape(-1) for value in self.graph(feeds))
        starts = np.concatenate([[0], np.cumsum(frames.round())])[1:-2] * 600 / 24_000
        phones = np.array(item["ids"][2:-1:2], np.int16)
        return trim(item, wav, 24_000, starts, phones, voice, slowness)


def voice_styles(path: Path, voices: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the style vectors of each voice, a row for each length of text.

    `a+b` is the mean of two voices, `0.3*a+0.7*b` a weighted one.
    """
    styles = {}
    with np.load(path) as data:
        for voice in voices:
            parts = [part.rpartition("*") for part in voice.split("+")]
            weights = [float(weight or 1 / len(parts)) for weight, _, _ in parts]
            styles[voice] = sum(
                w * data[name].astype(np.float32) for w, (_, _, name) in zip(weights, parts, strict=True)
            )
    return styles


def mixtures(path: Path, count: int, seed: int) -> list[str]:
    """Return random mixtures of two or three English voices of the same sex, as `voice_styles` takes them."""
    with np.load(path) as data:
        names = [name for name in data.files if name[0] in "ab"]
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        alike = [name for name in names if name[1] == "fm"[index % 2]]
        parts = rng.choice(alike, 2 + int(rng.random() < 0.4), replace=False)
        weights = rng.dirichlet(np.full(len(parts), 2.0))
        found.append("+".join(f"{weight:.2f}*{name}" for weight, name in zip(weights, parts, strict=True)))
    return found


def trim(
    item: dict[str, Any], wav: np.ndarray, rate_hz: int, starts: np.ndarray, phones: np.ndarray, voice: str, slow: float
) -> TimedUtterance | None:
    """Cut silent ends, scale the peak to 0.9, and return times relative to the new start; None for silence."""
    peak = float(np.abs(wav).max())
    loud = np.flatnonzero(np.abs(wav) > 0.015 * peak)
    if peak < 1e-3 or loud.size == 0:
        return None
    edge = int(EDGE_S * rate_hz)
    first, last = max(0, int(loud[0]) - edge), min(len(wav), int(loud[-1]) + edge)
    cut = wav[first:last] * (0.9 / peak)
    ramp = np.linspace(0, 1, min(edge // 3, len(cut) // 4), dtype=np.float32)
    cut[: len(ramp)] *= ramp
    cut[len(cut) - len(ramp) :] *= ramp[::-1]
    length_s = len(cut) / rate_hz
    phone_t = np.clip(starts - first / rate_hz, 0, length_s)
    marks = np.concatenate([phone_t, [length_s]])
    char_t = np.interp(item["char_start"], np.arange(len(marks)), marks)
    return TimedUtterance(
        item["text"], (cut * 32767).astype(np.int16), rate_hz, char_t.astype(np.float32),
        phone_t.astype(np.float32), phones, voice, slow,
    )  # fmt: skip


def save(spoken: list[TimedUtterance], path: Path) -> None:
    """Write a .npz of flat arrays and a JSON index to a temporary file and rename it: readers see whole files."""
    index = [
        {"text": s.text, "voice": s.voice, "slowness": s.slowness, "rate_hz": s.rate_hz, "samples": len(s.wav),
         "phones": len(s.phone_id)}
        for s in spoken
    ]  # fmt: skip
    flat = {name: np.concatenate([getattr(s, name) for s in spoken]) for name in _ARRAYS}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, index=np.frombuffer(json.dumps(index).encode(), np.uint8), **flat)
    os.replace(part, path)


_ARRAYS = ("wav", "char_t", "phone_t", "phone_id")


def load(path: Path) -> list[TimedUtterance]:
    """Read the utterances of a file that `save` wrote."""
    with np.load(path) as data:
        index = json.loads(data["index"].tobytes())
        wav, char_t, phone_t, phone_id = (data[name] for name in _ARRAYS)
    spoken, w, c, p = [], 0, 0, 0
    for row in index:
        nw, nc, np_ = row["samples"], len(row["text"]), row["phones"]
        spoken.append(
            TimedUtterance(row["text"], wav[w : w + nw], row["rate_hz"], char_t[c : c + nc], phone_t[p : p + np_],
                   phone_id[p : p + np_], row["voice"], row["slowness"])
        )  # fmt: skip
        w, c, p = w + nw, c + nc, p + np_
    return spoken


def _work(args: argparse.Namespace, items: list[dict[str, Any]], worker: int, until: float) -> None:
    synthesizer: SpeechSynthesizer = (
        Piper(args.model)
        if args.engine == "piper"
        else Kokoro(args.model, args.styles, args.vocab, args.voices, worker)
    )
    began, spoken_s = time.time(), 0.0
    rng = np.random.default_rng([args.seed, worker])
    done: list[TimedUtterance] = []
    shard = 0
    for item in items:
        if time.time() > until:
            break
        spoken = synthesizer.speak(item, rng)
        if spoken is not None:
            done.append(spoken)
            spoken_s += len(spoken.wav) / spoken.rate_hz
        if len(done) == args.shard:
            save(done, args.out / f"{worker:02d}-{shard:04d}.npz")
            done, shard = [], shard + 1
    if done:
        save(done, args.out / f"{worker:02d}-{shard:04d}.npz")
    print(f"{args.engine} {worker}: {spoken_s:.0f} s of speech in {time.time() - began:.0f} s", flush=True)


def main() -> None:
    """Speak the items in parallel until the deadline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=["piper", "kokoro"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the Piper voice's .onnx.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--styles", type=Path)
    parser.add_argument("--vocab", type=Path)
    parser.add_argument("--voices", nargs="+", help="of the styles; a voice named twice speaks twice as often")
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--shard", type=int, default=100)
    parser.add_argument("--mixtures", type=int, default=0, help="so many random mixtures of voices as well")
    parser.add_argument("--seed", type=int, default=1, help="of the items' order, the paces and the mixtures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    items = load_items(args.items, json.loads(args.config.read_text())["phoneme_id_map"])
    np.random.default_rng(args.seed).shuffle(items)
    if args.mixtures:
        args.voices = [*(args.voices or []), *mixtures(args.styles, args.mixtures, args.seed)]
    until = time.time() + args.seconds
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work, args=(args, items[w :: args.workers], w, until)) for w in range(args.workers)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    if any(process.exitcode for process in workers):
        raise SystemExit("a worker failed")


if __name__ == "__main__":
    main()
