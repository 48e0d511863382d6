"""RunPod's job API on loopback: hands out jobs, takes results, as the SDK's worker loop expects.

Polls are held open: the SDK asks again without delay after an empty answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

HOLD_S = 1.0
MAX_BODY_BYTES = 64 * 2**20

T = TypeVar("T")


class FakeApi:
    """A server with an event loop and a thread of its own; a context manager."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._results: dict[str, dict[str, Any]] = {}
        self._posted: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.taken: list[str] = []
        self.pings: list[dict[str, str]] = []
        self.port = 0

    def __enter__(self) -> FakeApi:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(20)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(10)

    def submit(self, value: object) -> str:
        """Queue a job with this input; return its id."""
        job = {"id": f"job-{next(self._numbers)}", "input": value}
        self._loop.call_soon_threadsafe(self._jobs.put_nowait, job)
        return str(job["id"])

    def cancel(self, job_id: str) -> None:
        self._loop.call_soon_threadsafe(self._stops.put_nowait, job_id)

    def wait(self, job_id: str, timeout_s: float = 120) -> dict[str, Any]:
        """The body posted for a job: `{"output": ...}` or `{"error": ...}`."""

        async def posted() -> dict[str, Any]:
            await self._posted[job_id].wait()
            return self._results[job_id]

        return self._call(asyncio.wait_for(posted(), timeout_s), timeout_s + 5)

    def run(self, value: object, timeout_s: float = 120) -> dict[str, Any]:
        return self.wait(self.submit(value), timeout_s)

    def has_result(self, job_id: str) -> bool:
        return job_id in self._results

    def environment(self) -> dict[str, str]:
        """What the SDK reads at import (runpod 1.12.0) to work against this server."""
        base = f"http://127.0.0.1:{self.port}/v2/ep"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=none",
            "RUNPOD_POD_ID": "worker-1",
            "RUNPOD_AI_API_KEY": "test-key",
            "RUNPOD_ENDPOINT_ID": "ep",
            "RUNPOD_PING_INTERVAL": "2000",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "RUNPOD_DEBUG_LEVEL": "INFO",
        }

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        self._jobs: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._stops: asyncio.Queue[str] = asyncio.Queue()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/v2/ep/job-take/{worker}", self._take)
        app.router.add_get("/v2/ep/job-take-batch/{worker}", self._take_batch)
        app.router.add_get("/v2/ep/job-stop/{worker}", self._stop)
        app.router.add_get("/v2/ep/ping/{worker}", self._ping)
        app.router.add_post("/v2/ep/job-done/{worker}/{job}", self._done)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        started.set()
        await self._leave.wait()
        await runner.cleanup()

    async def _held(self, queue: asyncio.Queue[T]) -> T | None:
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(queue.get(), HOLD_S)
        return None

    async def _take(self, request: web.Request) -> web.Response:
        job = await self._held(self._jobs)
        if job is None:
            return web.Response(status=204)
        self.taken.append(job["id"])
        return web.json_response(job)

    async def _take_batch(self, request: web.Request) -> web.Response:
        first = await self._held(self._jobs)
        if first is None:
            return web.Response(status=204)
        jobs = [first]
        while len(jobs) < int(request.query["batch_size"]) and not self._jobs.empty():
            jobs.append(self._jobs.get_nowait())
        self.taken.extend(job["id"] for job in jobs)
        return web.json_response(jobs)

    async def _stop(self, request: web.Request) -> web.Response:
        job_id = await self._held(self._stops)
        return web.Response(status=204) if job_id is None else web.json_response({"jobsToStop": [job_id]})

    async def _ping(self, request: web.Request) -> web.Response:
        self.pings.append(dict(request.query))
        return web.json_response({})

    async def _done(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        if body.get("status") != "IN_PROGRESS":
            job_id = request.match_info["job"]
            self._results[job_id] = body
            self._posted[job_id].set()
        return web.Response()
