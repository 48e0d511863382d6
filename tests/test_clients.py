"""scripts/clients.py: jobs of both APIs, whose polls are lost and whose results are not."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from scripts import clients
from scripts.clients import Client, ClientError, HttpServer, RunPod, download, fetchable
from tests.audiobook.endpoint import KEY, Body, Endpoint, Fault, answer, cut_off, drop, running, speech

JOB: Body = {"text": "Hello.", "seed": 1}
WAITS = [answer(429, headers={"Retry-After": "0"}), answer(502, text="<html>"), answer(503), answer(504), answer(500)]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(clients, "POLL_S", 0.01)
    monkeypatch.setattr(clients, "MAX_WAIT_S", 0.02)
    with running(monkeypatch) as endpoint:
        yield endpoint


@pytest.fixture(params=[RunPod, HttpServer])
def client(request: pytest.FixtureRequest, endpoint: Endpoint) -> Client:
    if request.param is RunPod:
        return RunPod.of_endpoint("ep")
    return HttpServer(f"{endpoint.url}/", KEY)


def test_a_job(endpoint: Endpoint, client: Client) -> None:
    done = client.run(JOB)
    assert (done.job_id, done.output) == ("0", speech(JOB))
    assert endpoint.jobs == [JOB]
    assert endpoint.keys == {f"Bearer {KEY}"}
    assert client.fetch("0") == done


def test_a_lost_poll_loses_no_job(endpoint: Endpoint, client: Client) -> None:
    """Nor does one that is cut off in the middle of the result."""
    whole = {"id": "0", "status": client.completed, "output": speech(JOB), "result": speech(JOB)}
    strange = [answer(200, text=text) for text in ("no JSON", "[]", "{}")]
    endpoint.faults.extend([None, *WAITS, *strange, drop, cut_off(whole)])
    assert client.run(JOB).output == speech(JOB)
    assert endpoint.jobs == [JOB]
    assert not endpoint.faults


def test_a_poll_that_takes_too_long_is_lost(
    endpoint: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "READ_S", 0.2)

    async def hang(request: web.Request) -> None:
        await asyncio.sleep(1.0)

    endpoint.faults.extend([None, hang])
    assert client.run(JOB).output == speech(JOB)


def test_the_server_says_when_to_ask_again(endpoint: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MAX_WAIT_S", 0.3)
    endpoint.faults.extend(
        [None, answer(429, headers={"Retry-After": "3600"}), answer(503, headers={"Retry-After": "²"})]
    )
    begun = time.monotonic()
    assert client.run(JOB).output == speech(JOB)
    assert time.monotonic() - begun >= 0.3


def test_in_the_end_it_says_how_to_fetch_the_result(
    endpoint: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_SILENCE_S", 0.0)
    endpoint.faults.extend([None, *[answer(503)] * 9])
    with pytest.raises(ClientError, match=r"answered 503, for 0 minutes; --job 0 fetches the job's result"):
        client.run(JOB)
    endpoint.faults.clear()
    assert client.fetch("0").output == speech(JOB)
    assert endpoint.jobs == [JOB]


def test_a_poll_that_is_refused_says_so_at_once(endpoint: Endpoint, client: Client) -> None:
    endpoint.faults.extend([None, answer(401)])
    with pytest.raises(ClientError, match=r"401: the API key .*; --job 0"):
        client.run(JOB)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (drop, "gave no answer .*; the job may have begun all the same"),
        (answer(503, text='{"error": {"message": "SERVER_BUSY: full"}}'), "answered 503 SERVER_BUSY: full$"),
        (answer(429), "answered 429$"),
        (answer(401), "the API key is missing, wrong"),
        (answer(404), "answered 404; --(endpoint|url) takes"),
        (answer(400, text='{"error": "INVALID_INPUT: text"}'), "^INVALID_INPUT: text$"),
        (answer(200, text="{}"), "unexpected response"),
    ],
)
def test_a_job_is_sent_once(endpoint: Endpoint, client: Client, fault: Fault, words: str) -> None:
    """Twice, it could be paid for twice."""
    endpoint.faults.append(fault)
    with pytest.raises(ClientError, match=words):
        client.run(JOB)
    assert endpoint.paths.total() == 1


def test_where_nothing_answers(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client._base = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ClientError, match=r"^nothing answers at http://127.*; --(endpoint|url) takes[^;]*$"):
        client.run(JOB)


def test_the_workers_own_error(endpoint: Endpoint, client: Client) -> None:
    endpoint.work = lambda fields: {"error": "UNKNOWN_VOICE: there is no voice x"}
    with pytest.raises(ClientError, match=r"^UNKNOWN_VOICE: there is no voice x$"):
        client.run(JOB)


def test_interrupted_it_cancels_the_job(endpoint: Endpoint, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(job_id: str) -> Body:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_read", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"^cancelled$"):
        client.run(JOB)
    assert endpoint.cancelled == ["0"]
    endpoint.faults.extend([None, drop])
    with pytest.raises(KeyboardInterrupt, match=r"^stopped; the job 1 could not be cancelled and may go on \(.*\)$"):
        client.run(JOB)


def test_the_items_of_a_streaming_worker_are_one_output(endpoint: Endpoint) -> None:
    sound = base64.b64encode(b"ab").decode()
    items = [{"audio": {"base64": sound}}, {"final": False, "warnings": ["a"]}, {"final": True, "warnings": ["b"]}]
    state = {"id": "0", "status": "COMPLETED", "output": items}
    endpoint.faults.extend([None, answer(200, text=json.dumps(state))])
    output = RunPod.of_endpoint("ep").run(JOB).output
    assert (output["audio"], output["warnings"]) == ({"base64": sound}, ["a", "b"])


def test_a_result_that_did_not_fit_is_told(endpoint: Endpoint) -> None:
    endpoint.faults.extend([None, answer(200, text='{"id": "0", "status": "COMPLETED"}')])
    with pytest.raises(ClientError, match="probably too large"):
        RunPod.of_endpoint("ep").run(JOB)


def test_a_file_in_the_bucket(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.jobs.append(JOB)
    file = {"url": f"{endpoint.url}/file/0"}
    endpoint.faults.extend([drop, answer(503), cut_off({"a": "b"})])
    assert download(file) == base64.b64decode(speech(JOB)["audio"]["base64"])
    endpoint.faults.append(answer(403))
    with pytest.raises(ClientError, match="answered 403"):
        download(file)
    monkeypatch.setattr(clients, "MAX_SILENCE_S", 0.0)
    endpoint.faults.extend([drop] * 9)
    with pytest.raises(ClientError, match=r"does not answer \(\w+\), for 0 minutes"):
        download(file)
    with pytest.raises(ClientError, match=r"output/1\.flac, which has no presigned links"):
        download({"key": "output/1.flac"})


def test_an_endpoint_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(ClientError, match="set RUNPOD_API_KEY"):
        RunPod.of_endpoint("ep")


def test_what_goes_wrong_with_a_result_names_its_job(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"no/a\.wav: No such file .*; --job 7 fetches"), fetchable("7"):
        (tmp_path / "no" / "a.wav").write_bytes(b"")
    with pytest.raises(KeyboardInterrupt, match=r"^stopped; --job 7 fetches"), fetchable("7"):
        raise KeyboardInterrupt
