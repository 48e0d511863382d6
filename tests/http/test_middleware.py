"""What happens before a route: keys, origins, bounds of bodies, ids and the log."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import threading
from collections.abc import Callable

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from f5_worker.cancellation import JobControl
from f5_worker.engine.types import Segment
from f5_worker.http import middleware
from f5_worker.http.app import body_bytes
from f5_worker.http.middleware import AccessLog
from f5_worker.http.service import Service
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer, running
from tests.http.routes.test_native import SPEECH


def test_a_key_is_asked_for_where_there_is_one(worker: Worker) -> None:
    with running(worker, api_key="ann:secret-1, secret-2") as server, httpx2.Client(base_url=server.url) as client:
        assert client.get("/ping").status_code == 200
        refused = client.post("/v1/synthesize", json=SPEECH)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "UNAUTHORIZED")
        assert "secret" not in refused.text
        for headers in (
            {"Authorization": "Bearer secret-1"}, {"xi-api-key": "secret-2"}, {"authorization": "bearer secret-2"}
        ):  # fmt: skip
            assert client.post("/v1/synthesize", json=SPEECH, headers=headers).status_code == 200
        assert client.post("/v1/synthesize", json=SPEECH, headers={"xi-api-key": "secret"}).status_code == 401


def test_a_name_may_have_an_old_and_a_new_key(worker: Worker) -> None:
    with running(worker, api_key="ann:old, ann:new, other") as server, httpx2.Client(base_url=server.url) as client:
        job = client.post("/v1/jobs", json=SPEECH, headers={"xi-api-key": "old"}).json()
        for key, status in (("old", 200), ("new", 200), ("other", 404)):
            assert client.get(f"/v1/jobs/{job['id']}", headers={"xi-api-key": key}).status_code == status


def test_a_proxy_may_have_a_key_of_its_own(worker: Worker) -> None:
    with running(worker, api_key="secret") as server, httpx2.Client(base_url=server.url) as client:
        headers = {"Authorization": "Bearer of-the-proxy"}
        assert client.get("/v1/voices", headers=headers).status_code == 401
        assert client.get("/v1/voices", headers=headers | {"xi-api-key": "secret"}).status_code == 200


def test_an_entry_without_a_key_opens_nothing(worker: Worker) -> None:
    with running(worker, api_key="ann:") as server, httpx2.Client(base_url=server.url) as client:
        for headers in ({}, {"xi-api-key": ""}, {"Authorization": "Bearer"}):
            assert client.get("/v1/voices", headers=headers).status_code == 401


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_key_may_have_any_letters(worker: Worker, encoding: str) -> None:
    with running(worker, api_key="ann:schlüssel") as server, httpx2.Client(base_url=server.url) as client:
        for key, status in (("schlüssel", 200), ("schl?ssel", 401), ("schlussel", 401)):
            for name, value in (("xi-api-key", key), ("Authorization", f"Bearer {key}")):
                headers = [(name.encode(), value.encode(encoding))]
                assert client.get("/v1/voices", headers=headers).status_code == status


def test_all_addresses_but_the_open_ones_ask_for_a_key(worker: Worker) -> None:
    """Also those that do not exist, and all methods."""
    is_open = {"/", "/ping", "/health", "/docs", "/openapi.json"}
    with running(worker, api_key="secret") as server, httpx2.Client(base_url=server.url) as client:
        paths = {*client.get("/openapi.json").json()["paths"], "/v1/nothing", "/v2/", *is_open}
        assert len(paths) > 25
        for path in paths:
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
                refused = client.request(method, path).status_code == 401
                assert refused == (path not in is_open), (method, path)


def test_pages_of_other_origins_are_refused_unless_allowed(worker: Worker) -> None:
    origin = {"Origin": "https://evil.example"}
    with running(worker) as server, httpx2.Client(base_url=server.url) as client:
        assert client.post("/v1/synthesize", json=SPEECH, headers=origin).status_code == 403
        for other in ("null", "http://[", "https://", server.url + "1", server.url.replace("://", "://a@")):
            assert client.get("/v1/voices", headers={"Origin": other}).status_code == 403
        own = {"Origin": server.url}
        assert client.post("/v1/synthesize", json=SPEECH, headers=own).status_code == 200
    with running(worker, cors_origins="https://evil.example") as server, httpx2.Client(base_url=server.url) as client:
        allowed = client.post("/v1/synthesize", json=SPEECH, headers=origin)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://evil.example"


def test_a_body_is_read_up_to_its_bound(server: RunningServer, client: httpx2.Client) -> None:
    max_bytes = body_bytes(server.service.settings)
    n_read = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal n_read
        while n_read < 3 * max_bytes:
            n_read += 1 << 20
            yield b"a" * (1 << 20)

    try:
        response = client.post("/v1/synthesize", content=endless())
    except httpx2.WriteError:  # the connection was closed while the body was sent
        response = None
    assert response is None or response.status_code == 413
    assert n_read < 2 * max_bytes
    refused = client.post("/v1/synthesize", content=b"", headers={"Content-Length": "0"})
    assert refused.status_code == 400


def test_a_body_that_comes_too_slowly_is_not_awaited(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_TIMEOUT_S", 0.2)
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"POST /v1/synthesize HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(1_000):  # 0.01 s each, so that no piece of the body is late by itself
            connection.sendall(b" ")
            if select.select([connection], [], [], 0.01)[0]:
                break
        answer = b""
        while b"in 0.2 s" not in answer:
            piece = connection.recv(1 << 16)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_line_in_the_log_has_the_id_and_no_text(
    client: httpx2.Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[Callable[[], bool]], None],
) -> None:
    monkeypatch.setattr(logging.getLogger("f5_worker"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="f5_worker"):
        response = client.post("/v1/synthesize", json=SPEECH, headers={"X-Request-Id": "my-id"})
        until(lambda: "POST /v1/synthesize" in caplog.text)
    assert response.headers["x-request-id"].startswith("my-id-")
    (line,) = [record for record in caplog.records if "POST /v1/synthesize" in record.getMessage()]
    assert "200" in line.getMessage()
    assert line.job == response.headers["x-request-id"]  # type: ignore[attr-defined]
    assert "Hello there" not in caplog.text


def test_an_address_cannot_write_lines_of_its_own_in_the_log(
    client: httpx2.Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[Callable[[], bool]], None],
) -> None:
    monkeypatch.setattr(logging.getLogger("f5_worker"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="f5_worker"):
        client.get("/v1/a%0AERROR b%1B")
        until(lambda: "GET /v1/a" in caplog.text)
    (line,) = [record.getMessage() for record in caplog.records if "GET /v1/a" in record.getMessage()]
    assert line.startswith("GET /v1/a%0AERROR%20b%1B 404")


def test_what_fails_before_the_application_is_answered_as_all_errors(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("Hello there.")

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(AccessLog(fail, Service(Settings()).metrics))
        async with httpx2.AsyncClient(transport=transport, base_url="http://a") as client:
            return await client.get("/v1/voices")

    with caplog.at_level(logging.INFO, logger="f5_worker"):
        response = asyncio.run(ask())
    assert (response.status_code, response.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert response.headers["x-request-id"]
    assert "Hello there" not in response.text + caplog.text


def test_while_the_model_loads_the_port_answers() -> None:
    with running(None) as server, httpx2.Client(base_url=server.url) as client:
        assert client.get("/ping").status_code == 204
        response = client.post("/v1/synthesize", json=SPEECH)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "NOT_READY")
        assert response.headers["retry-after"]
        server.service.fail("MODEL_UNAVAILABLE: no weights")
        assert client.get("/ping").status_code == 503
        assert client.get("/health").json()["status"] == "unavailable"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/voices/", "//v1/voices", "/page/%2e%2e/app.py"])
def test_an_unknown_address_is_said_in_the_same_form(client: httpx2.Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")


def test_callers_take_turns_by_the_names_of_their_keys(worker: Worker, device: ToneDevice) -> None:
    """One has sent three jobs when another's comes, which is the next to run."""
    held, free = threading.Event(), threading.Event()

    def hold(segment: Segment, step: int) -> None:
        held.set()
        free.wait(20)

    seeds_of = {}
    for seed in (1, 2, 3, 4, SPEECH["seed"]):  # a segment's own follows from its job's
        speak(Job(SynthesizeInput.model_validate(SPEECH | {"seed": seed}), worker, JobControl(60)))
        seeds_of[seed] = device.segments.pop().seed
    device.before = hold
    with (
        running(worker, api_key="ann:one, bob:two", concurrency=1) as server,
        httpx2.Client(base_url=server.url, timeout=30) as client,
    ):
        sent = [("one", 1), ("one", 2), ("one", 3), ("two", 4)]
        for key, seed in sent:
            begun = client.post("/v1/jobs", json=SPEECH | {"seed": seed}, headers={"xi-api-key": key})
            assert begun.status_code == 202
            assert held.wait(20)
        free.set()
        assert client.post("/v1/synthesize", json=SPEECH, headers={"xi-api-key": "one"}).status_code == 200
    seeds = [segment.seed for segment in device.segments]
    assert seeds == [seeds_of[seed] for seed in (1, 4, 2, 3, SPEECH["seed"])]
