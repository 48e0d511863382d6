"""Train the DiT: a CUDA graph for each shape, all data resident on the GPU, a schedule by the clock.

    torchrun --nproc-per-node 2 -m scripts.train_tiny.train --shards shards/ extra/ --out out/ \
        --seconds 450 [--wait-for synth.done] [--resume 'out/ema.*.safetensors' --alpha-from 1 --from-progress 0.5]

The run ends after `--seconds` of updates (or `--steps`), its schedule stretched to fit; one that was cut off goes on
from its last snapshot and the progress that the snapshot had. Seeds are fixed; with `--steps` two runs see the same
items. It runs on a CPU too, for tests.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from scripts.train_tiny.batches import Batch, Composer, random_batch
from scripts.train_tiny.corpus import build, load_spoken
from scripts.train_tiny.export import PREFIX, load_parts, save_parts
from scripts.train_tiny.model import Arch, TinyDiT, grouped_conv, plain_conv, with_further_characters
from scripts.train_tiny.optim import FlatOptimizer
from scripts.train_tiny.prose import VOCABS

TAPS, PHONES = (3, 6), 256
EMBEDDING = "dit.text_embed.text_embed.weight"
QK_SCALE = 1.4  # of normalized queries and keys, for weights that were trained without: raises their loss by 4 %
SHAPES = ((448, 0.25), (832, 0.35), (1408, 0.4))  # frames an item, share of the updates


class Learner(nn.Module):
    """The model and, in training only, two heads that predict the phoneme of each frame, which speeds up alignment."""

    def __init__(self, arch: Arch, characters: int, conv, wrap) -> None:
        super().__init__()
        self.dit = TinyDiT(arch, characters, conv=conv, wrap=wrap)
        self.heads = nn.ModuleList(nn.Linear(arch.dim, PHONES) for _ in TAPS)
        for head in self.heads:  # at first they teach the model nothing
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, s: dict[str, Tensor]) -> Tensor:
        """Return the losses of the flow and of the phonemes."""
        text = self.dit.encode_text(s["tokens"], s["lengths"], s["drop_text"], s["padded_to"])
        flow, hidden = self.dit(s["x"], s["cond"], text, s["upsample"], s["time"], TAPS)
        spoken = s["spoken"]
        count = spoken.sum().clamp_min(1)
        miss = ((flow.float() - s["flow"]).square().mean(-1) * spoken).sum() / count
        naming = spoken * ~s["drop_text"][:, None]
        guesses = [head(h).float().flatten(0, 1) for head, h in zip(self.heads, hidden, strict=True)]
        each = [nn.functional.cross_entropy(g, s["phone"].flatten(), reduction="none") for g in guesses]
        named = (sum(each) * naming.flatten()).sum() / naming.sum().clamp_min(1) / len(guesses)
        return torch.stack((miss, named))


def fill_inputs(batch: Batch, rng: torch.Generator, out: dict[str, Tensor]) -> None:
    """Fill the static inputs: time steps (half of them early, as in sway sampling), noise, drops."""
    x1, shown = batch.mel, batch.shown
    b, n = shown.shape
    u = torch.rand(b, 3, generator=rng, device=x1.device)
    time_ = torch.where(u[:, 1] < 0.5, u[:, 0], 1 - torch.cos(math.pi / 2 * u[:, 0]))
    x0 = torch.randn(x1.shape, generator=rng, device=x1.device)
    t = time_[:, None, None]
    drop_text = u[:, 2] < 0.13
    drop_audio = u[:, 2] < 0.20
    stretch = 1 + 0.6 * torch.rand(b, generator=rng, device=x1.device) * (u[:, 1] > 0.7)
    values = {
        "x": (1 - t) * x0 + t * x1, "flow": x1 - x0, "cond": x1 * (shown & ~drop_audio[:, None])[..., None],
        "time": time_, "tokens": batch.tokens, "lengths": batch.lengths, "upsample": batch.upsample,
        "drop_text": drop_text, "padded_to": (n * stretch).long(), "phone": batch.phone, "spoken": (~shown).float(),
    }  # fmt: skip
    for name, value in values.items():
        if name in out:
            out[name].copy_(value)
        else:
            out[name] = value.clone()


class Trainer:
    """One rank of a training run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if self.world > 1:
            dist.init_process_group("nccl" if cuda else "gloo", device_id=self.device if cuda else None)
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        wrap = (lambda f: torch.compile(f, dynamic=False)) if cuda else (lambda f: f)
        conv = plain_conv if args.conv == "plain" else wrap(grouped_conv)
        self.learner = Learner(Arch(), len(VOCABS[args.language]), conv, wrap).to(self.device)
        if args.resume:
            self._resume(args.resume)
        self.optimizer = FlatOptimizer(self.learner)
        self.rng = torch.Generator(self.device).manual_seed(args.seed * 1000 + self.rank)
        self.shapes = [(max(2, args.frames // n), n, n // 3) for n, _ in SHAPES]
        self.inputs: list[dict[str, Tensor]] = [{} for _ in self.shapes]
        self.losses = torch.zeros(len(self.shapes), 2, device=self.device)
        self.aux = torch.tensor(args.aux, device=self.device)
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self.log: list[dict[str, float]] = []
        start = [t.clone() for t in self.optimizer.state()]
        self.damping, self.good_states, self.skipped_before, self.lowest_norm = 1.0, [start, start], 0.0, math.inf

    def _resume(self, pattern: str) -> None:
        found = {k.replace(PREFIX, "dit."): v.float() for k, v in load_parts(pattern).items()}
        own, characters = self.learner.state_dict(), len(found[EMBEDDING])
        found[EMBEDDING] = with_further_characters(found[EMBEDDING], VOCABS[self.args.language])
        if len(found[EMBEDDING]) > characters:  # another language: its phonemes are learned from the beginning
            found = {k: v for k, v in found.items() if not k.startswith("heads.")}
        scales = {k: torch.full_like(v, QK_SCALE) for k, v in own.items() if ".attn." in k and "_norm." in k}
        missing, unknown = self.learner.load_state_dict(scales | found, strict=False)
        self.print(f"resumed from {pattern}: missing {missing}, unknown {unknown}")

    def print(self, text: str) -> None:
        """Print a line with the time, on rank 0."""
        if self.rank == 0:
            print(f"[{time.strftime('%X')}] {text}", flush=True)

    def forward_backward(self, index: int) -> None:
        """Compute losses and gradients on the static inputs of one shape."""
        self.optimizer.grad.zero_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False):
            losses = self.learner(self.inputs[index])
        (losses[0] + self.aux * losses[1]).backward()
        self.losses[index].copy_(losses.detach())

    def capture(self) -> None:
        """Compile and capture every shape on random inputs."""
        for index, shape in enumerate(self.shapes):
            fill_inputs(random_batch(*shape, self.device), self.rng, self.inputs[index])
            if self.device.type != "cuda":
                continue
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.forward_backward(index)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.forward_backward(index)
            self.graphs.append(graph)
            self.print(f"captured {shape}")
        if self.device.type == "cuda":
            self._capture_step()

    def _capture_step(self) -> None:
        """Capture the optimizer's graph, and restore the state that its warm-up changed."""
        o = self.optimizer
        state = [t.clone() for t in o.state()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            o.step()
        torch.cuda.current_stream().wait_stream(side)
        self.step_graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.step_graph, capture_error_mode="thread_local"):
            o.step()
        for tensor, kept in zip(o.state(), state, strict=True):
            tensor.copy_(kept)
        self.print("captured the optimizer")
        if self.world > 1:  # connect now, while the speech is still being synthesized
            dist.all_reduce(o.grad)
            self.print(f"connected {self._agreed(1.0)}")

    def guard(self) -> None:
        """Keep copies of good states; if training diverges, restore the one before last and halve the rates.

        Signs: weights that are not finite, many skipped steps, gradients far above the usual. Both long runs of the
        first recipe diverged within 200 updates after some 10,000 good ones, so the last copy before the signs
        appear may itself be unusable.
        """
        o = self.optimizer
        finite = bool(torch.isfinite(o.flat.norm() + o.ema.norm() + o.first.norm()))
        norm, skipped = float(o.usual_norm), float(o.skipped) - self.skipped_before
        if finite and skipped < 20 and norm < 6 * self.lowest_norm:
            self.lowest_norm = min(self.lowest_norm, norm) if norm > 0 else self.lowest_norm
            self.good_states = [self.good_states[-1], [t.clone() for t in o.state()]]
            self.skipped_before = float(o.skipped)
            return
        self.damping *= 0.5
        self.print(
            f"diverged (finite {finite}, norm {norm:.3g}, {skipped:.0f} skipped): restored, rates x {self.damping}"
        )
        self.good_states = [self.good_states[0], self.good_states[0]]
        for tensor, kept in zip(o.state(), self.good_states[0], strict=True):
            tensor.copy_(kept)
        self.skipped_before = float(o.skipped)

    def bench(self) -> None:
        """Print the milliseconds that each captured graph takes."""
        for (b, n, _), graph in zip([*self.shapes, (0, 0, 0)], [*self.graphs, self.step_graph], strict=True):
            torch.cuda.synchronize()
            began = time.time()
            for _ in range(20):
                graph.replay()
            torch.cuda.synchronize()
            self.print(f"BENCH {self.args.conv} {b}x{n}: {50 * (time.time() - began):.2f} ms")

    def load(self) -> None:
        """Read the speech, once `--wait-for` exists, and build the corpus."""
        args = self.args
        while args.wait_for and not args.wait_for.exists():
            time.sleep(0.5)
        spoken = load_spoken(args.shards)
        self.print(f"{len(spoken)} utterances, {sum(len(s.wav) / s.rate_hz for s in spoken) / 3600:.2f} h")
        corpus = build(spoken, self.device)
        self.print(f"{len(corpus.entry_frame)} entries, {corpus.hours:.1f} h of mel")
        self.composer = Composer(corpus, args.seed * 77 + self.rank)

    def update(self, step: int, progress: float) -> int:
        """Run one update; return the index of its shape."""
        args = self.args
        span = args.alpha_until - args.alpha_after
        slide = min(1.0, max(0.0, (progress - args.alpha_after) / span)) if span > 0 else 1.0
        alpha = args.alpha_from + (1 - args.alpha_from) * slide
        warm = min(1.0, (step + 1) / args.warmup)
        cool = min(1.0, max(0.0, (1 - progress) / args.cooldown))
        index = _shape_of(step)
        fill_inputs(self.composer.batch(*self.shapes[index], alpha), self.rng, self.inputs[index])
        if self.graphs:
            self.graphs[index].replay()
        else:
            self.forward_backward(index)
        if self.world > 1:
            dist.all_reduce(self.optimizer.grad, dist.ReduceOp.AVG if self.graphs else dist.ReduceOp.SUM)
        self.optimizer.set_rates(self.damping * max(0.003, warm * cool), args.muon, args.adam, args.ema)
        if self.graphs:
            self.step_graph.replay()
        else:
            self.optimizer.step()
        return index

    def train(self) -> None:
        """Run updates until the schedule ends, with reports and snapshots."""
        args = self.args
        began = time.time()
        seconds = args.until - began if args.until else args.seconds
        progress, step, marks = args.from_progress, 0, [m for m in args.snapshots if m > args.from_progress]
        while progress < 1.0:
            self.update(step, progress)
            step += 1
            if step % 20 == 0 or args.steps:
                done = self._agreed(step / args.steps if args.steps else (time.time() - began) / seconds)
                progress = args.from_progress + (1 - args.from_progress) * done
            if step % args.report == 0:
                self.guard()
                self._report(step, progress, time.time() - began)
            if args.reload and progress >= args.reload[0]:
                args.reload.pop(0)
                threading.Thread(target=self.load).start()  # the composer changes once it is ready
            if marks and progress >= marks[0]:
                self.snapshot(f"at{int(marks.pop(0) * 100)}")
        self._report(step, progress, time.time() - began)
        self.snapshot("ema")

    def _agreed(self, progress: float) -> float:
        if self.world == 1:
            return progress
        shared = torch.tensor(progress, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def _report(self, step: int, progress: float, seconds: float) -> None:
        losses = self.losses.tolist()
        row = {"step": step, "progress": round(progress, 4), "seconds": round(seconds, 1)}
        o = self.optimizer
        row |= {"ms": round(1000 * seconds / step, 2), "norm": round(float(o.usual_norm), 4)}
        row["skipped"] = float(o.skipped)
        for (n, _), (flow, name) in zip(SHAPES, losses, strict=True):
            row |= {f"flow{n}": round(flow, 4), f"name{n}": round(name, 4)}
        self.log.append(row)
        self.print(json.dumps(row))

    def snapshot(self, name: str) -> None:
        """Write the moving average of the weights and the log, on rank 0."""
        if self.rank == 0:
            weights = {k: v.half().cpu() for k, v in self.optimizer.named_ema().items()}
            save_parts(weights, self.args.out, name)
            (self.args.out / "log.json").write_text(json.dumps(self.log))


def _shape_of(step: int) -> int:
    """Return a shape in a fixed order with the wanted shares, the same on every rank."""
    point = (step * 0.6180339887) % 1.0
    for index, (_, share) in enumerate(SHAPES):
        if point < share:
            return index
        point -= share
    return len(SHAPES) - 1


def main() -> None:
    """Run the training that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="folders of synth's files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--wait-for", type=Path, help="a file that exists once the speech is available")
    parser.add_argument("--resume", help="weights to start from; a pattern takes several parts")
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--until", type=float, help="end at this time (epoch seconds) instead")
    parser.add_argument("--language", choices=list(VOCABS), default="en-us")
    parser.add_argument("--bench", action="store_true", help="only time the captured graphs")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--frames", type=int, default=20_480, help="frames an update and GPU")
    parser.add_argument("--muon", type=float, default=8e-4)
    parser.add_argument("--adam", type=float, help="half of Muon's rate if not given")
    parser.add_argument("--ema", type=float, default=0.9995)
    parser.add_argument("--aux", type=float, default=0.15)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--cooldown", type=float, default=0.8, help="last part of the run, in which rates fall to 0")
    parser.add_argument("--alpha-from", type=float, default=0.0)
    parser.add_argument("--alpha-after", type=float, default=0.06)
    parser.add_argument("--alpha-until", type=float, default=0.45)
    parser.add_argument("--reload", type=float, nargs="*", default=[], help="progress at which newer speech is read in")
    parser.add_argument("--snapshots", type=float, nargs="*", default=[], help="progress at which weights are kept")
    parser.add_argument("--from-progress", type=float, default=0.0, help="go on from here in the schedule")
    parser.add_argument("--report", type=int, default=500)
    parser.add_argument("--conv", choices=["plain", "grouped"], default="grouped")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.adam = args.muon / 2 if args.adam is None else args.adam
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args)
    trainer.capture()
    if args.bench:
        return trainer.bench()
    trainer.load()
    trainer.train()
    if trainer.world > 1:
        dist.barrier()  # until rank 0 has written: the launcher ends all once one has failed
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
