"""The native routes on a socket."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2

from f5_worker.engine.types import Segment
from f5_worker.schema.actions import ACTIONS
from f5_worker.synthesis.context import Worker
from f5_worker.voices.library import Library
from f5_worker.voices.store_directory import DirectoryStore
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer, running

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
    *before, (name, result) = events(response)
    chunks = [data for kind, data in before if kind == "chunk"]
    assert len(chunks) > 1
    assert b"".join(base64.b64decode(chunk["audio"]["base64"]) for chunk in chunks) == whole
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
    connection = http.client.HTTPConnection(server.address)
    connection.request("POST", "/v1/synthesize", json.dumps(SPEECH | {"nfe_step": 64}))
    assert started.wait(20)
    connection.close()
    until(lambda: not server.service.runner.n_jobs)
    free.set()
    assert n_steps < 64


def test_the_file_itself_as_it_is_spoken(client: httpx2.Client) -> None:
    speech = SPEECH | {"first_segment_s": 2.5}
    whole = base64.b64decode(client.post("/v1/synthesize", json=speech).json()["audio"]["base64"])
    response = client.post("/v1/synthesize", json=speech, headers={"Accept": "audio/*"})
    assert response.headers["content-type"] == "audio/pcm"
    assert response.content == whole


def test_progress_comes_while_nothing_is_heard(client: httpx2.Client, device: ToneDevice) -> None:
    device.before = lambda segment, step: time.sleep(0.2)
    speech = SPEECH | {"trim_silence": True, "nfe_step": 8}
    response = client.post("/v1/synthesize", json=speech, headers={"Accept": "text/event-stream"})
    shares = [data["progress"] for name, data in events(response) if name == "progress"]
    assert shares
    assert shares == sorted(shares)


def test_an_error_of_a_stream_of_events_is_its_last_event(client: httpx2.Client) -> None:
    speech = SPEECH | {"voice": "nowhere"}
    response = client.post("/v1/synthesize", json=speech, headers={"Accept": "text/event-stream"})
    name, data = list(events(response))[-1]
    assert (name, data["error"]["code"]) == ("error", "UNKNOWN_VOICE")
    refused = client.post("/v1/synthesize", json={"text": 3}, headers={"Accept": "text/event-stream"})
    assert refused.status_code == 400


def test_every_action_has_a_route(server: RunningServer, client: httpx2.Client) -> None:
    """With a body that is none, each answers, or names the fields that it lacks."""
    routes = {
        "voices.list": ("GET", "/v1/voices"), "voices.get": ("GET", "/v1/voices/joe"),
        "voices.delete": ("DELETE", "/v1/voices/nowhere"), "health": ("GET", "/health"),
        "diagnose": ("GET", "/v1/diagnose"), "voices.add": ("POST", "/v1/voices"),
    }  # fmt: skip
    for action in ACTIONS:
        method, path = routes.get(action, ("POST", f"/v1/{action.replace('.', '/')}"))
        response = client.request(method, path, json={} if method == "POST" else None)
        assert response.status_code == 200 or response.json()["error"]["code"] in ("INVALID_INPUT", "UNKNOWN_VOICE")
        if method == "POST":
            other = client.post(path, json={"action": "fly"})
            assert "leave it out" in other.json()["error"]["message"]


def test_a_voice_is_added_as_a_form_with_its_files_and_used_and_deleted(storing: RunningServer, tiny: Path) -> None:
    client = httpx2.Client(base_url=storing.url, timeout=30)
    clip, words = (tiny / "voices" / name for name in ("joe.wav", "joe.txt"))
    added = client.post(
        "/v1/voices",
        data={"name": "ann", "consent": "Ann agreed on 3 May to be cloned.", "defaults": '{"speed": 1.5}'},
        files={"audio": ("joe.wav", clip.read_bytes()), "transcript": ("joe.txt", words.read_text().encode("utf-16"))},
    )
    assert added.status_code == 200, added.text
    assert added.json()["voice"]["defaults"] == {"speed": 1.5}
    assert "ann" in [voice["name"] for voice in client.get("/v1/voices").json()["voices"]]
    assert client.get("/v1/voices", params={"limit": "many"}).status_code == 400
    found = client.get("/v1/voices/ann", params={"with_audio": "true"}).json()["voice"]
    assert base64.b64decode(found["audio_base64"]) == clip.read_bytes()
    assert client.get("/v1/voices/ann/report").json()["report"]
    assert client.post("/v1/voices", json={"name": "ann"}).status_code == 400
    assert client.delete("/v1/voices/ann").json() == {"deleted": "ann", "status": "ok"}
    assert client.get("/v1/voices/ann").status_code == 404


def test_each_key_has_voices_of_its_own_where_voices_belong_to_keys(worker: Worker, tmp_path: Path, tiny: Path) -> None:
    settings = worker.settings.model_copy(update={"voices_scope": "per_key"})
    library = Library(tiny / "voices", settings, stores=[DirectoryStore(tmp_path)])
    worker = dataclasses.replace(worker, voices=library)
    voice = {
        "name": "own", "consent": "Ann agreed on 3 May to be cloned.",
        "transcript": (tiny / "voices" / "joe.txt").read_text(),
        "audio": base64.b64encode((tiny / "voices" / "joe.wav").read_bytes()).decode(),
    }  # fmt: skip
    keys = {name: f"the-key-of-{name}-0123" for name in ("ann", "bob")}
    with running(worker, voices_scope="per_key", api_key=",".join(map(":".join, keys.items()))) as server:
        ann, bob = (
            httpx2.Client(base_url=server.url, timeout=30, headers={"Authorization": f"Bearer {key}"})
            for key in keys.values()
        )
        assert ann.post("/v1/voices", json=voice).status_code == 200
        speech = {"input": "Hello there.", "voice": "own", "response_format": "pcm"}
        assert [one.get("/v1/voices/own").status_code for one in (ann, bob)] == [200, 404]
        assert [one.post("/v1/audio/speech", json=speech).status_code for one in (ann, bob)] == [200, 404]
        other = {"X-Voices-Key": keys["ann"]}
        assert bob.get("/v1/voices/own", headers=other).status_code == 200


def test_a_form_speaks_with_a_clip_of_the_callers_own(client: httpx2.Client, tiny: Path) -> None:
    srt = "1\n00:00:00,000 --> 00:00:04,000\n" + (tiny / "voices" / "joe.txt").read_text()
    files = {
        "reference.audio": ("joe.wav", (tiny / "voices" / "joe.wav").read_bytes()),
        "reference.transcript": ("joe.srt", srt.encode()),
    }
    fields = {"text": "123", "seed": "7", "nfe_step": "4", "captions": '{"formats": ["srt"]}'}
    spoken = client.post("/v1/synthesize", data=fields, files=files)
    assert spoken.status_code == 200, spoken.text
    assert spoken.json()["seed"] == 7
    assert "123" in spoken.json()["captions"]["srt"]["content"]
    wrong = client.post("/v1/synthesize", data=fields | {"seed": "seven", "speed": "[1]"}, files=files)
    assert wrong.status_code == 400
    assert all(name in wrong.json()["error"]["message"] for name in ("seed", "speed"))


def test_a_track_is_dubbed_from_a_file_of_subtitles(client: httpx2.Client) -> None:
    srt = "1\n00:00:01,000 --> 00:00:03,500\nThe first line, séance.\n"
    response = client.post(
        "/v1/dub", data={"voice": "joe", "nfe_step": "4"}, files={"subtitles": ("a.srt", srt.encode("cp1252"))}
    )
    assert response.status_code == 200, response.text
    assert response.json()["lines"][0]["text"] == "The first line, séance."


def test_the_type_of_a_form_may_have_capitals(client: httpx2.Client) -> None:
    body = b'--A\r\nContent-Disposition: form-data; name="text"\r\n\r\nHello there.\r\n--A--\r\n'
    headers = {"Content-Type": "Multipart/Form-Data; boundary=A"}
    assert "voice" in client.post("/v1/synthesize", content=body, headers=headers).json()["error"]["message"]


def test_a_form_that_cannot_be_read_is_said(client: httpx2.Client) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert client.post("/v1/synthesize", content=b"x", headers=headers).json()["error"]["code"] == "INVALID_INPUT"
    many = {f"field{number}": "x" for number in range(200)}
    refused = client.post("/v1/synthesize", data=many, files={"a": b"x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_INPUT")


BATCH = {"items": [{"id": "a", "seed": 1}, {"id": "b", "text": "..."}], "defaults": SPEECH}


def test_a_batch_answers_as_the_queue_does(client: httpx2.Client) -> None:
    response = client.post("/v1/batch", json=BATCH)
    assert response.status_code == 200
    first, second = response.json()["items"]
    assert (first["id"], second["id"]) == ("a", "b")
    assert "base64" in first["result"]["audio"]
    assert second["error"]["code"] == "TEXT_UNSPEAKABLE"
    assert client.post("/v1/batch", json=BATCH | {"items": []}).status_code == 400
    metrics = client.get("/metrics").text
    assert "f5_job_seconds_count 1.0" in metrics


def test_the_items_of_a_batch_are_events_as_they_are_done(client: httpx2.Client) -> None:
    response = client.post("/v1/batch", json=BATCH, headers={"Accept": "text/event-stream"})
    found = [(name, data) for name, data in events(response) if name != "progress"]
    assert [name for name, _ in found] == ["item", "item", "result"]
    assert {data["id"]: "result" in data for _, data in found[:2]} == {"a": True, "b": False}
    assert found[2][1] == {"succeeded": 1, "failed": 1}
