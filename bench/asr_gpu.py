"""Word times on a GPU, and what they cost the engine: `F5_MODEL=out/random-base python bench/asr_gpu.py`.

Whisper has random weights of published shapes: their values do not change how long it takes. Its words have no
probability then, which would end an alignment early, so each counts as certain here. The sound is synthetic: syllables
with pauses, of the length that the text has when it is spoken.

Cases: equality of fp16 on the GPU with fp32 on the CPU; 60 s of sound aligned, and transcribed; the rate of the engine
for 32 jobs that all ask for word times against the same jobs without. Writes bench/results/asr-<device>-<torch>.json
after each case.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soxr
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.engine import CASES, TIMEOUT_S, TINY_CASES, Case, lengthen, segments_of  # noqa: E402
from bench.random_checkpoint import random_weights  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.alignment.align import WhisperAligner  # noqa: E402
from f5_worker.alignment.refine import SOFTEST_DB  # noqa: E402
from f5_worker.asr.device import DeviceWhisper  # noqa: E402
from f5_worker.asr.loaded import WHISPER_RATE, TokenTimes  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples, speech_regions  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.engine.engine import Engine  # noqa: E402
from f5_worker.engine.types import Segment  # noqa: E402
from f5_worker.models.f5.config import HOP_SAMPLES, mel_frames  # noqa: E402
from f5_worker.models.f5.runner import F5Runner, load_runner  # noqa: E402
from f5_worker.models.placement import Device  # noqa: E402
from f5_worker.models.whisper.config import DecodingConfig, WhisperArch  # noqa: E402
from f5_worker.models.whisper.network import Whisper  # noqa: E402
from f5_worker.models.whisper.runner import STEPS_AT_ONCE, ForcedText, WhisperRunner  # noqa: E402
from f5_worker.models.whisper.search import SearchOptions  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402

# Width, heads and layers as OpenAI published them, with the alignment heads of openai/whisper's table.
SHAPES = {
    "tiny.en": (
        WhisperArch(80, 384, 4, 6, 4, 6, 51_864),
        ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    ),
    "base": (
        WhisperArch(80, 512, 6, 8, 6, 8, 51_865),
        ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    ),
    "large-v3-turbo": (
        WhisperArch(128, 1_280, 32, 20, 4, 20, 51_866),
        ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
    ),
}
CHARS_PER_S = 14
MINUTE_S = 60.0
PIECE_S = 9.0  # of the minute: paragraphs of three sentences
SYLLABLE_S, PAUSE_EVERY_S, PAUSE_S = 0.2, 2.5, 0.25
TEXT = " ".join((ROOT / "bench" / "timing_sentences.txt").read_text().split())


class StandInTokenizer:
    """Splits a text about as Whisper's tokenizer does: a word is one token, a long one two or three."""

    def encode(self, text: str, **_: Any) -> Any:
        """Return ids below those of special tokens, and the offsets."""
        spans = [match.span() for match in re.finditer(r" ?\w{1,7}|[^\w\s]", text)]
        ids = [sum(map(ord, text[begin:end])) * 31 % 50_000 for begin, end in spans]
        return SimpleNamespace(ids=ids, offsets=spans)

    def get_vocab(self) -> dict[str, int]:
        """Return the special tokens of English."""
        names = ("endoftext", "startoftranscript", "en", "transcribe", "nospeech", "notimestamps")
        return {f"<|{name}|>": 50_257 + index for index, name in enumerate(names)}

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a special token."""
        return self.get_vocab().get(token)


class CertainWhisper(DeviceWhisper):
    """A recogniser of random weights that is certain of each token."""

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        """Return the times of random attention."""
        found = super().force(audio, tokens, language)
        return TokenTimes(np.ones_like(found.probabilities), found.starts_s)


def random_runner(name: str, device: str, dtype: torch.dtype) -> WhisperRunner:
    """Return a Whisper of a published shape."""
    arch, heads = SHAPES[name]
    model = Whisper(arch)
    weights = random_weights(model)
    weights |= {key: 1.0 + value for key, value in weights.items() if key.endswith("norm.weight")}
    model.load_state_dict(weights, assign=True)
    return WhisperRunner(model.eval().requires_grad_(False).to(device, dtype), DecodingConfig(heads, (), ()))


def speech_like(n_samples: int, seed: int) -> Samples:
    """Return syllables of noise at 24 kHz with pauses between some of them."""
    at_s = np.arange(n_samples) / SAMPLE_RATE
    loudness = np.sin(np.pi * at_s / SYLLABLE_S) ** 2 * (at_s % PAUSE_EVERY_S > PAUSE_S)
    return (0.1 * loudness * np.random.default_rng(seed).normal(size=n_samples)).astype(np.float32)


def text_of(seconds: float, seed: int) -> str:
    """Return words that take about so long to speak."""
    begin = TEXT.index(" ", 97 * seed % (len(TEXT) // 2)) + 1
    return TEXT[begin : begin + max(2, round(seconds * CHARS_PER_S))].strip()


def pieces(total_s: float) -> list[tuple[Samples, str]]:
    """Return sound and text of segments of paragraph length, `total_s` together."""
    count = round(total_s / PIECE_S)
    return [
        (speech_like(round(total_s / count * SAMPLE_RATE), seed), text_of(total_s / count, seed))
        for seed in range(count)
    ]


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Return the median wall time, warm."""
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    return round(statistics.median(times[1:]), 2)


def batch_of(sounds: Sequence[tuple[Samples, str]]) -> tuple[list[Samples], list[ForcedText]]:
    """Return what the network is given of each segment."""
    clips = [np.asarray(soxr.resample(samples, SAMPLE_RATE, WHISPER_RATE), np.float32) for samples, _ in sounds]
    texts = [
        ForcedText((50_258, 50_262), tuple(StandInTokenizer().encode(text).ids), 50_257, len(clip) // 320)
        for clip, (_, text) in zip(clips, sounds, strict=True)
    ]
    return clips, texts


def measure_equality(name: str, device: str) -> dict[str, Any]:
    """Compare the device's half precision with the CPU's fp32, and a batch with each text alone."""
    clips, texts = batch_of(pieces(3 * PIECE_S))
    reference = random_runner(name, "cpu", torch.float32).align(clips, texts)
    runner = random_runner(name, device, torch.float16 if device == "cuda" else torch.float32)
    together = runner.align(clips, texts)
    expected, batched = ([pending.result(i) for i in range(len(texts))] for pending in (reference, together))
    alone = [runner.align([clip], [text]).result(0) for clip, text in zip(clips, texts, strict=True)]

    def log_error(a: Sequence[Any], b: Sequence[Any]) -> float:
        pairs = zip(a, b, strict=True)
        return round(max(float(np.abs(np.log(x.probabilities) - np.log(y.probabilities)).max()) for x, y in pairs), 5)

    def starts_equal(a: Sequence[Any], b: Sequence[Any]) -> float:
        return round(float(np.mean(np.concatenate([x.starts == y.starts for x, y in zip(a, b, strict=True)]))), 4)

    return {
        "log_probability_error_to_cpu_fp32": log_error(batched, expected),
        "starts_equal_to_cpu_fp32": starts_equal(batched, expected),
        "log_probability_error_batch_to_alone": log_error(batched, alone),
        "starts_equal_batch_to_alone": starts_equal(batched, alone),
    }


def aligner_of(name: str, engine: Engine, device: str) -> tuple[WhisperAligner, WhisperRunner]:
    """Return an aligner that runs beside the engine."""
    run = Device(device, engine.run).beside().run
    runner: WhisperRunner = run(
        lambda: random_runner(name, device, torch.float16 if device == "cuda" else torch.float32)
    )
    model = CertainWhisper(StandInTokenizer(), runner, run)  # type: ignore[arg-type]
    return WhisperAligner(lambda: contextlib.nullcontext(model), "en"), runner


def measure_minute(aligner: WhisperAligner, runner: WhisperRunner, engine: Engine, rounds: int) -> dict[str, Any]:
    """Measure 60 s of sound in segments: as jobs' threads ask at once, one after another, and parts of it."""
    sounds = pieces(MINUTE_S)
    clips, texts = batch_of(sounds)
    assert all(aligner.align(*sound) is not None for sound in sounds)
    with ThreadPoolExecutor(len(sounds)) as threads:
        at_once_ms = median_ms(lambda: list(threads.map(lambda sound: aligner.align(*sound), sounds)), rounds)
    pending = engine.run(lambda: runner.align(clips, texts))

    def run_pass() -> None:
        engine.run(lambda: runner.align(clips, texts)).result(0)

    return {
        "segments": len(sounds),
        "at_once_ms": at_once_ms,
        "one_after_another_ms": median_ms(lambda: [aligner.align(*sound) for sound in sounds], rounds),
        "parts": {
            "device_thread_one_batch_ms": median_ms(lambda: engine.run(lambda: runner.align(clips, texts)), rounds),
            "one_batch_ms": median_ms(run_pass, rounds),
            "warping_ms": median_ms(lambda: [pending.result(i).starts for i in range(len(texts))], rounds),
            "resampling_ms": median_ms(lambda: batch_of(sounds), rounds),
            "regions_ms": median_ms(
                lambda: [speech_regions(samples, softest_db=SOFTEST_DB) for samples, _ in sounds], rounds
            ),
        },
    }


def measure_search(runner: WhisperRunner, engine: Engine, rounds: int) -> dict[str, Any]:
    """Measure the search for transcripts of 60 s of sound in segments, all at once; random weights never end early."""
    clips, texts = batch_of(pieces(MINUTE_S))
    n_tokens = max(len(text.tokens) for text in texts)

    def search(beams: int) -> None:
        options = SearchOptions((50_258, 50_262), beams, 50_257, 50_261, max_length=2 * n_tokens)
        found = engine.run(lambda: runner.search(runner.encode_windows(clips), options))
        while not found.done:
            engine.run(lambda: runner.advance(found, STEPS_AT_ONCE))

    return {"tokens": n_tokens, **{f"beams_{n}_ms": median_ms(lambda n=n: search(n), rounds) for n in (1, 5)}}


def jobs_of(case: Case) -> list[list[Segment]]:
    """Return the jobs of a case, behind a reference of 5.3 s."""
    return segments_of(case, speech_like(round(5.3 * SAMPLE_RATE), 0))


def run_jobs(engine: Engine, jobs: Sequence[Sequence[Segment]], early: bool, aligner: WhisperAligner | None) -> Any:
    """Run jobs at once, each in its thread; return when the first segment of each, and its last, was there with its
    times, and the seconds of audio.
    """
    started = time.perf_counter()

    def submit(job: Sequence[Segment]) -> tuple[float, float]:
        done_s = []
        for segment, audio in zip(job, engine.submit(job, JobControl(TIMEOUT_S), early=early), strict=True):
            if aligner is not None:
                seconds = len(audio.samples) / SAMPLE_RATE
                found = aligner.align(speech_like(len(audio.samples), segment.seed), text_of(seconds, segment.seed))
                assert found is not None
            else:  # what stands in for the sound of random weights takes its time here too
                speech_like(len(audio.samples), segment.seed)
            done_s.append(time.perf_counter() - started)
        return done_s[0], done_s[-1]

    with ThreadPoolExecutor(len(jobs)) as threads:
        first_s, last_s = zip(*threads.map(submit, jobs), strict=True)
    frames = sum(segment.frames - mel_frames(len(segment.reference)) - 1 for job in jobs for segment in job)
    return first_s, last_s, frames * HOP_SAMPLES / SAMPLE_RATE


def measure_load(engine: Engine, case: Case, aligner: WhisperAligner, rounds: int) -> dict[str, Any]:
    """Measure a load with and without word times, alternating; the first round does not count."""
    jobs = jobs_of(case)
    rates: dict[str, list[float]] = {"without": [], "with": []}
    firsts: dict[str, list[float]] = {"without": [], "with": []}
    for number in range(rounds + 1):
        order = ("without", "with") if number % 2 else ("with", "without")
        for kind in order:
            first_s, last_s, audio_s = run_jobs(
                engine, lengthen(jobs, number), case.early, aligner if kind == "with" else None
            )
            rates[kind].append(audio_s / max(last_s))
            firsts[kind].append(statistics.median(first_s))
    medians = {kind: statistics.median(values[1:]) for kind, values in rates.items()}
    shares = [w / wo for w, wo in zip(rates["with"][1:], rates["without"][1:], strict=True)]
    return {
        "audio_s_per_s": {kind: round(value, 2) for kind, value in medians.items()},
        "share_of_throughput": round(statistics.median(shares), 4),
        "shares": [round(share, 4) for share in shares],
        "first_audio_s": {kind: round(statistics.median(values[1:]), 4) for kind, values in firsts.items()},
    }


def start_engine(settings: Settings) -> tuple[F5Runner, Engine]:
    """Return the model that the settings name, as ready as in a worker, and the engine that runs it."""
    f5 = load_runner(settings)
    f5.warm_up()
    f5.tune()
    f5.capture_graphs(settings.warm_up_s)
    return f5, Engine(f5, settings.batch_frames)


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["base", "tiny.en"])
    parser.add_argument("--rounds", type=int, default=4, help="of each load")
    parser.add_argument("--minute-rounds", type=int, default=20)
    parser.add_argument("--tiny-load", action="store_true", help="small loads, to try this on a CPU")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    settings = load_settings()
    f5, engine = start_engine(settings)
    device = f5.model.device.type
    cases: dict[str, Any] = {}
    result = {"device": f5.device, "torch": version("torch"), "f5": f5.name, "cases": cases}
    by_name = {case.name: case for case in CASES}
    loads = (by_name["32 jobs of 3..15 s"], by_name["95.7 s as streamed"])
    loads += (Case("32 jobs of 3..15 s, NFE 7", 7, loads[0].jobs_s),)

    def save(name: str, shape: str, figures: dict[str, Any]) -> None:
        cases.setdefault(shape, {})[name] = figures
        path = record(
            f"asr-{f5.device.replace(' ', '-').lower()}-{version('torch').split('+')[0]}", result, args.out, quiet=True
        )
        print(f"{path.name}: {shape}: {name}: {figures}", flush=True)

    for shape in args.shapes:
        if shape != "large-v3-turbo":
            save("equality", shape, measure_equality(shape, device))
        aligner, runner = aligner_of(shape, engine, device)
        save("60 s aligned", shape, measure_minute(aligner, runner, engine, args.minute_rounds))
        save("60 s transcribed", shape, measure_search(runner, engine, args.minute_rounds // 3))
        for load in TINY_CASES if args.tiny_load else loads[: 1 if shape == "large-v3-turbo" else None]:
            save(load.name, shape, measure_load(engine, load, aligner, args.rounds))
        if device == "cuda":
            free, total = torch.cuda.mem_get_info()
            save("gpu_memory_gib", shape, {"in_use": round((total - free) / 2**30, 2)})
    engine.close()


if __name__ == "__main__":
    main()
