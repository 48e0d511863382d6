"""Scenes of chaos.py: a disk, an API, a clock or a GPU that fails under a worker, and what callers must be told."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.fake_api import Body, FakeApi, Fault  # noqa: E402 - the repository is not an installed package
from tests.e2e.worker_process import WorkerProcess  # noqa: E402

TINY = ROOT / "models" / "f5-tiny"
SAY: Body = {"text": "Good day.", "voice": "joe", "nfe_step": 4, "seed": 5}
ANSWER_S = 120.0
DISK_BYTES = 2_000_000

# A clock that is five hours off, in turn ahead and behind, from one look at it to the next.
JUMPING_CLOCK = """
import itertools, time
real, turns = time.time, itertools.count()
time.time = lambda: real() + (18_000 if next(turns) % 2 else -18_000)
"""
# A step of the model fails as all do after a fault of the GPU, in the first process that comes so far.
LOSES_ITS_GPU = """
import pathlib, sys
import handler
from f5_worker.models.f5.sampler import StepBatch
marker, step, steps = pathlib.Path(sys.argv[1]), StepBatch.step, []
def fail(self):
    steps.append(0)
    if len(steps) > 10 and not marker.exists():
        marker.touch()
        raise RuntimeError("CUDA error: unspecified launch failure")
    step(self)
StepBatch.step = fail
handler.main()
"""


class NotPlayed(Exception):
    """This machine does not allow the scene."""


class Stage:
    """A worker, its API, and what has to be so."""

    def __init__(self, api: FakeApi, worker: WorkerProcess) -> None:
        self.api, self.worker = api, worker

    def ask(self, job_input: Body) -> Body:
        """Return the answer to a job."""
        return self.api.wait(self.api.submit(job_input), ANSWER_S)

    def speak(self, **fields: object) -> bytes:
        """Return the sound of a job that must not fail."""
        body = self.ask(SAY | fields)
        assert "error" not in body, body["error"]
        return base64.b64decode(body["output"]["audio"]["base64"])

    def refused(self, job_input: Body, code: str) -> None:
        """Send a job that must fail with this code."""
        error = str(self.ask(job_input).get("error", "no error"))
        assert error.startswith(f"{code}: "), error


@contextmanager
def stage(home: Path, **overrides: str) -> Iterator[Stage]:
    """Start a worker."""
    with FakeApi() as api, WorkerProcess(home, api, overrides=overrides) as worker:
        worker.ready()
        yield Stage(api, worker)


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """Mount a disk of DISK_BYTES."""
    at.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(at)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise NotPlayed("no right to mount")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def encoded(name: str) -> str:
    """Return a clip that ships with the model as a request carries it."""
    return base64.b64encode((TINY / "voices" / f"{name}.wav").read_bytes()).decode()


def voice(name: str, **fields: object) -> Body:
    """Return the job that adds a voice."""
    words = (TINY / "voices" / "joe.txt").read_text(encoding="utf-8").strip()
    told = {"transcript": words, "consent": "The reader agreed to this test."}
    return {"action": "voices.add", "name": name, "audio": encoded("joe"), **told, **fields}


def disk_full(home: Path) -> None:
    """A full volume refuses new voices in words, spoils no old one, and takes no result from its caller."""
    with (
        small_disk(home / "disk") as disk,
        stage(home, F5_VOICES_DIR=str(disk / "voices"), F5_SAVE_DIR=str(disk / "saved")) as on,
    ):
        assert "error" not in on.ask(voice("ann"))
        alone = on.speak(voice="ann")
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(bytes(4_096)):
                    pass
            except OSError:
                pass
        on.refused(voice("ben"), "STORAGE_FAILED")
        on.refused(voice("ann", replace=True), "STORAGE_FAILED")
        assert on.speak(voice="ann") == alone
        names = [one["name"] for one in on.ask({"action": "voices.list"})["output"]["voices"]]
        assert "ann" in names
        assert "ben" not in names
        (disk / "filler").unlink()
        assert "error" not in on.ask(voice("ben"))
        assert on.speak(voice="ben") == alone


def disk_read_only(home: Path) -> None:
    """A volume that turns read-only keeps serving its voices."""
    with (
        small_disk(home / "disk") as disk,
        stage(home, F5_VOICES_DIR=str(disk / "voices"), F5_SAVE_DIR=str(disk / "saved")) as on,
    ):
        assert "error" not in on.ask(voice("ann"))
        alone = on.speak(voice="ann")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, capture_output=True)
        on.refused(voice("ben"), "STORAGE_FAILED")
        on.refused({"action": "voices.delete", "name": "ann"}, "STORAGE_FAILED")
        assert on.speak(voice="ann") == alone


def volume_vanishes(home: Path) -> None:
    """Without its volume a worker serves the voices that ship with the model; the others are back with it."""
    volume = home / "volume"
    with stage(home, F5_VOICES_DIR=str(volume / "voices")) as on:
        assert "error" not in on.ask(voice("ann"))
        shipped, alone = on.speak(), on.speak(voice="ann")
        volume.rename(home / "elsewhere")
        assert on.speak() == shipped
        assert str(on.ask(SAY | {"voice": "ann"}).get("error")).startswith(("UNKNOWN_VOICE: ", "STORAGE_FAILED: "))
        assert on.ask({"action": "health"})["output"]["status"] == "ok"
        shutil.rmtree(volume, ignore_errors=True)
        (home / "elsewhere").rename(volume)
        assert on.speak(voice="ann") == alone


async def server_error(request: web.Request) -> web.Response | None:
    """Answer as a broken server."""
    return web.Response(status=500, text="Internal Server Error")


async def garbage(request: web.Request) -> web.Response | None:
    """Answer with a page where JSON is expected."""
    return web.Response(text="<!doctype html><p>Welcome", content_type="application/json")


async def late(request: web.Request) -> web.Response | None:
    """Answer, but after some seconds."""
    await asyncio.sleep(3)
    return None


def api_fails(fault: Fault) -> Callable[[Path], None]:
    """Return the scene of an API that fails some times in a row, with polls and with results."""

    def scene(home: Path) -> None:
        with stage(home) as on:
            alone = on.speak()
            for _ in range(3):
                on.api.faults.extend([fault] * 2)
                assert on.speak() == alone
            assert all(len(job.bodies) == 1 for job in on.api.jobs.values())

    return scene


def clock_jumps(home: Path) -> None:
    """Deadlines and polls count on the monotonic clock: five hours ahead and behind change nothing."""
    with stage(home) as on:
        alone = on.speak()
    (home / "sitecustomize.py").write_text(JUMPING_CLOCK, encoding="utf-8")
    with stage(home, PYTHONPATH=str(home), F5_JOB_TIMEOUT_S="60", F5_VOICES_DIR=str(home / "voices")) as on:
        assert on.speak() == alone
        assert "error" not in on.ask(voice("ann"))
        assert on.speak(voice="ann") == alone
        on.refused(voice("ann"), "VOICE_EXISTS")


def gpu_lost(home: Path) -> None:
    """The job at fault is told, the worker leaves, and its successor serves."""
    program = ("-u", "-c", LOSES_ITS_GPU, str(home / "lost"))
    with FakeApi() as api, WorkerProcess(home, api, program=program) as worker:
        on = Stage(api, worker.ready())
        while "error" not in (body := on.ask(SAY)):
            pass
        assert body["error"].startswith("GPU_LOST: "), body["error"]
        assert worker.wait() is not None
    with FakeApi() as api, WorkerProcess(home, api, program=program) as worker:
        Stage(api, worker.ready()).speak()


SCENES: Mapping[str, Callable[[Path], None]] = {
    "disk full": disk_full,
    "disk read-only": disk_read_only,
    "volume vanishes": volume_vanishes,
    "API answers 500": api_fails(server_error),
    "API answers garbage": api_fails(garbage),
    "API answers late": api_fails(late),
    "clock jumps": clock_jumps,
    "GPU lost": gpu_lost,
}


def run_scenes(home: Path) -> dict[str, str]:
    """Play every scene in a directory of its own; return `ok`, or what went wrong, by name."""
    outcomes = {}
    for name, scene in SCENES.items():
        directory = home / name.replace(" ", "-")
        directory.mkdir()
        try:
            scene(directory)
            outcomes[name] = "ok"
        except NotPlayed as error:
            outcomes[name] = f"not played: {error}"
        except AssertionError as error:
            outcomes[name] = str(error)[:300] or "an expectation failed"
    return outcomes
