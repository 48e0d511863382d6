"""RunPod's side of the wire, on 127.0.0.1: hands out jobs, takes results, remembers everything.

Polls are held open until there is something to say, as RunPod does: the SDK repeats an answered job-take
without any delay (runpod 1.12.0, rp_scale.py `get_jobs`), so an API that answers at once is flooded.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web

Body = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.Response | None]]  # None: the request is then served as always

MAX_BODY_BYTES = 200 * 2**20
# The SDK leaves on SIGTERM only when its open polls end, so this is also how long a worker takes to stop.
POLL_HOLD_S = 1.0


@dataclass
class Job:
    """One job as RunPod sees it. Times are `time.monotonic()`."""

    taken_at: float | None = None
    done_at: float | None = None
    bodies: list[Body] = field(default_factory=list)  # finals only; RunPod expects one
    done: threading.Event = field(default_factory=threading.Event)


class FakeApi:
    """A context manager: inside, the API serves in a thread of its own; every method is for other threads."""

    def __init__(self, hold_s: float = POLL_HOLD_S) -> None:
        self.jobs: dict[str, Job] = {}
        self.takes: list[str] = []  # path and query of each poll for jobs
        self.pings: list[dict[str, str]] = []
        self.streamed: list[tuple[str, Body]] = []
        self.posted: list[str] = []  # every body of a result, as it came
        self.faults: deque[Fault] = deque()  # played one for each request, before it is looked at
        self.url = ""
        self._hold_s = hold_s
        self._waiting: deque[Body] = deque()
        self._to_stop: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-api", daemon=True)

    def __enter__(self) -> FakeApi:
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop_serving(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def submit(self, job_input: object) -> str:
        """Queue a job with this `input`, whatever it is; its id."""
        return self.submit_raw({"input": job_input})

    def submit_raw(self, job: Body) -> str:
        """Queue a whole job, such as one with a `webhook` or a `policy`; its id."""
        job_id = str(job.get("id", f"job-{len(self.jobs)}"))
        self.jobs[job_id] = Job()
        self._change(lambda: self._waiting.append({"id": job_id, **job}))
        return job_id

    def wait(self, job_id: str, timeout: float = 60.0) -> Body:
        """The body that the worker posted as the job's result."""
        job = self.jobs[job_id]
        assert job.done.wait(timeout), f"no result of {job_id} within {timeout:g} s"
        return job.bodies[0]

    def cancel(self, job_id: str) -> None:
        """Tell the worker to stop a job that it has taken."""
        self._change(lambda: self._to_stop.append(job_id))

    def _change(self, change: Callable[[], None]) -> None:
        async def apply() -> None:
            async with self._changed:
                change()
                self._changed.notify_all()

        asyncio.run_coroutine_threadsafe(apply(), self._loop).result(10)

    async def _start(self) -> web.AppRunner:
        @web.middleware
        async def play_fault(request: web.Request, handler: Any) -> Any:
            answer = await self.faults.popleft()(request) if self.faults else None
            return answer or await handler(request)

        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[play_fault])
        app.add_routes(
            [
                web.get("/v2/ep/job-take/{worker}", self._take),
                web.get("/v2/ep/job-take-batch/{worker}", self._take_batch),
                web.get("/v2/ep/job-stop/{worker}", self._stop),
                web.get("/v2/ep/ping/{worker}", self._ping),
                web.post("/v2/ep/job-done/{worker}/{job}", self._done),
                web.post("/v2/ep/job-stream/{worker}/{job}", self._stream),
                web.post("/v2/ep/run", self._run),
                web.get("/v2/ep/status/{job}", self._status),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v2/ep"
        return runner

    async def _stop_serving(self) -> None:
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # requests of a worker that was killed
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _held(self, there: Callable[[], object]) -> bool:
        """Wait until there is something to hand out; False when the poll has to be answered without."""
        try:
            await asyncio.wait_for(self._changed.wait_for(there), self._hold_s)
        except TimeoutError:
            return False
        return True

    async def _hand_out(self, request: web.Request, most: int) -> list[Body]:
        self.takes.append(request.path_qs)
        async with self._changed:
            if not await self._held(lambda: self._waiting):
                return []
            jobs = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        for job in jobs:
            self.jobs[job["id"]].taken_at = time.monotonic()
        return jobs

    async def _run(self, request: web.Request) -> web.Response:
        """What callers use; tests may as well `submit`."""
        job_id = f"job-{len(self.jobs)}"
        self.jobs[job_id] = Job()
        async with self._changed:
            self._waiting.append({"id": job_id, **await request.json()})
            self._changed.notify_all()
        return web.json_response({"id": job_id, "status": "IN_QUEUE"})

    async def _status(self, request: web.Request) -> web.Response:
        job_id = request.match_info["job"]
        if job_id not in self.jobs:
            return web.json_response({"error": "job not found"}, status=404)
        job = self.jobs[job_id]
        if not job.bodies:
            status = "IN_QUEUE" if job.taken_at is None else "IN_PROGRESS"
            return web.json_response({"id": job_id, "status": status})
        [body] = job.bodies
        return web.json_response({"id": job_id, "status": "FAILED" if "error" in body else "COMPLETED", **body})

    async def _take(self, request: web.Request) -> web.Response:
        jobs = await self._hand_out(request, 1)
        return web.json_response(jobs[0]) if jobs else web.Response(status=204)

    async def _take_batch(self, request: web.Request) -> web.Response:
        jobs = await self._hand_out(request, int(request.query["batch_size"]))
        return web.json_response(jobs) if jobs else web.Response(status=204)

    async def _stop(self, request: web.Request) -> web.Response:
        async with self._changed:
            if not await self._held(lambda: self._to_stop):
                return web.Response(status=204)
            ids, self._to_stop = self._to_stop, []
        return web.json_response({"jobsToStop": ids})

    async def _ping(self, request: web.Request) -> web.Response:
        self.pings.append(dict(request.query))
        return web.json_response({})

    async def _done(self, request: web.Request) -> web.Response:
        text = await request.text()  # JSON under a form's content type
        self.posted.append(text)
        body = json.loads(text, parse_constant=_refuse)
        if body.get("status") != "IN_PROGRESS":  # progress comes to the same address
            job = self.jobs[request.match_info["job"]]
            job.bodies.append(body)
            job.done_at = job.done_at or time.monotonic()
            job.done.set()
        return web.json_response({})

    async def _stream(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text(), parse_constant=_refuse)
        self.streamed.append((request.match_info["job"], body))
        return web.json_response({})


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity are no JSON; Python's parser would let them pass."""
    raise ValueError(f"{constant} in a result")
