"""The engine compared with f5-tts, alternating in one process on the same weights: `python bench/engine.py`.

Each case is a load: some jobs that arrive at once, each of some segments. f5-tts runs the jobs one after another, each
by its `infer_batch_process`; ours go through the engine. Latencies are from the arrival to a job's last sample. From
round to round all segments differ by a frame: like a user's, they have lengths that are new to the process. Writes
medians to bench/results/engine-<device>-<torch>.json, again after each case.

Also measured: the latency of a short job that arrives during a full load; on a GPU the arithmetic rate, as a fraction
of that of plain matrix products, the memory with all jobs on the device, and the time from the start of a process
until its first audio.
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

from bench.record import RESULTS, record  # noqa: E402 - the repository is not an installed package
from f5_worker.audio.levels import Samples  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.engine.engine import Engine  # noqa: E402
from f5_worker.engine.group import EngineGroup  # noqa: E402
from f5_worker.engine.types import Segment  # noqa: E402
from f5_worker.models.f5.config import FRAMES_PER_S, HOP_SAMPLES, SAMPLE_RATE, make_segment, mel_frames  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402

CHARS_PER_S = 14
TIMEOUT_S = 3_600.0
ARRIVALS = 10  # short jobs that arrive during a full load, one after another
STARTS = 2


@dataclass(frozen=True)
class Case:
    """Jobs that arrive at once; `jobs_s` holds, for each job, the duration of each of its segments."""

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
class Latencies:
    """When each job's first and last segment were done, since the arrival of all; and the duration of all audio."""

    first_s: list[float]
    last_s: list[float]
    audio_s: float


def segments_of(case: Case, reference: Samples) -> list[list[Segment]]:
    """Return segments of noise with the right shapes: the content does not change how long they take."""
    seeds = itertools.count()

    def make(seconds: float) -> Segment:
        frames = mel_frames(len(reference)) + round(seconds * FRAMES_PER_S)
        n_tokens = round(CHARS_PER_S * frames / FRAMES_PER_S)
        return make_segment(reference, tuple(i % 60 for i in range(n_tokens)), frames, case.nfe, 2.0, -1.0, next(seeds))

    return [[make(seconds) for seconds in job] for job in case.jobs_s]


def lengthen(jobs: Sequence[Sequence[Segment]], n_frames: int) -> list[list[Segment]]:
    """Return the same jobs with `n_frames` more in each segment."""
    return [[replace(segment, frames=segment.frames + n_frames) for segment in job] for job in jobs]


def run_upstream(generate: Callable[[Sequence[Segment]], Samples], jobs: Sequence[Sequence[Segment]]) -> Latencies:
    """Run the jobs by f5-tts, one after another."""
    started = time.perf_counter()
    done_s = []
    for job in jobs:
        generate(job)
        done_s.append([time.perf_counter() - started])
    return _latencies(done_s, jobs)


def run_ours(engine: Engine | EngineGroup, jobs: Sequence[Sequence[Segment]], early: bool) -> Latencies:
    """Run the jobs by the engine, all at once."""
    started = time.perf_counter()

    def submit(segments: Sequence[Segment]) -> list[float]:
        results = engine.submit(segments, JobControl(TIMEOUT_S), early=early)
        return [time.perf_counter() - started for _ in results]

    with ThreadPoolExecutor(len(jobs)) as threads:
        return _latencies(list(threads.map(submit, jobs)), jobs)


def _latencies(done_s: Sequence[Sequence[float]], jobs: Sequence[Sequence[Segment]]) -> Latencies:
    segments = [segment for job in jobs for segment in job]
    frames = sum(segment.frames - mel_frames(len(segment.reference)) - 1 for segment in segments)
    return Latencies([s[0] for s in done_s], [s[-1] for s in done_s], frames * HOP_SAMPLES / SAMPLE_RATE)


def total_s(rounds: Sequence[Latencies]) -> float:
    """Return the median time until the last job is done."""
    return statistics.median(max(latencies.last_s) for latencies in rounds)


def summary(rounds: Sequence[Latencies]) -> dict[str, float]:
    """Return medians over the rounds, and p50 and p95 over all jobs of all rounds."""
    last_s = [job_s for latencies in rounds for job_s in latencies.last_s]
    until_all_s = total_s(rounds)
    return {
        "latency_p50_s": round(float(np.percentile(last_s, 50)), 4),
        "latency_p95_s": round(float(np.percentile(last_s, 95)), 4),
        "first_audio_s": round(statistics.median(min(latencies.first_s) for latencies in rounds), 4),
        "rtf": round(until_all_s / rounds[0].audio_s, 4),
        "audio_s_per_s": round(rounds[0].audio_s / until_all_s, 3),
    }


def operations(case: Case, jobs: Sequence[Sequence[Segment]], model: Any) -> float:
    """Return the operations of the transformer's matrix products and attention in all steps, without padding.

    A multiplication and an addition count as two. The linear layers of the adaptive norms, which upstream computes at
    each step, do not count.
    """
    arch = model.arch
    inner = arch.heads * arch.dim_head
    per_frame = 2 * arch.depth * (4 * arch.dim * inner + 2 * arch.ff_mult * arch.dim**2)
    per_pair = 4 * arch.depth * inner
    rows = [segment.frames for job in jobs for segment in job for _ in range(2)]
    return float(case.nfe * sum(n * (per_frame + n * per_pair) for n in rows))


def ceiling(model: Any, size: int = 8_192) -> float:
    """Return the rate of plain matrix products in the model's precision, in operations a second."""
    import torch

    a, b = (torch.randn(size, size, device=model.device, dtype=model.dtype) for _ in range(2))
    best = 0.0
    for _ in range(10):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(5):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 5 * 2 * size**3 / (time.perf_counter() - started))
    return best


def latencies_under_load(
    engine: Engine, short_jobs: Iterator[Sequence[Segment]], load: Sequence[Sequence[Segment]]
) -> list[float]:
    """Return latencies of short jobs that arrive one after another while the load is on the device."""
    loading = threading.Thread(target=run_ours, args=(engine, load, False))
    loading.start()
    time.sleep(0.2)
    latencies = []
    while loading.is_alive() and len(latencies) < ARRIVALS:
        started = time.perf_counter()
        list(engine.submit(next(short_jobs), JobControl(TIMEOUT_S)))
        latencies.append(time.perf_counter() - started)
    loading.join()
    return latencies


def measure_load(engine: Engine, short: Case, load: Case, reference: Samples, n_rounds: int) -> dict[str, Any]:
    """Measure the latency of a short job that arrives during the load, and the memory of all its jobs at once."""
    import torch

    short_job, load_jobs = segments_of(short, reference), segments_of(load, reference)
    short_jobs = (lengthen(short_job, i)[0] for i in itertools.count())
    alone_s = [run_ours(engine, [next(short_jobs)], False).last_s[0] for _ in range(n_rounds + 1)][1:]
    rounds = (latencies_under_load(engine, short_jobs, lengthen(load_jobs, i)) for i in range(n_rounds))
    latencies = [latency for one_round in rounds for latency in one_round]
    figures: dict[str, Any] = {"short_alone_s": round(statistics.median(alone_s), 4), "arrivals": len(latencies)}
    if latencies:
        figures["short_into_load_p50_s"] = round(float(np.percentile(latencies, 50)), 4)
        figures["short_into_load_p95_s"] = round(float(np.percentile(latencies, 95)), 4)
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        figures["gpu_memory_gib"] = round((total - free) / 2**30, 2)
    return figures


START_OURS = """
from f5_worker.models import ahead
from f5_worker.settings import load_settings
settings = load_settings()
ahead.begin(settings)
from f5_worker.models.f5.runner import load_runner
load_runner(settings).warm_up()
"""
START_UPSTREAM = """
import sys
from pathlib import Path
import numpy as np, torch
from f5_worker.models.f5.config import make_segment
from f5_worker.models.upstream.reference import UpstreamInference
noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
runner = UpstreamInference(Path(sys.argv[1]), "cuda", torch.float16)
runner.generate([make_segment(noise, tuple(range(40)), 300, 2, 2.0, -1.0, 0)])
"""


def measure_start(directory: Path) -> dict[str, Any]:
    """Measure the time from the start of a process until its first audio, alternating; files are in the page cache."""
    programs = {"upstream": START_UPSTREAM, "ours": START_OURS}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(STARTS + 1):
        for name, program in programs.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program, str(directory)], cwd=ROOT, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    return {f"{name}_s": round(statistics.median(measured[1:]), 2) for name, measured in seconds.items()}


def measure(
    settings: Settings,
    cases: Sequence[Case],
    n_rounds: int,
    case_s: float,
    reference_s: float,
    save: Callable[[dict[str, Any]], None],
) -> None:
    """Run every case in rounds, upstream and ours alternating.

    The first round does not count; 2 to `n_rounds` follow, no third one begins after `case_s`. The first case is also
    the short job of `measure_load`, the last one its load.

    Args:
        save: called with the result so far.
    """
    from f5_worker.models.f5.runner import load_runner
    from f5_worker.models.upstream.reference import UpstreamInference

    ours = load_runner(settings)
    ours.warm_up()
    ours.capture_graphs(settings.warm_up_s)
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
    save(result)
    upstream = UpstreamInference(ours.directory, ours.model.device.type, ours.model.dtype)
    for case in cases:
        jobs = segments_of(case, reference)
        pairs: list[tuple[Latencies, Latencies]] = []
        until_s = time.monotonic() + case_s
        while len(pairs) <= n_rounds and (len(pairs) < 3 or time.monotonic() < until_s):
            new_jobs = lengthen(jobs, -1 - len(pairs))  # `measure_load` had the longer ones
            pairs.append((run_upstream(upstream.generate, new_jobs), run_ours(engine, new_jobs, case.early)))
        columns = list(zip(*pairs[1:], strict=True))
        theirs, our = (summary(rounds) for rounds in columns)
        if on_gpu:
            for side, rounds in zip((theirs, our), columns, strict=True):
                side["tflops"] = round(operations(case, jobs, ours.model) / total_s(rounds) / 1e12, 1)
                side["of_ceiling"] = round(side["tflops"] / result["ceiling_tflops"], 3)
        speedup = round(theirs["latency_p50_s"] / our["latency_p50_s"], 2)
        rows[case.name] = {"rounds": len(pairs) - 1, "upstream": theirs, "ours": our, "faster": speedup}
        save(result)
    engine.close()
    if on_gpu:
        result["start"] = measure_start(ours.directory)
        save(result)


def main() -> None:
    """Measure the model that the settings name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", choices=["cpu", "gpu", "tiny"], default="cpu")
    parser.add_argument("--rounds", type=int, default=5, help="at most, for each case")
    parser.add_argument("--case-s", type=float, default=180.0, help="begin no third round of a case after so long")
    parser.add_argument("--reference-s", type=float, default=5.3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cases = {"cpu": CPU_CASES, "gpu": CASES, "tiny": TINY_CASES}[args.cases]

    def save(result: dict[str, Any]) -> None:
        device, torch = result["device"].replace(" ", "-").lower(), result["torch"].split("+")[0]
        path = record(f"engine-{device}-{torch}", result, args.out, quiet=True)
        print(f"{path}: {', '.join(result['cases']) or 'started'}", flush=True)

    measure(load_settings(), cases, args.rounds, args.case_s, args.reference_s, save)


if __name__ == "__main__":
    main()
