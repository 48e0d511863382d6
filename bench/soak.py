"""Many mixed jobs through the real SDK loop: `make soak`, or `python bench/soak.py --jobs 2000`.

Four callers send jobs of every kind - contracts, formats, captions, dubs, voices, URLs, faults, harmful files,
cancellations - to handler.py under the SDK, half of them to a worker that streams. Every job must be answered exactly
once, equal requests with equal answers, and nothing may grow or stay behind. Writes bench/results/soak.json; the exit
code is the number of bars that were missed.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is not an installed package
from bench.recorded_requests import LONGEST_CHARS, VARYING  # noqa: E402
from bench.soak_jobs import Kind, added, files_server, kinds  # noqa: E402
from f5_worker.server.liveness import FILE_NAME as ALIVE_FILE  # noqa: E402
from tests.e2e.fake_api import Body, FakeApi  # noqa: E402
from tests.e2e.worker_process import WorkerProcess  # noqa: E402

SEED = 15
CALLERS = 4
CONCURRENCY = 2
WARM_UP = 0.2  # of the jobs, before anything is measured: caches fill, the allocator takes what it keeps
MAX_SLOPE_MIB = 0.05  # a job
MAX_GROWTH = 8  # threads, descriptors: the SDK's own connections come and go
MAX_DECODERS = 4
# Of 16 bits: a segment in another batch may differ by 1e-5 (docs/performance.md), which may round otherwise.
MAX_LSB = 2
ANSWER_S = 120.0


@dataclass
class Leg:
    """One worker and the jobs that it was sent. `faults` says what was wrong with an answer."""

    api: FakeApi
    worker: WorkerProcess
    kinds: Sequence[Kind]
    seen: dict[str, tuple[Any, bytes]] = field(default_factory=dict)  # answer to a request: without sound, and sound
    faults: list[str] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)  # jobs answered, MiB of the worker
    outcomes: Counter[str] = field(default_factory=Counter)
    most_decoders: int = 0
    most_lsb: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def send(self, n_jobs: int) -> None:
        """Send so many more jobs from all callers and wait for their answers."""
        until = len(self.api.jobs) + n_jobs

        def caller(_: int) -> None:
            while len(self.api.jobs) < until:
                with self._lock:
                    number = next(self._numbers)
                block, place = divmod(number, len(self.kinds))
                order = random.Random(SEED + block).sample(self.kinds, len(self.kinds))
                self.send_one(order[place], number, block // 2 % 3)  # each request comes twice and more

        with ThreadPoolExecutor(CALLERS) as callers:
            for failure in callers.map(caller, range(CALLERS)):
                assert failure is None

    def send_one(self, kind: Kind, number: int = -1, seed: int = 0) -> None:
        """Send the jobs of a kind, one after another."""
        for job_input in kind.inputs(number, seed):
            job_id = self.api.submit_raw(
                {"id": f"job-{next(self._ids)}-{kind.name.replace(' ', '-')}", "input": job_input}
            )
            (self._cancel if kind.cancelled else self._await)(job_id, kind, job_input)
            self._sample()

    def _await(self, job_id: str, kind: Kind, job_input: object) -> None:
        try:
            body = self.api.wait(job_id, ANSWER_S)
        except AssertionError:
            self.faults.append(f"{kind.name}: lost")
            return
        code = str(body.get("error", "ok")).partition(":")[0]
        answer = without_sound(body)
        self.api.jobs[job_id].bodies[0] = {}  # only their number is of interest from now on
        with self._lock:
            self.outcomes[code] += 1
            if (code not in kind.codes) if kind.codes else code != "ok":
                self.faults.append(f"{kind.name}: {str(body.get('error', 'no error'))[:200]}")
            if not kind.varies:
                self._compare(kind, self.seen.setdefault(json.dumps(job_input), answer), answer)

    def _compare(self, kind: Kind, first: tuple[Any, bytes], answer: tuple[Any, bytes]) -> None:
        samples = [np.frombuffer(sound, "<i2").astype(int) for _, sound in (first, answer)]
        if first[0] != answer[0] or len(samples[0]) != len(samples[1]):
            self.faults.append(f"{kind.name}: another answer to an equal request")
            return
        self.most_lsb = max(self.most_lsb, int(np.abs(samples[0] - samples[1]).max(initial=0)))

    def _cancel(self, job_id: str, kind: Kind, job_input: object) -> None:
        self.worker.wait_for_line(job_id, "%", timeout=ANSWER_S)  # the model speaks it
        time.sleep(random.Random(job_id).uniform(0, 0.5))
        self.api.cancel(job_id)
        self.worker.wait_for_line(job_id, "cancelled", timeout=ANSWER_S)
        self.outcomes["cancelled"] += 1

    def _sample(self) -> None:
        with self._lock:
            self.api.posted.clear()
            self.api.streamed.clear()
            self.memory.append((len(self.memory), self.worker.rss_mib))
            if len(self.memory) % 100 == 0:
                print(f"{len(self.memory)} jobs answered", file=sys.stderr)
            self.most_decoders = max(self.most_decoders, self.worker.count_children("decode_child"))

    @property
    def counts(self) -> tuple[int, int]:
        """Return the worker's threads and descriptors."""
        process = Path("/proc", str(self.worker.pid))
        return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))

    @property
    def slope_mib(self) -> float:
        """Return the growth of the worker's memory for each job since the warm-up, by least squares."""
        jobs, mib = np.array(self.memory[int(len(self.memory) * WARM_UP) :]).T
        return float(np.polyfit(jobs, mib, 1)[0])


def without_sound(body: Body) -> tuple[Any, bytes]:
    """Return an answer without the fields that vary and without its sound, and the sound: 16 bits, WAV or raw."""
    sound: list[bytes] = []

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(inner) for name, inner in value.items() if name not in (*VARYING, "job_id")}
        if isinstance(value, list):
            return [strip(inner) for inner in value]
        if isinstance(value, str) and len(value) > LONGEST_CHARS:
            with suppress(ValueError):
                sound.append(base64.b64decode(value.removeprefix("data:audio/wav;base64,"), validate=True))
                return "sound"
        return value

    return strip(body), b"".join(sound)


def run_leg(n_jobs: int, url: str, home: Path, *, streaming: bool) -> dict[str, Any]:
    """Send jobs to one worker; return what was measured, `faults` included."""
    voices, temporary = home / "voices", home / "tmp"
    for directory in (voices, temporary):
        directory.mkdir(parents=True)
    overrides = {
        "F5_VOICES_DIR": str(voices),
        "TMPDIR": str(temporary),
        "F5_CONCURRENCY": str(CONCURRENCY),
        "F5_STREAMING": str(streaming).lower(),
        "F5_FETCH_HTTP": "true",
        "F5_FETCH_PRIVATE": "true",
        "F5_FETCH_TIMEOUT_S": "1",
    }
    with FakeApi() as api, WorkerProcess(home, api, overrides=overrides) as worker:
        worker.ready()
        leg = Leg(api, worker, kinds(url))
        started = time.monotonic()
        leg.send_one(Kind("first", lambda number, seed: [added("quick")]))
        n_warm_up = int(n_jobs * WARM_UP)
        leg.send(n_warm_up)
        threads, descriptors = leg.counts
        leg.send(n_jobs - n_warm_up - 2)
        leg.send_one(Kind("last", lambda number, seed: [{"action": "voices.delete", "name": "quick"}]))
        seconds = time.monotonic() - started
        threads_after, descriptors_after = leg.counts
        worker.terminate()
    bodies = [len(job.bodies) for job in api.jobs.values()]
    n_cancelled = leg.outcomes["cancelled"]
    return {
        "jobs": len(api.jobs),
        "seconds": round(seconds, 1),
        "lost": bodies.count(0) - n_cancelled,
        "doubled": sum(n > 1 for n in bodies),
        "slope_mib": round(leg.slope_mib, 4),
        "rss_mib": [round(leg.memory[int(len(leg.memory) * WARM_UP)][1]), round(leg.memory[-1][1])],
        "threads": [threads, threads_after],
        "descriptors": [descriptors, descriptors_after],
        "decoders": leg.most_decoders,
        "most_lsb": leg.most_lsb,
        "files_left": sum(path.name != ALIVE_FILE for path in (*voices.iterdir(), *temporary.iterdir())),
        "outcomes": dict(sorted(leg.outcomes.items())),
        "faults": sorted(set(leg.faults))[:20],
    }


def missed(leg: Mapping[str, Any], *, slope: bool = True) -> list[str]:
    """Return the bars that a leg missed; `slope`: of so few jobs that memory tells nothing, leave it out."""
    growth = max(after - before for before, after in (leg["threads"], leg["descriptors"]))
    bars = {
        "jobs were lost": leg["lost"] == 0,
        "jobs were answered twice": leg["doubled"] == 0,
        "answers were wrong": not leg["faults"],
        "equal requests sounded differently": leg["most_lsb"] <= MAX_LSB,
        "memory grew": not slope or leg["slope_mib"] <= MAX_SLOPE_MIB,
        "threads or descriptors grew": growth <= MAX_GROWTH,
        "too many decoders": leg["decoders"] <= MAX_DECODERS,
        "files were left": leg["files_left"] == 0,
    }
    return [bar for bar, is_kept in bars.items() if not is_kept]


def main() -> int:
    """Run both workers and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2_000)
    n_jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as home, files_server() as url:
        legs = {
            name: run_leg(n_jobs // 2, url, Path(home, name), streaming=name == "streamed")
            for name in ("whole", "streamed")
        }
    record("soak", legs)
    problems = [f"{name}: {bar}" for name, leg in legs.items() for bar in missed(leg)]
    print("\n".join(problems), file=sys.stderr)
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
