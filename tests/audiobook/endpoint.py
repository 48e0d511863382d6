"""An endpoint and an HTTP server on 127.0.0.1 whose worker speaks tones: 0.05 s for each character."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from f5_worker.audio.encode import encode
from f5_worker.audio.levels import SAMPLE_RATE, Samples

Body = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]  # None: the request is then served as always

CHAR_S = 0.05
KEY = "rpa_key"


def tone(n_chars: int, hz: float = 440.0) -> Samples:
    times = np.arange(round(n_chars * CHAR_S * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(0.2 * np.sin(2 * np.pi * hz * times), np.float32)


def speech(fields: Body) -> Body:
    """The worker's output for a job."""
    if fields.get("action") == "voices.get":
        return {"voice": {"name": fields["name"], "bytes": 1_000, "version": "5eed"}}
    text = fields["text"]
    if fields.get("action") == "preview":
        return {"estimated_s": len(text) * CHAR_S, "warnings": ["a warning"]}
    sound = tone(len(text))
    output: Body = {
        "audio": {"format": "flac", "base64": base64.b64encode(encode(sound, "flac", SAMPLE_RATE)).decode()},
        "model": "tones", "seed": fields["seed"], "warnings": [], "metrics": {"engine_ms": 100.0 * len(text) * CHAR_S},
    }  # fmt: skip
    if "timings" in fields:
        words, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            words.append({"text": word, "start_s": at * CHAR_S, "end_s": (at + len(word)) * CHAR_S})
            at += len(word)
        output["timings"] = {"source": "aligned", "words": words}
    return output


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """An endpoint `ep` of which the environment tells."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Endpoint() as endpoint:
        monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", f"{endpoint.url}/v2")
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        yield endpoint


class Endpoint:
    """A context manager.

    work: a job's input to its output, or to its `error`. may_finish: so many texts of the queue are spoken, the rest
    stay in progress. faults: played one for each request, before it is looked at. jobs: all inputs.
    """

    def __init__(self) -> None:
        self.work: Callable[[Body], Body] = speech
        self.may_finish = math.inf
        self.jobs: list[Body] = []
        self.faults: deque[Fault | None] = deque()
        self.paths: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.keys: set[str] = set()
        self.most_in_flight = 0
        self._open: set[str] = set()
        self._finished: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def spoken(self) -> list[str]:
        """The texts that were asked for, without previews."""
        return [job["text"] for job in self.jobs if "action" not in job]

    async def _start(self) -> web.AppRunner:
        @web.middleware
        async def play_fault(request: web.Request, handler: Any) -> Any:
            self.keys.add(request.headers.get("Authorization", ""))
            self.paths[request.path.removeprefix("/v2/ep").split("/")[1]] += 1
            fault = self.faults.popleft() if self.faults else None
            answer = await fault(request) if fault else None
            return answer or await handler(request)

        app = web.Application(middlewares=[play_fault])
        app.add_routes(
            [
                web.post("/v2/ep/run", self._run),
                web.post("/runsync", self._run_sync),
                web.get("/v2/ep/status/{job}", self._status),
                web.post("/v2/ep/cancel/{job}", self._cancel),
                web.post("/v1/jobs", self._begin),
                web.get("/v1/jobs/{job}", self._state),
                web.delete("/v1/jobs/{job}", self._cancel),
                web.post("/v1/{action}", self._speak),
                web.get("/v1/voices/{name}", self._voice),
                web.get("/file/{job}", self._file),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return runner

    async def _run(self, request: web.Request) -> web.Response:
        return web.json_response({"id": self._add((await request.json())["input"]), "status": "IN_QUEUE"})

    async def _run_sync(self, request: web.Request) -> web.Response:
        """Answer as the SDK's local API does."""
        self.jobs.append((await request.json())["input"])
        return web.json_response({"id": "test-0", "status": "COMPLETED", "output": self.work(self.jobs[-1])})

    async def _begin(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"id": self._add(await request.json()), "status": "queued", "progress": 0.0}, status=202
        )

    def _add(self, job: Body) -> str:
        self.jobs.append(job)
        name = str(len(self.jobs) - 1)
        self._open.add(name)
        self.most_in_flight = max(self.most_in_flight, len(self._open))
        return name

    def _output_of(self, name: str) -> Body | None:
        """None of a job that is in progress."""
        job = self.jobs[int(name)]
        if "action" not in job:
            if len(self._finished | {name}) > self.may_finish:
                return None
            self._finished.add(name)
        self._open.discard(name)
        return self.work(job)

    async def _state(self, request: web.Request) -> web.Response:
        name = request.match_info["job"]
        output = self._output_of(name)
        if output is None:
            return web.json_response({"id": name, "status": "running", "progress": 0.5})
        if "error" in output:
            return web.json_response({"id": name, "status": "failed", "error": {"message": output["error"]}})
        return web.json_response({"id": name, "status": "completed", "progress": 1.0, "result": output})

    async def _status(self, request: web.Request) -> web.Response:
        name = request.match_info["job"]
        output = self._output_of(name)
        if output is None:
            return web.json_response({"id": name, "status": "IN_PROGRESS"})
        if "error" in output:
            return web.json_response({"id": name, "status": "FAILED", **output})
        return web.json_response({"id": name, "status": "COMPLETED", "output": output})

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancelled.append(request.match_info["job"])
        return web.json_response({"status": "CANCELLED"})

    async def _speak(self, request: web.Request) -> web.Response:
        fields = await request.json()
        if request.match_info["action"] != "synthesize":
            fields["action"] = request.match_info["action"]
        self.jobs.append(fields)
        output = self.work(fields)
        if "error" in output:
            code = output["error"].split(":")[0]
            return web.json_response({"error": {"message": output["error"], "code": code}}, status=400)
        return web.json_response(output)

    async def _voice(self, request: web.Request) -> web.Response:
        asked = {"name": request.match_info["name"], "voices_key": request.headers.get("X-Voices-Key")}
        self.jobs.append({"action": "voices.get", **{name: value for name, value in asked.items() if value}})
        return web.json_response(self.work(self.jobs[-1]))

    async def _file(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers, "a bucket must not see the key"
        output = speech(self.jobs[int(request.match_info["job"])])
        return web.Response(body=base64.b64decode(output["audio"]["base64"]))


def answer(status: int, **options: Any) -> Fault:
    """A response in place of the right one."""

    async def play(request: web.Request) -> web.Response:
        return web.Response(status=status, **options)

    return play


def cut_off(body: Body) -> Fault:
    """The right response without its end."""

    async def play(request: web.Request) -> web.StreamResponse:
        data = json.dumps(body).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    return play


async def drop(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()
