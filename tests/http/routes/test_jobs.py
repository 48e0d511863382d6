"""Long work by id: begun, followed, fetched, cancelled, forgotten."""

from __future__ import annotations

import asyncio
import base64
import gc
import threading
import weakref
from collections.abc import Callable

import httpx2

from f5_worker.api.native import Json
from f5_worker.engine.types import Segment
from f5_worker.errors import InvalidInput
from f5_worker.http.long_jobs import AT_ONCE_S, LongJob, LongJobs
from f5_worker.synthesis.context import Worker
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer, running
from tests.http.routes.test_native import SPEECH, events

Until = Callable[[Callable[[], bool]], None]


def state(client: httpx2.Client, job: dict[str, str]) -> str:
    return str(client.get(f"/v1/jobs/{job['id']}").json()["status"])


def test_a_job_is_begun_followed_and_fetched(client: httpx2.Client) -> None:
    begun = client.post("/v1/jobs", json=SPEECH)
    assert begun.status_code == 202
    path = f"/v1/jobs/{begun.json()['id']}"
    *_, (name, last) = events(client.get(f"{path}/events"))
    assert (name, last["status"], last["progress"]) == ("job", "completed", 1.0)
    found = client.get(path).json()
    audio = base64.b64decode(found["result"]["audio"]["base64"])
    assert client.get(f"{path}/audio").content == audio
    (listed,) = client.get("/v1/jobs").json()["jobs"]
    assert listed["id"] == begun.json()["id"]
    assert "result" not in listed
    client.delete(path)
    assert client.get(path).status_code == 404


def test_a_job_is_cancelled(client: httpx2.Client, device: ToneDevice) -> None:
    held, free = threading.Event(), threading.Event()
    steps: list[int] = []

    def hold(segment: Segment, step: int) -> None:
        steps.append(step)
        held.set()
        free.wait(20)

    device.before = hold
    job = client.post("/v1/jobs", json=SPEECH | {"nfe_step": 64}).json()
    assert held.wait(20)
    assert state(client, job) in ("queued", "running")
    assert client.get(f"/v1/jobs/{job['id']}/audio").status_code == 400
    assert client.delete(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"
    free.set()
    device.before = lambda segment, step: None
    client.post("/v1/synthesize", json=SPEECH)
    assert len(steps) < 64


def test_what_is_wrong_is_said_at_once(client: httpx2.Client, worker: Worker, device: ToneDevice) -> None:
    assert client.post("/v1/jobs", json={"action": "fly"}).json()["error"]["code"] == "UNKNOWN_ACTION"
    free = threading.Event()
    device.before = lambda segment, step: bool(free.wait(20)) and None  # type: ignore[assignment, func-returns-value]
    with running(worker, concurrency=1, queue_jobs=0) as server, httpx2.Client(base_url=server.url) as other:
        first = other.post("/v1/jobs", json=SPEECH)
        full = other.post("/v1/jobs", json=SPEECH)
        free.set()
        assert 'f5_errors_total{code="QUEUE_FULL"} 1.0' in other.get("/metrics").text
    assert (first.status_code, full.status_code) == (202, 429)
    assert int(full.headers["retry-after"]) > 0


def test_a_job_that_fails_keeps_its_error(client: httpx2.Client, until: Until) -> None:
    late = SPEECH | {"reference": {"audio": "AAAA" * 20, "transcript": "Hello there."}, "voice": None}
    begun = client.post("/v1/jobs", json=late)
    if begun.status_code == 202:  # it took longer than what is said at once
        until(lambda: state(client, begun.json()) == "failed")
        begun = client.get(f"/v1/jobs/{begun.json()['id']}")
    assert begun.json()["error"]["code"].startswith("REFERENCE_")


def test_a_job_that_fails_or_is_cancelled_keeps_no_request(server: RunningServer, client: httpx2.Client) -> None:
    """An exception would: its traceback has the frames that had the clip."""

    async def fail(error: type[BaseException]) -> Json:
        clip = Clip()
        kept.add(clip)
        await asyncio.sleep(2 * AT_ONCE_S)
        raise error("no")

    async def run() -> list[str]:
        jobs = LongJobs(server.service.settings)
        for index, error in enumerate((InvalidInput, ValueError, asyncio.CancelledError)):
            await jobs.submit(LongJob(str(index), "ann"), fail(error), server.service.told)
        await asyncio.wait([job.task for job in jobs.of("ann") if job.task is not None])
        gc.collect()
        assert not kept
        return [job.state for job in jobs.of("ann")]

    class Clip:
        pass

    kept = weakref.WeakSet[Clip]()
    assert asyncio.run(run()) == ["failed", "failed", "cancelled"]


def test_the_jobs_of_others_are_not_there(worker: Worker) -> None:
    with running(worker, api_key="ann:one, bob:two") as server, httpx2.Client(base_url=server.url) as client:
        ann, bob = ({"xi-api-key": key} for key in ("one", "two"))
        job = client.post("/v1/jobs", json=SPEECH, headers=ann).json()
        assert client.get(f"/v1/jobs/{job['id']}", headers=bob).status_code == 404
        assert client.delete(f"/v1/jobs/{job['id']}", headers=bob).status_code == 404
        assert client.get("/v1/jobs", headers=bob).json() == {"jobs": []}
        assert client.get(f"/v1/jobs/{job['id']}", headers=ann).status_code == 200


def test_the_oldest_results_make_room(worker: Worker, until: Until) -> None:
    """Each result has about 1.3 MB, and 2 MB are kept."""
    speech = SPEECH | {"text": " ".join([SPEECH["text"]] * 8), "fix_duration_s": 20.0}  # type: ignore[list-item]
    with running(worker, http_jobs_mb=2) as server, httpx2.Client(base_url=server.url, timeout=30) as client:
        jobs = []
        for _ in range(3):
            jobs.append(client.post("/v1/jobs", json=speech).json())
            until(lambda: state(client, jobs[-1]) == "completed")
        assert [client.get(f"/v1/jobs/{job['id']}").status_code for job in jobs] == [404, 404, 200]


def test_a_batch_is_a_job_like_others(client: httpx2.Client) -> None:
    items = [{"id": "a"}, {"id": "b", "voice": "nowhere"}]
    begun = client.post("/v1/jobs", json={"action": "batch", "items": items, "defaults": SPEECH})
    assert begun.status_code == 202
    path = f"/v1/jobs/{begun.json()['id']}"
    *_, (_, last) = events(client.get(f"{path}/events"))
    assert last["status"] == "completed"
    result = client.get(path).json()["result"]
    assert (result["succeeded"], result["failed"]) == (1, 1)


def test_a_cancelled_batch_keeps_what_is_done(client: httpx2.Client, device: ToneDevice, until: Until) -> None:
    held, free = threading.Event(), threading.Event()

    def hold(segment: Segment, step: int) -> None:
        if segment.nfe == 64:
            held.set()
            free.wait(20)

    device.before = hold
    items = [{"id": "a"}, {"id": "b", "voice": "nowhere"}, {"id": "c", "nfe_step": 64}]
    begun = client.post("/v1/jobs", json={"action": "batch", "items": items, "defaults": SPEECH, "at_once": 1})
    path = f"/v1/jobs/{begun.json()['id']}"
    assert held.wait(20)
    until(lambda: "partial" in client.get(path).json() and client.get(path).json()["partial"]["failed"] == 1)
    running = client.get(path).json()
    assert running["status"] == "running"
    (listed,) = client.get("/v1/jobs").json()["jobs"]
    assert listed["partial"] == {"succeeded": 1, "failed": 1}
    cancelled = client.delete(path).json()
    free.set()
    assert (cancelled["status"], cancelled["partial"]) == ("cancelled", {"succeeded": 1, "failed": 1})
    kept = client.get(path).json()
    assert [item["id"] for item in kept["partial"]["items"]] == ["a", "b"]
    assert base64.b64decode(kept["partial"]["items"][0]["result"]["audio"]["base64"])
    assert kept["partial"] == running["partial"]
