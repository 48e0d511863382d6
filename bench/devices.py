"""One, two and more GPUs of this machine in one process, as a worker with F5_DEVICE=cuda:all uses them.

`python bench/devices.py`, or `make bench-gpus` with random weights of F5TTS_v1_Base. Each number of GPUs speaks the
same kinds of load: 32 jobs for each GPU, which arrive at once, and one long text. They take turns from round to round,
and all segments differ by a frame. Writes medians to bench/results/devices-<device>-<torch>.json: audio seconds a
second, how many times that of one GPU, and how many cores of the CPU the process kept busy, since one process drives
all GPUs: at 2 GPUs 1.9 times, at 4 GPUs 3.7 times are to be reached.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.engine import CASES, TINY_CASES, Case, lengthen, run_ours, segments_of, summary  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.audio.levels import Samples  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.engine.engine import Engine  # noqa: E402
from f5_worker.engine.group import EngineGroup  # noqa: E402
from f5_worker.models.f5.config import SAMPLE_RATE  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402

TIMEOUT_S = 3_600.0


def start_engines(settings: Settings, names: Sequence[str]) -> list[Engine]:
    """Load the model onto each device, as ready as in a worker; return the engines."""
    from f5_worker.models.f5.runner import F5Runner
    from f5_worker.models.load import load_default, warm_up
    from f5_worker.models.placement import Device

    devices = [Device.at_start(name) for name in names]
    runner = load_default(settings, devices)
    assert isinstance(runner, F5Runner)  # f5-tts runs on one device
    warm_up(runner, devices)
    runners = (runner, *runner.replicas)
    engines = [Engine(one, settings.batch_frames) for one in runners]
    for one, engine, device in zip(runners, engines, devices, strict=True):
        run = device.owned_by(engine.run).run
        one.tune(run)
        one.capture_graphs(settings.warm_up_s, run)
    return engines


def are_equal(engines: Sequence[Engine], case: Case, reference: Samples) -> bool:
    """Return whether all devices speak the same samples, bit for bit."""
    first, *others = (
        [audio.samples for job in segments_of(case, reference) for audio in engine.submit(job, JobControl(TIMEOUT_S))]
        for engine in engines
    )
    return all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def measure(engines: Sequence[Engine], cases: Sequence[Case], n_rounds: int, reference: Samples) -> dict[str, Any]:
    """Run every case on 1, 2, 4, ... devices in turn; the first round does not count."""
    counts = sorted({*(2**i for i in range(len(engines).bit_length()) if 2**i <= len(engines)), len(engines)})
    rows: dict[str, Any] = {}
    for case in cases:
        rounds: dict[int, list[Any]] = {n: [] for n in counts}
        cores: dict[int, list[float]] = {n: [] for n in counts}
        for number in range(n_rounds + 1):
            for n in counts:
                jobs_s = [*case.jobs_s] * (n if len(case.jobs_s) > 1 else 1)  # a load grows, a text stays
                jobs = lengthen(segments_of(replace(case, jobs_s=jobs_s), reference), -number)
                began, cpu_began = time.perf_counter(), time.process_time()
                rounds[n].append(run_ours(EngineGroup(engines[:n]), jobs, case.early))
                cores[n].append((time.process_time() - cpu_began) / (time.perf_counter() - began))
        of_one = summary(rounds[1][1:])["audio_s_per_s"]
        rows[case.name] = {}
        for n in counts:
            figures = summary(rounds[n][1:])
            figures["times"] = round(figures["audio_s_per_s"] / of_one, 3)
            rows[case.name][str(n)] = {**figures, "cpu_cores": round(float(np.median(cores[n][1:])), 2)}
    return rows


def main() -> None:
    """Measure the model that the settings name on all GPUs, or on the CPU given several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reference-s", type=float, default=5.3)
    parser.add_argument("--cpu", type=int, default=0, help="so many times the CPU in place of GPUs, with a small load")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    # What one GPU has measured is read from here by the others, as in a worker.
    os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp(prefix="f5-devices-"))
    from f5_worker.models.placement import choose_devices

    settings = load_settings().model_copy(update={"device": "cpu" if args.cpu else "cuda:all"})
    names = choose_devices(settings) * (args.cpu or 1)
    engines = start_engines(settings, names)
    noise: Samples = np.random.default_rng(0).normal(0, 0.1, round(args.reference_s * SAMPLE_RATE)).astype(np.float32)
    by_name = {case.name: case for case in CASES}
    cases = (
        TINY_CASES
        if args.cpu
        else [by_name["32 jobs of 3..15 s"], replace(by_name["95.7 s in 7 segments"], early=False)]
    )
    runner: Any = engines[0].default
    result = {
        "model": runner.name,
        "device": runner.device,
        "devices": list(names),
        "precision": runner.precision,
        "torch": version("torch"),
        "equal": are_equal(engines, cases[-1], noise),
        "cases": measure(engines, cases, args.rounds, noise),
    }
    for engine in engines:
        engine.close()
    name = f"devices-{result['device']}-{result['torch'].split('+')[0]}".replace(" ", "-").lower()
    record(name, result, args.out)


if __name__ == "__main__":
    main()
