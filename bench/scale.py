"""RunPod endpoints of this worker, simulated for loads of 1 to 10,000 audio seconds a second: `make bench-scale`.

    python bench/scale.py                      writes bench/results/scale.json, for docs/scaling.md
    python bench/scale.py --price 0.00116 --active-price 0.00093

How long the device takes is measured: it is read from bench/results, as `inputs` in the result says; what RunPod's
platform does is assumed. `bench/endpoint_simulation.py` is the simulation. Random numbers have fixed seeds: a
second run writes the same.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.device_simulation import Device, DeviceQueue, Job  # noqa: E402
from bench.endpoint_simulation import Endpoint, Platform, Setting  # noqa: E402
from bench.engine import CASES  # noqa: E402 - the repository is not an installed package
from bench.record import RESULTS, read, record  # noqa: E402

ENGINE = "engine-nvidia-h200-2.11.0"
H100 = "asr-nvidia-h100-80gb-hbm3-2.11.0"
BOOT = "start-nvidia-h100-80gb-hbm3-2.11.0"
HTTP = "http"
LOADED = "32 jobs of 3..15 s"
CONTAINER_S = 3.0  # assumed: from the scaler's decision to the start of our process, of an image that is there
PRICES_DATE = "2026-11-26"
# Dollars a second, flex and active, in a copy of RunPod's documentation read on that date.
PRICES = {
    "16 GB: A4000, A4500, RTX 4000": (0.00016, 0.00011),
    "24 GB: L4, A5000, 3090": (0.00019, 0.00013),
    "24 GB: 4090": (0.00031, 0.00021),
    "48 GB: L40, L40S, 6000 Ada": (0.00053, 0.00037),
    "80 GB: H100": (0.00116, 0.00093),
    "141 GB: H200": (0.00155, 0.00124),
}
LOADS = {1: 3_000, 10: 5_000, 100: 10_000, 1_000: 15_000, 10_000: 60_000}  # audio seconds a second, and jobs
BURST = 5.0  # times the mean load
FEW = ("queue delay 4 s", "request count 4", "request count 2, active workers")  # where all would be too many
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
CONCURRENCY = 32  # of the settings that are compared
MAX_JOBS = 10**6  # at a time, where only the device limits
MANY_S, LONG_S = 13.3, 15.0  # a longer job's segments, after a first one of F5_STREAM_FIRST_S; a longer job
STREAM_FIRST_S = 2.5
FOLLOWED = (4, 8, 16, 32, 64)  # of these and of one that follows the jobs
HELD_S, MIN_FOLLOWED, MAX_FOLLOWED, FOLLOWED_JOBS = 2.0, 2, 128, 16
SLOW, BURSTS_S = 8.0, 480.0  # a device that takes so many times as long; the time of its bursts
FULL = 0.7  # of what a worker can do, with which the active workers are counted

Durations = Callable[[np.random.Generator, int], np.ndarray]
MIXES: Mapping[str, Durations] = {
    "replies of a bot": lambda random, n: np.clip(random.lognormal(math.log(3.0), 0.5, n), 1.0, 12.0),
    "captions": lambda random, n: random.uniform(3.0, 15.0, n),
    "pieces of audiobooks": lambda random, n: random.uniform(60.0, 180.0, n),
}


@dataclass(frozen=True)
class Arrivals:
    """Arrivals of jobs: a Poisson process, or with `burst` times the mean rate in `burst_s` of each `period_s`."""

    burst: float = 1.0
    burst_s: float = 20.0
    period_s: float = 120.0

    def times(self, random: np.random.Generator, rate: float, n: int) -> np.ndarray:
        """Return when `n` jobs come, `rate` a second on average."""
        work = np.cumsum(random.exponential(1.0 / rate, n))
        quiet = (self.period_s - self.burst * self.burst_s) / (self.period_s - self.burst_s)
        period, at_s = np.divmod(work, self.period_s)
        in_burst_s = self.burst * self.burst_s
        late_s = self.burst_s + (at_s - in_burst_s) / quiet if quiet else at_s
        return period * self.period_s + np.where(at_s < in_burst_s, at_s / self.burst, late_s)


def measured_device() -> Device:
    """Return the device as bench/engine.py measured it: both times are straight lines through the work."""
    result = read(ENGINE)
    cases = {case.name: case.jobs_s for case in CASES}

    def work_s(name: str) -> float:
        return sum(s + result["reference_s"] for job in cases[name] for s in job)

    alone = [result["cases"][name]["ours"]["latency_p50_s"] / work_s(name) for name in ("3.9 s alone", "12 s alone")]
    loaded_s = sum(map(sum, cases[LOADED])) / result["cases"][LOADED]["ours"]["audio_s_per_s"]
    beside_s = read(HTTP)["added_time"]["pipeline_ms"] / 1_000
    return Device(float(np.mean(alone)), loaded_s / work_s(LOADED), result["reference_s"], beside_s)


def measured_start_s() -> float:
    """Return the time of boot and of loading the model, as bench/boot.py measured it."""
    return float(read(BOOT)["ahead"]["ready_s"])


def segments_of(duration_s: float) -> tuple[float, ...]:
    """Return the segments of a job: one, or of a long job a short first one and equal others."""
    if duration_s <= LONG_S:
        return (duration_s,)
    n = math.ceil((duration_s - STREAM_FIRST_S) / MANY_S)
    return (STREAM_FIRST_S, *[(duration_s - STREAM_FIRST_S) / n] * n)


def run_case(device: Device, jobs_s: Sequence[Sequence[float]], later: Job | None = None) -> list[Job]:
    """Return the jobs of one of bench/engine.py's cases, run on a device at once; `later` comes when it says."""
    queue, jobs = DeviceQueue(device), [Job(0.0, tuple(job_s)) for job_s in jobs_s]
    for job in jobs:
        queue.add(0.0, job)
    while queue.next_s < math.inf:
        if later is not None and later.arrived_s < queue.next_s:
            queue.add(later.arrived_s, later)
            jobs, later = [*jobs, later], None
        now_s = queue.next_s
        for job in queue.finish(now_s):
            job.done_s = now_s
    return jobs


def compare_with_engine(device: Device) -> dict[str, dict[str, float]]:
    """Return, of the figures from which `device` was not made, what was measured and what is simulated."""
    result, cases = read(ENGINE), {case.name: case.jobs_s for case in CASES}
    loaded = run_case(device, cases[LOADED])
    streamed = run_case(device, cases["95.7 s as streamed"])[0]
    whole = run_case(device, cases["95.7 s in 7 segments"])[0]
    into = [run_case(device, cases[LOADED], Job(0.2 + 0.05 * i, (3.9,)))[-1] for i in range(40)]
    into_s = [job.done_s - job.arrived_s for job in into]
    ours = {name: case["ours"] for name, case in result["cases"].items()}
    pairs = {
        f"{LOADED}, p50": (ours[LOADED]["latency_p50_s"], np.percentile([job.done_s for job in loaded], 50)),
        f"{LOADED}, p95": (ours[LOADED]["latency_p95_s"], np.percentile([job.done_s for job in loaded], 95)),
        "3.9 s into that load, p50": (result["load"]["short_into_load_p50_s"], np.percentile(into_s, 50)),
        "3.9 s into that load, p95": (result["load"]["short_into_load_p95_s"], np.percentile(into_s, 95)),
        "95.7 s in 7 segments": (ours["95.7 s in 7 segments"]["latency_p50_s"], whole.done_s),
        "95.7 s as streamed": (ours["95.7 s as streamed"]["latency_p50_s"], streamed.done_s),
        "95.7 s as streamed, first sound": (ours["95.7 s as streamed"]["first_audio_s"], streamed.first_s),
    }
    return {name: {"measured_s": m, "simulated_s": round(float(s), 4)} for name, (m, s) in pairs.items()}


@dataclass(frozen=True)
class Load:
    """A load on an endpoint.

    As many workers as the load needs are ready when it begins, and the first fifth of the time does not count.
    """

    device: Device
    platform: Platform
    load: float
    mix: str = "captions"
    arrivals: Arrivals = Arrivals()
    n_jobs: int = 10_000

    def run(self, setting: Setting) -> dict[str, Any]:
        """Run it with a setting; return latencies, workers and what is paid."""
        random = np.random.default_rng(19)
        durations_s = MIXES[self.mix](random, self.n_jobs)
        arrived_s = self.arrivals.times(random, self.load / float(durations_s.mean()), self.n_jobs)
        jobs = [Job(float(at), segments_of(float(s))) for at, s in zip(arrived_s, durations_s, strict=True)]
        window_s = (0.2 * jobs[-1].arrived_s, jobs[-1].arrived_s)
        n_ready = max(0, min(setting.most, workers_for(self.device, self.mix, self.load, setting.concurrency)))
        usage = Endpoint(self.device, self.platform, setting, max(0, n_ready - setting.active), window_s).run(jobs)
        counted = [job for job in jobs if job.arrived_s >= window_s[0]]
        first_s = np.percentile([job.first_s + self.device.beside_s - job.arrived_s for job in counted], (50, 95))
        whole_s = np.percentile([job.done_s - job.arrived_s for job in counted], (50, 95))
        audio_s = sum(sum(job.segments_s) for job in counted)
        paid_s, length_s = usage.active_s + usage.flex_s, window_s[1] - window_s[0]
        return {
            "load": self.load,
            "active": setting.active,
            "first_s": [round(float(s), 3) for s in first_s],
            "whole_s": [round(float(s), 3) for s in whole_s],
            "workers": {"mean": round(paid_s / length_s, 2), "max": usage.workers},
            "utilisation": round(usage.busy_s / paid_s, 3),
            "active_s_per_audio_s": round(usage.active_s / audio_s, 6),
            "flex_s_per_audio_s": round(usage.flex_s / audio_s, 6),
        }


def workers_for(device: Device, mix: str, load: float, concurrency: int = CONCURRENCY) -> int:
    """Return how many workers a load keeps busy for `FULL` of the time: by device, or by the jobs that they may take.

    The SDK lets a worker take `concurrency` jobs a second.
    """
    jobs = [segments_of(float(s)) for s in MIXES[mix](np.random.default_rng(0), 10_000)]
    audio_s = sum(map(sum, jobs))
    device_s = device.together_s * sum(s + device.reference_s for job in jobs for s in job)
    return math.ceil(load * max(device_s, len(jobs) / concurrency) / audio_s / FULL)


def compared_settings(device: Device, mix: str, load: float, burst: float = 1.0) -> dict[str, Setting]:
    """Return the settings that are compared for each load, by name.

    There are at most twice the workers that the highest load needs. Active workers are those that the mean load needs,
    and where there are no others, those that the highest needs.
    """

    def most(concurrency: int) -> int:
        return 2 * workers_for(device, mix, load * burst, concurrency) + 2

    n_active, n_peak = (workers_for(device, mix, rate) for rate in (load, load * burst))
    count = Setting(CONCURRENCY, "request count", 2, most=most(CONCURRENCY))
    return {
        "queue delay 4 s, F5_CONCURRENCY=2": Setting(2, most=most(2)),
        "queue delay 4 s": Setting(CONCURRENCY, most=most(CONCURRENCY)),
        "request count 4": replace(count, value=4),
        "request count 2": count,
        "request count 2, idle timeout 60 s": replace(count, idle_s=60.0),
        "request count 2, active workers": replace(count, active=n_active),
        "active workers only": Setting(CONCURRENCY, active=n_peak, most=n_peak),
    }


def compare(load: Load, names: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Return what a load is with each of the compared settings, or with those of the given names."""
    settings = compared_settings(load.device, load.mix, load.load, load.arrivals.burst)
    return {name: load.run(setting) for name, setting in settings.items() if name in (names or settings)}


def worker_alone(device: Device, platform: Platform) -> list[dict[str, Any]]:
    """Return, for each F5_CONCURRENCY, what one active worker does with a full queue, and latencies at other loads."""
    rows = []
    for concurrency in CONCURRENCIES:
        setting = Setting(concurrency, active=1, most=1)
        row: dict[str, Any] = {"concurrency": concurrency}
        durations_s = MIXES["captions"](np.random.default_rng(1), 40 * concurrency)
        jobs = [Job(0.0, (float(s),)) for s in durations_s]
        Endpoint(device, platform, setting, 0, (0.0, math.inf)).run(jobs)
        row["audio_s_per_s"] = round(float(durations_s.sum()) / max(job.done_s for job in jobs), 1)
        for load in (5.0, 20.0, 50.0):
            if load < 0.9 * row["audio_s_per_s"]:
                result = Load(device, platform, load, n_jobs=4_000).run(setting)
                row[f"at_{load:.0f}"] = result["whole_s"]
        rows.append(row)
    return rows


def follow_device(concurrency: int, n_done: int, busy_s: float) -> int:
    """Return how many jobs keep the device busy for HELD_S; the present number unless that is twice or half of it."""
    if n_done < FOLLOWED_JOBS:
        return concurrency
    wanted = min(MAX_FOLLOWED, max(MIN_FOLLOWED, round(HELD_S * n_done / busy_s)))
    return concurrency if concurrency / 2 < wanted < concurrency * 2 else wanted


def concurrencies(platform: Platform) -> list[dict[str, Any]]:
    """Return what F5_CONCURRENCY makes of faster and slower devices: with a full queue, and in bursts.

    The mean load of the bursts is what two workers do in `FULL` of their time.
    """
    rates, whole = read(H100)["cases"]["base"], measured_device()
    fast = rates[LOADED]["audio_s_per_s"]["without"] / rates[f"{LOADED}, NFE 7"]["audio_s_per_s"]["without"]
    followed = {str(n): Setting(n) for n in FOLLOWED} | {"follows": Setting(CONCURRENCY, modify=follow_device)}
    rows = []
    for name, factor in {"NFE 7": fast, "NFE 32": 1.0, "NFE 32, 8 times slower": SLOW}.items():
        device = replace(whole, alone_s=factor * whole.alone_s, together_s=factor * whole.together_s)
        for mix in MIXES:
            load = round(2 * 10_000 / workers_for(device, mix, 10_000, MAX_JOBS), 1)
            mean_s = float(MIXES[mix](np.random.default_rng(0), 10_000).mean())
            bursts = Load(device, platform, load, mix, Arrivals(BURST), n_jobs=round(BURSTS_S * load / mean_s))
            most = 2 * workers_for(device, mix, load * BURST, MAX_JOBS) + 2
            row: dict[str, Any] = {"device": name, "jobs": mix, "load": load, "of": {}}
            for label, setting in followed.items():
                result = bursts.run(replace(setting, scaler="request count", value=4, most=most))
                row["of"][label] = {"full_audio_s_per_s": full_queue(device, platform, setting, mix), **result}
            rows.append(row)
    return rows


def full_queue(device: Device, platform: Platform, setting: Setting, mix: str, n_jobs: int = 2_000) -> float:
    """Return the audio seconds that a worker makes in a second of jobs that all wait at the beginning."""
    durations_s = MIXES[mix](np.random.default_rng(1), n_jobs)
    jobs = [Job(0.0, segments_of(float(s))) for s in durations_s]
    Endpoint(device, platform, replace(setting, active=1, most=1), 0, (0.0, math.inf)).run(jobs)
    return round(float(durations_s.sum()) / max(job.done_s for job in jobs), 1)


def other_platforms(platform: Platform) -> dict[str, Platform]:
    """Return the platform with one assumption after another replaced."""
    return {
        "as assumed": platform,
        "no FlashBoot": replace(platform, revive_s=platform.start_s),
        "each start pulls the image: 90 s": replace(platform, start_s=90.0, revive_s=90.0),
        "the scaler decides every 5 s": replace(platform, check_s=5.0),
        "queue delay adds as many workers as jobs wait": replace(platform, added=1_000),
        "the SDK without its pause": replace(platform, full_s=0.0),
    }


def measure() -> dict[str, Any]:
    """Run all simulations."""
    device, boot_s = measured_device(), measured_start_s()
    platform = Platform(CONTAINER_S + boot_s)
    steady = Load(device, platform, 100)
    bursts = replace(steady, arrivals=Arrivals(BURST), n_jobs=20_000)
    others = other_platforms(platform).items()
    h100 = read(H100)["cases"]["base"]
    return {
        "inputs": {
            "device": {"of": read(ENGINE)["device"], **{name: round(s, 5) for name, s in asdict(device).items()}},
            "platform": asdict(platform),
            "boot_s": boot_s,
            "files": {"device": ENGINE, "beside": HTTP, "boot": BOOT},
        },
        "compared": compare_with_engine(device),
        "worker": worker_alone(device, platform),
        "concurrencies": concurrencies(platform),
        "loads": {load: compare(replace(steady, load=load, n_jobs=n)) for load, n in LOADS.items()},
        "bursts": compare(bursts),
        "mixes": {mix: compare(replace(steady, mix=mix, n_jobs=4_000), FEW) for mix in MIXES},
        "assumptions": {
            "1": {name: compare(replace(steady, load=1, platform=one, n_jobs=3_000), FEW) for name, one in others},
            "100 in bursts": {name: compare(replace(bursts, platform=one), FEW) for name, one in others},
        },
        "audio_s_per_s": {
            "H200": read(ENGINE)["cases"][LOADED]["ours"]["audio_s_per_s"],
            "H100": h100[LOADED]["audio_s_per_s"]["without"],
            "H100, NFE 7": h100[f"{LOADED}, NFE 7"]["audio_s_per_s"]["without"],
        },
    }


def main() -> None:
    """Simulate, and write bench/results/scale.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--price", type=float, default=PRICES["141 GB: H200"][0], help="dollars a second, flex")
    parser.add_argument("--active-price", type=float, default=PRICES["141 GB: H200"][1], help="and active")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    prices = {"flex": args.price, "active": args.active_price, "of_gpus": PRICES, "date": PRICES_DATE}
    print(record("scale", {**measure(), "prices": prices}, args.out, quiet=True))


if __name__ == "__main__":
    main()
