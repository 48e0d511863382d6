"""Kills at random moments and a hostile world around a worker: `make chaos`, or `python bench/chaos.py --kills 100`.

A quarter of the kills are of boots that convert weights, the others of workers that add, replace and delete voices and
save and upload results. After each, the next start must work, and everything that was answered must hold: a voice that
was added speaks, one that was deleted is not listed, a result that was saved is complete. Then the scenes of
chaos_scenes.py. Writes bench/results/chaos.json; the exit code is the number of failures.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.chaos_scenes import SAY, encoded, run_scenes  # noqa: E402 - the repository is not an installed package
from bench.record import record  # noqa: E402
from f5_worker.boot.weights import copies  # noqa: E402
from f5_worker.errors import UnknownVoice  # noqa: E402
from tests.e2e.fake_api import Body, FakeApi  # noqa: E402
from tests.e2e.worker_process import WorkerProcess, environment  # noqa: E402
from tests.s3_server import s3_server  # noqa: E402

SEED = 15
BOOT_SHARE = 0.25  # of the kills
LONGEST_WORK_S = 4.0
BOOT_S = 120.0
ANSWER_S = 120.0
VOICES = ("ann", "ben", "cid")
TINY = ROOT / "models" / "f5-tiny"
CONSENT = "The reader agreed to this test."


@dataclass
class Counts:
    """What was done, and every promise that was broken, in words."""

    boot_kills: int = 0
    worker_kills: int = 0
    copies_published: int = 0
    voices_changed: int = 0
    voices_checked: int = 0
    results_checked: int = 0
    corrupt: list[str] = field(default_factory=list)
    phantom: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


# -- boots ------------------------------------------------------------------------------------------------------------


def kill_boots(n_kills: int, home: Path, counts: Counts) -> None:
    """Kill boots that convert a fine-tune, each at another moment; a copy is there whole or not at all."""
    tune = home / "tune"
    shutil.copytree(TINY, tune)
    (tune / "model.safetensors").rename(tune / "model_100.safetensors")  # so that a copy has to be made
    environ = environment(home, None, {"F5_MODEL": str(tune), "F5_CACHE_DIR": str(home / "cache")})
    whole_s = _boot(environ, home, None)[0]
    for number in itertools.count():
        if counts.boot_kills == n_kills:
            break
        if number % 3 == 0:  # else with what the kill before it left
            shutil.rmtree(home / "cache", ignore_errors=True)
        # The conversion is the later part; some boots end before they are killed, and their copies count, too.
        counts.boot_kills += _boot(environ, home, random.Random(SEED + number).uniform(0.3, 1.2) * whole_s)[1]
        for copy in (home / "cache").glob("models/*/tune"):
            counts.copies_published += 1
            if problem := copies.defect(copy, deep=True):
                counts.corrupt.append(f"boot {number}: {problem}")
            shutil.rmtree(copy)
    _boot(environ, home, None)  # raises if the last start does not work
    directory = next((home / "cache").glob("models/*/tune"))
    if problem := copies.defect(directory, deep=True):
        counts.corrupt.append(f"last boot: {problem}")


def _boot(environ: Mapping[str, str], home: Path, kill_after_s: float | None) -> tuple[float, bool]:
    """Fill the weight cache; return the seconds that it took, and whether it was killed, with all children."""
    started = time.monotonic()
    with (home / "boot.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "model_cache_init.py", "fetch"],
            cwd=ROOT, env=dict(environ), stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(kill_after_s or BOOT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if kill_after_s is None and code != 0:
        raise RuntimeError(f"boot ended with {code}: {(home / 'boot.log').read_text()[-2_000:]}")
    return time.monotonic() - started, code is None


# -- workers ----------------------------------------------------------------------------------------------------------


@dataclass
class Volume:
    """What the workers share, and what they have promised of it.

    voices: by name the speeds that a voice may have after the last kill, which tell its versions apart; None: it may
    be gone. changes: how many changes of voices were answered. saved: bytes of each result that was answered, by job.
    links: sizes of those in the bucket.
    """

    home: Path
    bucket: Mapping[str, str]
    voices: dict[str, set[float | None]] = field(default_factory=lambda: {name: {None} for name in VOICES})
    changes: int = 0
    saved: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)

    @property
    def overrides(self) -> dict[str, str]:
        """Return the settings of its workers."""
        directories = {"F5_VOICES_DIR": str(self.home / "voices"), "F5_SAVE_DIR": str(self.home / "saved")}
        return {**directories, **self.bucket, "F5_CONCURRENCY": "3"}


class Caller(threading.Thread):
    """Sends changes of voices, or texts to speak, until it is told to stop; what is answered is promised."""

    def __init__(self, number: int, caller: int, api: FakeApi, volume: Volume) -> None:
        super().__init__(daemon=True)
        self._rng = random.Random(f"{SEED} {number} {caller}")
        self._api, self._volume, self._prefix, self._is_voices = api, volume, f"k{number}-{caller}", caller < 2
        self._names = VOICES[caller::2]  # of each voice there is one caller
        self.stopped = threading.Event()

    def run(self) -> None:
        n = 0
        while not self.stopped.is_set():
            n += 1
            (self._change_voice if self._is_voices else self._speak)(f"{self._prefix}-{n}")

    def _ask(self, job_id: str, job_input: Body) -> Body | None:
        """Return the answer to a job, or None if the worker was killed before it."""
        job = self._api.jobs[self._api.submit_raw({"id": job_id, "input": job_input})]
        while not job.done.wait(0.02):
            if self.stopped.is_set():
                return None
        return job.bodies[0]

    def _change_voice(self, job_id: str) -> None:
        name, may_be = self._rng.choice(self._names), self._volume.voices
        if self._rng.random() < 0.35:
            wanted: float | None = None
            job: Body = {"action": "voices.delete", "name": name}
        else:
            wanted = round(self._rng.uniform(0.6, 1.9), 6)
            clip = {"audio": encoded("joe"), "transcript": (TINY / "voices" / "joe.txt").read_text().strip()}
            job = {"action": "voices.add", "name": name, **clip, "consent": CONSENT}
            job |= {"replace": True, "defaults": {"speed": wanted}}
        may_be[name] = may_be[name] | {wanted}
        body = self._ask(job_id, job)
        if body is None:
            return
        if "error" not in body or body["error"].startswith(UnknownVoice.code):  # the latter: nothing to delete
            may_be[name] = {wanted}
            self._volume.changes += 1

    def _speak(self, job_id: str) -> None:
        delivery = self._rng.choice(("inline", "s3"))
        body = self._ask(job_id, SAY | {"seed": self._rng.randrange(1_000), "delivery": delivery})
        if body is None or "error" in body:
            return
        audio = body["output"]["audio"]
        if delivery == "s3":
            self._volume.links[audio["url"]] = audio["bytes"]
        else:
            self._volume.saved[job_id] = base64.b64decode(audio["base64"])


def kill_workers(n_kills: int, home: Path, bucket: Mapping[str, str], counts: Counts) -> None:
    """Kill workers on one volume, each while three callers work; the next one checks what was promised."""
    volume = Volume(home, bucket)
    for number in range(n_kills + 1):
        with FakeApi() as api:
            with WorkerProcess(home, api, overrides=volume.overrides) as worker:
                worker.ready()
                check_promises(f"kill {number}", api, volume, counts)
                if number == n_kills:
                    return
                callers = [Caller(number, caller, api, volume) for caller in range(3)]
                for caller in callers:
                    caller.start()
                time.sleep(random.Random(SEED + number).uniform(0.05, LONGEST_WORK_S))
            counts.voices_changed = volume.changes
            counts.worker_kills += 1  # leaving the block is SIGKILL to the whole group
            print(f"{counts.worker_kills} of {n_kills} workers killed", file=sys.stderr)
            time.sleep(0.1)  # an answer may still be on its way
            for caller in callers:
                caller.stopped.set()
                caller.join()


def check_promises(place: str, api: FakeApi, volume: Volume, counts: Counts) -> None:
    """Compare voices and results with what was answered before the kill."""

    def ask(job_input: Body) -> Body:
        return api.wait(api.submit(job_input), ANSWER_S)

    listed = {voice["name"] for voice in ask({"action": "voices.list"})["output"]["voices"]}
    for name, may_be in volume.voices.items():
        counts.voices_checked += 1
        found = ask({"action": "voices.get", "name": name})
        speed = None if "error" in found else found["output"]["voice"]["defaults"].get("speed")
        spoken = ask(SAY | {"voice": name})
        if (name in listed) != ("error" not in found) or ("error" in found) != ("error" in spoken):
            told = [str(body.get("error", "ok"))[:100] for body in (found, spoken)]
            counts.phantom.append(f"{place}: {name} listed: {name in listed}, got: {told[0]}, spoken: {told[1]}")
        elif speed not in may_be:
            counts.lost.append(f"{place}: {name} has {speed}, not one of {may_be}")
        volume.voices[name] = {speed}
    for job_id, data in volume.saved.items():
        counts.results_checked += 1
        path = volume.home / "saved" / f"{job_id}.wav"
        if not path.is_file() or not path.with_suffix(".json").is_file():
            counts.lost.append(f"{place}: the result of {job_id} is not there")
        elif path.read_bytes() != data:
            counts.corrupt.append(f"{place}: the result of {job_id} is another one")
    for url, n_bytes in volume.links.items():
        counts.results_checked += 1
        if len(requests.get(url, timeout=10).content) != n_bytes:
            counts.lost.append(f"{place}: a result in the bucket")
    volume.saved.clear()
    volume.links.clear()
    counts.corrupt += [f"{place}: {problem}" for problem in _torn(volume.home / "saved")]


def _torn(directory: Path) -> list[str]:
    """Return the saved files, promised or not, that are not whole: a reader takes what has a name of its own."""
    torn = []
    for path in directory.glob("[!.]*"):
        data = path.read_bytes()
        try:
            is_whole = bool(json.loads(data)) if path.suffix == ".json" else len(data) == _wav_bytes(data)
        except ValueError:
            is_whole = False
        torn += [] if is_whole else [f"{path.suffix} of {len(data)} bytes"]
        path.unlink()
    return torn


def _wav_bytes(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little") if data[:4] == b"RIFF" else -1


def main() -> int:
    """Kill, play the scenes, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    n_boots = int(parser.parse_args().kills * BOOT_SHARE)
    counts, started = Counts(), time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        kill_boots(n_boots, home, counts)
        with s3_server() as s3:
            s3.create()
            kill_workers(parser.parse_args().kills - n_boots, home, s3.environ(), counts)
        scenes = run_scenes(home)
    result: dict[str, Any] = {**vars(counts), "scenes": scenes, "seconds": round(time.monotonic() - started, 1)}
    record("chaos", result)
    broken = [*counts.corrupt, *counts.phantom, *counts.lost]
    return len(broken) + sum(outcome != "ok" and not outcome.startswith("not played") for outcome in scenes.values())


if __name__ == "__main__":
    sys.exit(main())
