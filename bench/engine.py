"""The engine beside f5-tts, alternating in one process on the same weights: `python bench/engine.py`.

Each case is a load: some jobs that arrive at once, each of some segments. f5-tts speaks the segments one after
another, in turns of the jobs; ours takes them through the batcher. Latencies are from the arrival to a job's last
sample. Writes medians to bench/results/engine-<device>-<torch>.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker.control import JobControl  # noqa: E402
from f5_worker.engine.batcher import Batcher, Samples, Segment  # noqa: E402
from f5_worker.engine.config import FRAMES_PER_S, HOP_SAMPLES, SAMPLE_RATE, mel_frames  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402

CHARS_PER_S = 14
TIMEOUT_S = 3_600.0


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
class Heard:
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
        return Segment(reference, tuple(i % 60 for i in range(n_tokens)), frames, case.nfe, 2.0, -1.0, next(seeds))

    return [[one(seconds) for seconds in job] for job in case.jobs_s]


def with_upstream(speak: Callable[[Segment], Samples], jobs: Sequence[Sequence[Segment]]) -> Heard:
    began = time.perf_counter()
    spoken_s: list[list[float]] = [[] for _ in jobs]
    for turn in itertools.zip_longest(*jobs):
        for number, segment in enumerate(turn):
            if segment is not None:
                speak(segment)
                spoken_s[number].append(time.perf_counter() - began)
    return _heard(spoken_s, jobs)


def with_ours(batcher: Batcher, jobs: Sequence[Sequence[Segment]], early: bool) -> Heard:
    began = time.perf_counter()

    def listen(segments: Sequence[Segment]) -> list[float]:
        results = batcher.submit(segments, JobControl(TIMEOUT_S), early=early)
        return [time.perf_counter() - began for _ in results]

    with ThreadPoolExecutor(len(jobs)) as threads:
        return _heard(list(threads.map(listen, jobs)), jobs)


def _heard(spoken_s: Sequence[Sequence[float]], jobs: Sequence[Sequence[Segment]]) -> Heard:
    pieces = [segment for job in jobs for segment in job]
    frames = sum(piece.frames - mel_frames(len(piece.reference)) - 1 for piece in pieces)
    return Heard([s[0] for s in spoken_s], [s[-1] for s in spoken_s], frames * HOP_SAMPLES / SAMPLE_RATE)


def summary(rounds: Sequence[Heard]) -> dict[str, float]:
    """Medians over the rounds; p50 and p95 over all jobs of all rounds."""
    latencies = [last for heard in rounds for last in heard.last_s]
    whole_s = statistics.median(max(heard.last_s) for heard in rounds)
    return {
        "latency_p50_s": round(float(np.percentile(latencies, 50)), 4),
        "latency_p95_s": round(float(np.percentile(latencies, 95)), 4),
        "first_audio_s": round(statistics.median(min(heard.first_s) for heard in rounds), 4),
        "rtf": round(whole_s / rounds[0].audio_s, 4),
        "audio_s_per_s": round(rounds[0].audio_s / whole_s, 3),
    }


def measure(settings: Settings, cases: Sequence[Case], n_rounds: int, reference_s: float) -> dict[str, Any]:
    """Run every case `n_rounds` times after one that is not counted, upstream and ours in turns."""
    from f5_worker.engine.engine import load_engine
    from f5_worker.engine.upstream import UpstreamEngine

    ours = load_engine(settings)
    upstream = UpstreamEngine(ours.directory, ours.model.device.type, ours.model.dtype)
    batcher = Batcher(ours, settings.batch_frames)
    noise = np.random.default_rng(0).normal(0, 0.1, round(reference_s * SAMPLE_RATE))
    reference: Samples = noise.astype(np.float32)
    rows = {}
    for case in cases:
        jobs = segments_of(case, reference)
        pairs = [
            (with_upstream(upstream.speak, jobs), with_ours(batcher, jobs, case.early)) for _ in range(n_rounds + 1)
        ][1:]
        theirs, our = (summary(column) for column in zip(*pairs, strict=True))
        times = round(theirs["latency_p50_s"] / our["latency_p50_s"], 2)
        rows[case.name] = {"upstream": theirs, "ours": our, "faster": times}
    batcher.close()
    return {
        "model": ours.name,
        "device": ours.device,
        "precision": ours.precision,
        "torch": version("torch"),
        "f5_tts": version("f5-tts"),
        "rounds": n_rounds,
        "reference_s": reference_s,
        "cases": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", choices=["cpu", "gpu", "tiny"], default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reference-s", type=float, default=5.3)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    asked = parser.parse_args()
    cases = {"cpu": CPU_CASES, "gpu": CASES, "tiny": TINY_CASES}[asked.cases]
    result = measure(load_settings(), cases, asked.rounds, asked.reference_s)
    asked.out.mkdir(parents=True, exist_ok=True)
    name = f"engine-{result['device'].replace(' ', '-').lower()}-{result['torch'].split('+')[0]}.json"
    (asked.out / name).write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
