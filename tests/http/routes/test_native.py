"""The native routes on a socket."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from f5_worker.engine.types import Segment
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer

TEXT = "Hello there, this is a test."
SPEECH = {"text": TEXT, "voice": "joe", "nfe_step": 4, "seed": 3, "format": "pcm_s16le"}


def events(response: httpx2.Response) -> Iterator[tuple[str, Any]]:
    """The server-sent events of a response."""
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_synthesize_answers_as_the_queue_does(client: httpx2.Client) -> None:
    response = client.post("/v1/synthesize", json=SPEECH)
    assert response.status_code == 200
    assert set(response.json()) == {"audio", "segments", "seed", "model", "metrics", "warnings"}


def test_chunks_as_events_joined_are_the_whole_file(client: httpx2.Client) -> None:
    speech = SPEECH | {"first_segment_s": 2.5, "text": " ".join([TEXT] * 6)}
    whole = base64.b64decode(client.post("/v1/synthesize", json=speech).json()["audio"]["base64"])
    response = client.post("/v1/synthesize", json=speech, headers={"Accept": "text/event-stream"})
    *chunks, (name, result) = events(response)
    assert len(chunks) > 1
    assert {kind for kind, _ in chunks} == {"chunk"}
    assert b"".join(base64.b64decode(chunk["audio"]["base64"]) for _, chunk in chunks) == whole
    assert name == "result"
    assert "base64" not in result["audio"]


def test_an_error_has_a_status_and_one_body_for_all_clients(client: httpx2.Client) -> None:
    response = client.post("/v1/synthesize", json=SPEECH | {"voice": "nowhere"})
    assert response.status_code == 404
    body = response.json()
    assert body["error"]["code"] == "UNKNOWN_VOICE"
    assert body["detail"]["status"] == "unknown_voice"
    assert body["error"]["message"] == body["detail"]["message"]


def test_a_caller_that_disconnects_ends_its_job(
    server: RunningServer, device: ToneDevice, until: Callable[[Callable[[], bool]], None]
) -> None:
    started, free = threading.Event(), threading.Event()
    n_steps = 0

    def slow(segment: Segment, step: int) -> None:
        nonlocal n_steps
        n_steps += 1
        started.set()
        free.wait(0.05)

    device.before = slow
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{server.url}/v1/synthesize", json=SPEECH | {"nfe_step": 64}, timeout=httpx2.Timeout(20, read=0.5))
    assert started.is_set()
    until(lambda: not server.service.runner.n_jobs)
    free.set()
    assert n_steps < 64
