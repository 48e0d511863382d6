"""The CPU work around a simulated device, from a job of RunPod's queue to its result in JSON: `python bench/edge.py`.

All but the device is real: admission, the job's thread, reading the text, engine and scheduler, joining, encoding,
base64, JSON. The device takes as long as the GPU of bench/results/engine-*.json, at NFE 7, and does not hold Python's
lock; its thread launches each operation with the lock, and one step ahead, as on a GPU. Twice:

- on these cores, with a device that is slower by as much as they are fewer than the 16 of a GPU's machine: each core's
  share of the work is then the same;
- on many cores, with the device as fast as it is. What FFmpeg computes is slept, and it takes and holds the lock as
  often and as long as it was measured to: what is left is the lock.

Encoding in the threads of jobs and in processes alternate. Measured: seconds of audio a second; the share of time in
which the device had nothing to do; how late a thread gets the lock that wakes every millisecond; the processor's time
of the worker's process, and of each stage. Medians go to bench/results/edge.json. With `--gpu` the device is real too.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import itertools
import json
import os
import pickle
import random
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import RESULTS, record  # noqa: E402 - the repository is not an installed package
from f5_worker.audio.encode import encode  # noqa: E402
from f5_worker.audio.encoders import EncoderPool  # noqa: E402
from f5_worker.audio.formats import AUDIO_FORMATS  # noqa: E402
from f5_worker.audio.isolated import POOL, decode  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.engine.engine import Engine  # noqa: E402
from f5_worker.engine.group import EngineGroup  # noqa: E402
from f5_worker.engine.scheduler import SMALL_FORWARD_FRAMES  # noqa: E402
from f5_worker.engine.types import Segment, WaitForSamples  # noqa: E402
from f5_worker.models.f5.config import HOP_SAMPLES, mel_frames  # noqa: E402
from f5_worker.models.f5.tokenizer import Vocabulary  # noqa: E402
from f5_worker.models.registry import ModelRegistry  # noqa: E402
from f5_worker.server.runpod import QueueServer  # noqa: E402
from f5_worker.server.startup import MAX_ENCODERS, load_worker  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402
from f5_worker.text.traits import TextTraits  # noqa: E402
from f5_worker.voices.library import Library  # noqa: E402

Json = dict[str, Any]
MakeEncoders = Callable[[int], EncoderPool]

WORDS = "the old harbour wakes slowly and a grey light over roofs finds boats that wait for wind".split()
MODEL = ROOT / "models" / "f5-tiny"
CORES_OF_A_GPU = 16
NFE = 7
WAITING = 16  # jobs in line, as over HTTP
FORMATS, AT_ONCE = ("wav", "mp3"), (2, 32)
PR_SET_TIMERSLACK = 29
# Of an MP3's time the lock is held for 17 % (py-spy record --gil), and it is taken again after each of FFmpeg's calls:
# one for the samples of a frame, two for its packet, one to write it.
LOCKED_SHARE, TAKES_A_FRAME, MP3_FRAME_SAMPLES, MP3_BYTES_PER_S = 0.17, 4, 576, 16_000
# Operations of PyTorch that the device's thread launches, each of which returns the lock and takes it again: about as
# many as models/f5/ has around a captured graph.
LAUNCHES = {"begin": 30, "step": 8, "finish": 12}


@dataclass
class State:
    """A segment on the simulated device."""

    segment: Segment


class SimulatedDevice:
    """A model whose forwards take `frame_s` for each frame, one after another, whatever the host does meanwhile.

    Attributes:
        idle_s: how long it had nothing to do while segments were waiting for their next step, gap by gap.
    """

    name, engine, device, precision, n_bytes = "simulated", "own", "simulated", "fp16", 0
    whole_segments, directory = False, MODEL

    def __init__(self, voice: Samples, frame_s: float, beside_s: float) -> None:
        self.vocabulary = Vocabulary.load(MODEL / "vocab.txt")
        self.traits = TextTraits()
        self.attention: dict[str, Any] = {}
        self.device_bytes: tuple[int, int] | None = None
        self.replicas: list[SimulatedDevice] = []
        self._sound = np.tile(voice, 40)
        self._frame_s, self._beside_s = frame_s, beside_s
        self._free_at = 0.0
        self.idle_s: list[float] = []

    def begin(self, segment: Segment) -> State:
        """Return the state of a segment before its first step."""
        self._launch("begin", self._beside_s / 2)
        return State(segment)

    def step(self, states: Sequence[State]) -> None:
        """Launch a step; return once the one before it is done."""
        frames = sum(state.segment.forward_frames for state in states)
        previous = self._free_at
        self._launch("step", max(SMALL_FORWARD_FRAMES, frames) * self._frame_s)
        _sleep_until(previous)

    def finish(self, states: Sequence[State]) -> list[WaitForSamples]:
        """Return what waits for the sound of each segment, of its exact length."""
        self._launch("finish", len(states) * self._beside_s / 2)
        return [partial(self._sound_of, state.segment, self._free_at) for state in states]

    def _sound_of(self, segment: Segment, done_at: float) -> Samples:
        _sleep_until(done_at)
        return self._sound[: _n_samples(segment)].copy()

    def _launch(self, kind: str, seconds: float) -> None:
        for _ in range(LAUNCHES[kind]):
            time.sleep(0)
        now = time.perf_counter()
        self.idle_s.append(max(0.0, now - self._free_at))
        self._free_at = max(now, self._free_at) + seconds


class ManyCores(EncoderPool):
    """Encoding on a machine with a core for everyone: what FFmpeg computes is slept, the lock is held as it holds it.

    Args:
        cpu_s: that a second of MP3 takes.
        n_processes: that encode; none: it is done in the threads of the jobs.
    """

    def __init__(self, cpu_s: float, n_processes: int) -> None:
        super().__init__()
        self._cpu_s = cpu_s
        self._cores = threading.BoundedSemaphore(n_processes) if n_processes else None

    def encode(self, samples: Samples, format: str, sample_rate: int, on_cpu_s: Any = None) -> bytes:
        """Take as long as a file does; return as many bytes."""
        if AUDIO_FORMATS[format].is_pcm:
            return super().encode(samples, format, sample_rate)
        seconds = len(samples) / SAMPLE_RATE
        if self._cores is not None:
            pickle.dumps(samples)
            with self._cores:
                time.sleep(seconds * self._cpu_s)
        else:
            n_takes = round(seconds * SAMPLE_RATE / MP3_FRAME_SAMPLES * TAKES_A_FRAME)
            for _ in range(n_takes):
                time.sleep(seconds * self._cpu_s * (1 - LOCKED_SHARE) / n_takes)
                until = time.perf_counter() + seconds * self._cpu_s * LOCKED_SHARE / n_takes
                while time.perf_counter() < until:
                    pass
        return bytes(round(seconds * MP3_BYTES_PER_S))


def mp3_cpu_s(voice: Samples) -> float:
    """Return the processor's seconds that a second of MP3 takes."""
    begun = time.thread_time()
    encode(voice, "mp3", SAMPLE_RATE)
    return (time.thread_time() - begun) / len(voice) * SAMPLE_RATE


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.perf_counter()))


def _n_samples(segment: Segment) -> int:
    return (segment.frames - mel_frames(len(segment.reference)) - 1) * HOP_SAMPLES


def device_times() -> tuple[float, float]:
    """Return what a frame takes on a measured GPU, and a segment beside its steps: 12 s alone at NFE 32 and at 7."""
    cases = json.loads(next(RESULTS.glob("engine-nvidia-*.json")).read_text(encoding="utf-8"))["cases"]
    slow_s, fast_s = (cases[name]["ours"]["latency_p50_s"] for name in ("12 s alone", "12 s alone, NFE 7"))
    step_s = (slow_s - fast_s) / (32 - NFE)
    frames = 2 * round((5.3 + 12.0) * 24_000 / HOP_SAMPLES)
    return step_s / frames, fast_s - NFE * step_s


@contextmanager
def lock_delays() -> Iterator[list[float]]:
    """Collect how much later than asked for a thread runs that sleeps a millisecond at a time."""
    late_s: list[float] = []
    ended = threading.Event()

    def probe() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            time.sleep(0.001)
            late_s.append(time.perf_counter() - begun - 0.001)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield late_s
    finally:
        ended.set()
        thread.join()


async def send_all(server: QueueServer, jobs: Sequence[Json], n_clients: int) -> list[Json]:
    """Answer the jobs, so many here at a time, as RunPod's SDK does, and write each result as JSON as it does."""
    places = asyncio.Semaphore(n_clients)

    async def send(job: Json) -> Json:
        async with places:
            reply = await server.answer(job)
            json.dumps(reply, ensure_ascii=False)
            if "error" in reply:
                raise RuntimeError(reply["error"])
            return reply

    return await asyncio.gather(*map(send, jobs))


def make_jobs(n_jobs: int, format: str) -> list[Json]:
    """Return jobs of sentences of about 3 to 15 s."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(9, 45))).capitalize() + "." for _ in range(n_jobs)]
    return [
        {"id": f"job-{i}", "input": {"text": text, "voice": "joe", "nfe_step": NFE, "seed": i, "format": format}}
        for i, text in enumerate(texts)
    ]


def measure(worker: Worker, at_once: int, n_jobs: int, format: str) -> Json:
    """Measure one load of jobs that are all here from the beginning."""
    settings = worker.settings.model_copy(update={"concurrency": at_once, "max_reply_bytes": 100_000_000})
    jobs, server = make_jobs(n_jobs, format), QueueServer(replace(worker, settings=settings))
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with lock_delays() as late_s:
        replies = asyncio.run(send_all(server, jobs, at_once + WAITING))
    elapsed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    audio_s = sum(reply["audio"]["duration_s"] for reply in replies)
    stages = Counter[str]()
    for reply in replies:
        stages.update(reply["metrics"]["cpu_ms"])
    return {
        "seconds": elapsed_s,
        "audio_s_per_s": audio_s / elapsed_s,
        "lock_p99_ms": float(np.percentile(late_s, 99)) * 1e3,
        "encode_ms": sum(reply["metrics"]["encode_ms"] for reply in replies) / n_jobs,
        "own_cpu_ms_per_audio_s": cpu_s / audio_s * 1e3,
        **{f"{stage}_cpu_ms_per_audio_s": ms / audio_s for stage, ms in stages.items()},
    }


def simulate(
    voice: Samples, slower: float, make_encoders: MakeEncoders, n_encoders: int, at_once: int, n_jobs: int, format: str
) -> Json:
    """Measure one load of a simulated device."""
    frame_s, beside_s = (seconds * slower for seconds in device_times())
    device = SimulatedDevice(voice, frame_s, beside_s)
    settings, encoders = Settings(model="f5-tiny", device="cpu"), make_encoders(n_encoders)
    engine = EngineGroup([Engine(device, settings.batch_frames)])
    models = ModelRegistry(device, {}, lambda *_: device, settings)
    worker = Worker(settings, models, Library(MODEL / "voices", settings), engine, encoders=encoders)
    measure(worker, 2, 2, format)  # reads dictionaries, prepares the voice, starts the processes
    device.idle_s.clear()
    figures = measure(worker, at_once, n_jobs, format)
    engine.close()
    encoders.close()
    gaps_s = device.idle_s[1:]
    return figures | {"idle": sum(gaps_s) / figures["seconds"], "longest_gap_ms": max(gaps_s) * 1e3}


def measure_gpu(worker: Worker, n_encoders: int, at_once: int, n_jobs: int, format: str) -> Json:
    """Measure one load of a worker on a GPU."""
    return measure(worker if n_encoders else replace(worker, encoders=EncoderPool()), at_once, n_jobs, format)


def medians(rounds: Sequence[Json]) -> Json:
    """Return the median of each figure."""
    return {name: round(statistics.median(figures[name] for figures in rounds), 3) for name in rounds[0]}


def compare(measure_load: Callable[[int, int, int, str], Json], n_rounds: int, n_jobs: int) -> Json:
    """Measure each way to encode, by turns, with few and with many jobs at a time; return medians."""
    rounds: dict[str, list[Json]] = defaultdict(list)
    for _ in range(n_rounds):
        for at_once, format, n_encoders in itertools.product(AT_ONCE, FORMATS, (0, MAX_ENCODERS)):
            name = f"{format}, {at_once} at a time, in {'processes' if n_encoders else 'threads'}"
            rounds[name].append(measure_load(n_encoders, at_once, n_jobs, format))
    return {name: medians(each) for name, each in rounds.items()}


def main() -> None:
    """Measure simulated devices, or the GPU of the model that the settings name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="the model of F5_MODEL; into edge-<device>.json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=48)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.gpu:
        loaded = load_worker(load_settings())
        worker = replace(loaded, voices=Library(MODEL / "voices", loaded.settings))
        measure(worker, AT_ONCE[-1], CORES_OF_A_GPU * args.jobs, FORMATS[0])  # while graphs are captured
        loads = compare(partial(measure_gpu, worker), args.rounds, CORES_OF_A_GPU * args.jobs)
        device = worker.models.default.device
        record(f"edge-{device.replace(' ', '-').lower()}", {"device": device, "nfe": NFE, "loads": loads}, args.out)
        return
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # the threads of this one sleep as long as they ask for
    voice = decode((MODEL / "voices" / "joe.wav").read_bytes(), max_bytes=1 << 24, max_s=60.0).samples
    POOL.close()
    cores, cpu_s = len(os.sched_getaffinity(0)), mp3_cpu_s(voice)
    machines: dict[str, tuple[float, MakeEncoders]] = {
        "these cores": (CORES_OF_A_GPU / cores, lambda n: EncoderPool(min(n, cores))),
        "many cores": (1.0, lambda n: ManyCores(cpu_s, n)),
    }
    result: Json = {"device": device_times(), "nfe": NFE, "rounds": args.rounds}
    takes = round(SAMPLE_RATE / MP3_FRAME_SAMPLES * TAKES_A_FRAME)
    result["second_of_mp3"] = {"cpu_ms": round(1e3 * cpu_s, 2), "locked_share": LOCKED_SHARE, "lock_takes": takes}
    for machine, (slower, make_encoders) in machines.items():
        n_jobs = round(args.jobs * machines["these cores"][0] / slower)  # each load takes as long
        loads = compare(partial(simulate, voice, slower, make_encoders), args.rounds, n_jobs)
        result[machine] = {"slower": slower, "jobs": n_jobs, "loads": loads}
    record("edge", result, args.out)


if __name__ == "__main__":
    main()
