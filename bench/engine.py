"""The engine beside f5-tts, alternating in one process on the same weights: `python bench/engine.py`.

Each case is a load: some jobs that arrive at once, each of some segments. f5-tts speaks the jobs one after another,
each by its `infer_batch_process`; ours takes them through the engine. Latencies are from the arrival to a job's last
sample. From round to round all segments differ by a frame: like a user's, they have lengths that the process has not
seen. Writes medians to bench/results/engine-<device>-<torch>.json, after each case what there is by then.

Also: latency of a short job that comes into a full load. On a GPU: arithmetic, as a part of what the GPU does in plain
matrix products; memory with all jobs on the device; and from the start of a process until it can speak.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import RESULTS, record  # noqa: E402 - the repository is no installed package
from f5_worker.audio.levels import Samples  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.engine.engine import Engine  # noqa: E402
from f5_worker.engine.types import Segment  # noqa: E402
from f5_worker.models.f5.config import FRAMES_PER_S, HOP_SAMPLES, SAMPLE_RATE, make_segment, mel_frames  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402

CHARS_PER_S = 14
TIMEOUT_S = 3_600.0
ARRIVALS = 10  # short jobs that come into a full load, one after another
STARTS = 2


@dataclass(frozen=True)
class Case:
    """Jobs that come at once. jobs_s: for each, how long each of its segments sounds."""

    name: str
    nfe: int
    jobs_s: Sequence[Sequence[float]]
    early: bool = False


CASES = (
    Case("3.9 s alone", 32, [[3.9]]),
    Case("12 s alone", 32, [[12.0]]),
    Case("12 s alone, NFE 7", 7, [[12.0]]),
    Case("95.7 s in 7 segments", 32, [[13.67] * 7], early=True),
    Case("95.7 s in 7 segments, NFE 7", 7, [[13.67] * 7], early=True),
    Case("95.7 s as streamed", 32, [[2.5] + [13.31] * 7], early=True),  # F5_STREAM_FIRST_S
    Case("32 jobs of 3..15 s", 32, [[3.0 + 12.0 * i / 31] for i in range(32)]),
)
TINY_CASES = (
    Case("0.6 s in 2 segments, NFE 2", 2, [[0.3] * 2], early=True),
    Case("2 jobs of 0.3 and 0.6 s, NFE 2", 2, [[0.3], [0.6]]),
)
CPU_CASES = (
    Case("3.9 s alone, NFE 16", 16, [[3.9]]),
    Case("3.9 s alone, NFE 7", 7, [[3.9]]),
    Case("12 s in 3 segments, NFE 7", 7, [[4.0] * 3], early=True),
    Case("4 jobs of 2..5 s, NFE 7", 7, [[2.0], [3.0], [4.0], [5.0]]),
)


@dataclass(frozen=True)
class Transcription:
    """Of each job, in seconds since all of them came: its first segment, its last, and its sound's length."""

    first_s: list[float]
    last_s: list[float]
    audio_s: float


def segments_of(case: Case, reference: Samples) -> list[list[Segment]]:
    """Noise with the right shapes: what is said does not change how long it takes."""
    seeds = itertools.count()

    def one(seconds: float) -> Segment:
        frames = mel_frames(len(reference)) + round(seconds * FRAMES_PER_S)
        n_tokens = round(CHARS_PER_S * frames / FRAMES_PER_S)
        return make_segment(reference, tuple(i % 60 for i in range(n_tokens)), frames, case.nfe, 2.0, -1.0, next(seeds))

    return [[one(seconds) for seconds in job] for job in case.jobs_s]


def longer(jobs: Sequence[Sequence[Segment]], by: int) -> list[list[Segment]]:
    """The same jobs with `by` frames more in each segment."""
    return [[replace(segment, frames=segment.frames + by) for segment in job] for job in jobs]


def with_upstream(speak: Callable[[Sequence[Segment]], Samples], jobs: Sequence[Sequence[Segment]]) -> Transcription:
    began = time.perf_counter()
    spoken_s = []
    for job in jobs:
        speak(job)
        spoken_s.append([time.perf_counter() - began])
    return _heard(spoken_s, jobs)


def with_ours(engine: Engine, jobs: Sequence[Sequence[Segment]], early: bool) -> Transcription:
    began = time.perf_counter()

    def listen(segments: Sequence[Segment]) -> list[float]:
        results = engine.submit(segments, JobControl(TIMEOUT_S), early=early)
        return [time.perf_counter() - began for _ in results]

    with ThreadPoolExecutor(len(jobs)) as threads:
        return _heard(list(threads.map(listen, jobs)), jobs)


def _heard(spoken_s: Sequence[Sequence[float]], jobs: Sequence[Sequence[Segment]]) -> Transcription:
    pieces = [segment for job in jobs for segment in job]
    frames = sum(piece.frames - mel_frames(len(piece.reference)) - 1 for piece in pieces)
    return Transcription([s[0] for s in spoken_s], [s[-1] for s in spoken_s], frames * HOP_SAMPLES / SAMPLE_RATE)


def whole_s(rounds: Sequence[Transcription]) -> float:
    """Until the last job is done, the median."""
    return statistics.median(max(heard.last_s) for heard in rounds)


def summary(rounds: Sequence[Transcription]) -> dict[str, float]:
    """Medians over the rounds; p50 and p95 over all jobs of all rounds."""
    latencies = [last for heard in rounds for last in heard.last_s]
    until_all_s = whole_s(rounds)
    return {
        "latency_p50_s": round(float(np.percentile(latencies, 50)), 4),
        "latency_p95_s": round(float(np.percentile(latencies, 95)), 4),
        "first_audio_s": round(statistics.median(min(heard.first_s) for heard in rounds), 4),
        "rtf": round(until_all_s / rounds[0].audio_s, 4),
        "audio_s_per_s": round(rounds[0].audio_s / until_all_s, 3),
    }


def operations(case: Case, jobs: Sequence[Sequence[Segment]], model: Any) -> float:
    """Of the transformer's matrix products and attention in all steps, a product and a sum as two; no padding.

    The linear layers of the adaptive norms, which upstream computes at each step, are not among them.
    """
    arch = model.arch
    inner = arch.heads * arch.dim_head
    per_frame = 2 * arch.depth * (4 * arch.dim * inner + 2 * arch.ff_mult * arch.dim**2)
    per_pair = 4 * arch.depth * inner
    rows = [segment.frames for job in jobs for segment in job for _ in range(2)]
    return float(case.nfe * sum(n * (per_frame + n * per_pair) for n in rows))


def ceiling(model: Any, size: int = 8_192) -> float:
    """What the GPU does in plain matrix products of the model's precision, in operations a second."""
    import torch

    a, b = (torch.randn(size, size, device=model.device, dtype=model.dtype) for _ in range(2))
    best = 0.0
    for _ in range(10):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(5):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 5 * 2 * size**3 / (time.perf_counter() - began))
    return best


def arriving(engine: Engine, shorts: Iterator[Sequence[Segment]], load: Sequence[Sequence[Segment]]) -> list[float]:
    """Latencies of short jobs that come one after another while the load is on the device."""
    loading = threading.Thread(target=with_ours, args=(engine, load, False))
    loading.start()
    time.sleep(0.2)
    latencies = []
    while loading.is_alive() and len(latencies) < ARRIVALS:
        began = time.perf_counter()
        list(engine.submit(next(shorts), JobControl(TIMEOUT_S)))
        latencies.append(time.perf_counter() - began)
    loading.join()
    return latencies


def measure_load(engine: Engine, short: Case, load: Case, reference: Samples, n_rounds: int) -> dict[str, Any]:
    """Latency of a short job that comes into the load, and memory of all its jobs at once."""
    import torch

    short_job, loading = segments_of(short, reference), segments_of(load, reference)
    shorts = (longer(short_job, i)[0] for i in itertools.count())
    alone_s = [with_ours(engine, [next(shorts)], False).last_s[0] for _ in range(n_rounds + 1)][1:]
    latencies = [latency for i in range(n_rounds) for latency in arriving(engine, shorts, longer(loading, i))]
    figures: dict[str, Any] = {"short_alone_s": round(statistics.median(alone_s), 4), "arrivals": len(latencies)}
    if latencies:
        figures["short_into_load_p50_s"] = round(float(np.percentile(latencies, 50)), 4)
        figures["short_into_load_p95_s"] = round(float(np.percentile(latencies, 95)), 4)
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        figures["gpu_memory_gib"] = round((total - free) / 2**30, 2)
    return figures


OURS_READY = """
from f5_worker.models.f5.runner import load_runner
from f5_worker.settings import load_settings
settings = load_settings()
load_runner(settings).warm_up()
"""
THEIRS_READY = """
import sys
from pathlib import Path
import numpy as np, torch
from f5_worker.models.f5.config import make_segment
from f5_worker.models.f5.upstream import UpstreamRunner
noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
engine = UpstreamRunner(Path(sys.argv[1]), "cuda", torch.float16)
engine.speak([make_segment(noise, tuple(range(40)), 300, 2, 2.0, -1.0, 0)])
"""


def measure_start(directory: Path) -> dict[str, Any]:
    """Seconds from the start of a process until it has spoken once, in turns; files are in the page cache."""
    programs = {"upstream": THEIRS_READY, "ours": OURS_READY}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(STARTS + 1):
        for name, program in programs.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", program, str(directory)], cwd=ROOT, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    return {f"{name}_s": round(statistics.median(taken[1:]), 2) for name, taken in seconds.items()}


def measure(
    settings: Settings,
    cases: Sequence[Case],
    n_rounds: int,
    case_s: float,
    reference_s: float,
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Run every case in rounds, upstream and ours in turns: one that is not counted, then 2 to `n_rounds` in `case_s`.

    keep: takes what is measured so far. The first case is the short job of `measure_load`, the last one the load.
    """
    from f5_worker.models.f5.runner import load_runner
    from f5_worker.models.f5.upstream import UpstreamRunner

    ours = load_runner(settings)
    ours.warm_up()
    ours.record(settings.warm_up_s)
    on_gpu = ours.model.device.type == "cuda"
    engine = Engine(ours, settings.batch_frames)
    noise = np.random.default_rng(0).normal(0, 0.1, round(reference_s * SAMPLE_RATE))
    reference: Samples = noise.astype(np.float32)
    rows: dict[str, Any] = {}
    result: dict[str, Any] = {
        "model": ours.name,
        "device": ours.device,
        "precision": ours.precision,
        "torch": version("torch"),
        "f5_tts": version("f5-tts"),
        "reference_s": reference_s,
        "cases": rows,
    }
    if on_gpu:
        result["ceiling_tflops"] = round(ceiling(ours.model) / 1e12, 1)
    result["load"] = measure_load(engine, cases[0], cases[-1], reference, n_rounds)
    keep(result)
    upstream = UpstreamRunner(ours.directory, ours.model.device.type, ours.model.dtype)
    for case in cases:
        jobs = segments_of(case, reference)
        pairs: list[tuple[Transcription, Transcription]] = []
        until = time.monotonic() + case_s
        while len(pairs) <= n_rounds and (len(pairs) < 3 or time.monotonic() < until):
            these = longer(jobs, -1 - len(pairs))  # `measure_load` had the longer ones
            pairs.append((with_upstream(upstream.speak, these), with_ours(engine, these, case.early)))
        columns = list(zip(*pairs[1:], strict=True))
        theirs, our = (summary(column) for column in columns)
        if on_gpu:
            for side, column in zip((theirs, our), columns, strict=True):
                side["tflops"] = round(operations(case, jobs, ours.model) / whole_s(column) / 1e12, 1)
                side["of_ceiling"] = round(side["tflops"] / result["ceiling_tflops"], 3)
        times = round(theirs["latency_p50_s"] / our["latency_p50_s"], 2)
        rows[case.name] = {"rounds": len(pairs) - 1, "upstream": theirs, "ours": our, "faster": times}
        keep(result)
    engine.close()
    if on_gpu:
        result["start"] = measure_start(ours.directory)
        keep(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", choices=["cpu", "gpu", "tiny"], default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="at most, for each case")
    parser.add_argument("--case-s", type=float, default=180.0, help="begin no third round of a case after so long")
    parser.add_argument("--reference-s", type=float, default=5.3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    cases = {"cpu": CPU_CASES, "gpu": CASES, "tiny": TINY_CASES}[asked.cases]

    def keep(result: dict[str, Any]) -> None:
        device, torch = result["device"].replace(" ", "-").lower(), result["torch"].split("+")[0]
        path = record(f"engine-{device}-{torch}", result, asked.out, quiet=True)
        print(f"{path}: {', '.join(result['cases']) or 'begun'}", flush=True)

    measure(load_settings(), cases, asked.rounds, asked.case_s, asked.reference_s, keep)


if __name__ == "__main__":
    main()
