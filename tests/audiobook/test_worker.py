"""scripts/audiobook/worker.py: jobs through the queue and the HTTP server, with everything that fails on the way."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from scripts.answers import merge_items
from scripts.audiobook import worker as module
from scripts.audiobook.worker import (
    MAX_ATTEMPTS,
    MAX_RUNS,
    JobFailedError,
    TransientError,
    Worker,
    audio_of,
    failure,
    open_worker,
    with_retries,
)
from tests.audiobook.endpoint import KEY, Body, Endpoint, Fault, answer, drop, speech

JOB: Body = {"text": "Hello.", "seed": 1}


def ask(endpoint: Endpoint, call: Callable[[Worker], Awaitable[Any]], *, queue: bool = True) -> Any:
    async def run() -> Any:
        async with open_worker("ep" if queue else None, None if queue else f"{endpoint.url}/", KEY) as worker:
            return await call(worker)

    return asyncio.run(run())


def speak(endpoint: Endpoint, *, queue: bool = True) -> Any:
    return ask(endpoint, lambda worker: with_retries(lambda: worker.run(JOB)), queue=queue)


@pytest.mark.parametrize("queue", [True, False])
def test_a_job(endpoint: Endpoint, queue: bool) -> None:
    assert speak(endpoint, queue=queue) == speech(JOB)
    assert endpoint.jobs == [JOB]
    assert endpoint.keys == {f"Bearer {KEY}"}


def test_an_action_is_an_address_of_the_http_server(endpoint: Endpoint) -> None:
    job = {"action": "preview", "text": "Hello."}
    assert ask(endpoint, lambda worker: worker.run(job), queue=False)["estimated_s"] == pytest.approx(0.3)
    assert endpoint.jobs == [job]


@pytest.mark.parametrize("queue", [True, False])
def test_a_voice(endpoint: Endpoint, queue: bool) -> None:
    assert ask(endpoint, lambda worker: worker.voice("ä/b", "a secret"), queue=queue)["bytes"] == 1_000
    assert endpoint.jobs == [{"action": "voices.get", "name": "ä/b", "voices_key": "a secret"}]


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize("fault", [answer(429), answer(502, text="<html>"), answer(200, text="no JSON"), drop])
def test_what_may_pass_is_tried_again(endpoint: Endpoint, fault: Fault, queue: bool) -> None:
    endpoint.faults.extend([fault, fault])
    assert speak(endpoint, queue=queue) == speech(JOB)
    assert endpoint.jobs == [JOB]


def test_a_poll_that_fails_does_not_queue_the_job_again(endpoint: Endpoint) -> None:
    endpoint.faults.extend([None, answer(500), drop, answer(429)])
    assert speak(endpoint) == speech(JOB)
    assert endpoint.jobs == [JOB]


def test_a_job_that_the_queue_has_lost_is_queued_again(endpoint: Endpoint) -> None:
    endpoint.faults.extend([None, answer(404)])
    assert speak(endpoint) == speech(JOB)
    assert endpoint.jobs == [JOB, JOB]


@pytest.mark.parametrize("queue", [True, False])
def test_the_server_says_when_to_try_again(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, queue: bool) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.3)
    endpoint.faults.append(answer(503, headers={"Retry-After": "20"}))
    begun = time.monotonic()
    speak(endpoint, queue=queue)
    assert time.monotonic() - begun >= 0.3


def test_a_time_that_is_no_number_is_none(endpoint: Endpoint) -> None:
    endpoint.faults.append(answer(503, headers={"Retry-After": "²"}))
    assert speak(endpoint)


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        ("UNKNOWN_VOICE: there is no voice x", 1),
        ("TEXT_UNSPEAKABLE: nothing", 1),
        ("OUT_OF_MEMORY: 1 MiB missing", MAX_RUNS),
        ("job timed out after 1 retries", MAX_RUNS),
    ],
)
def test_only_what_the_worker_did_is_tried_again(endpoint: Endpoint, error: str, attempts: int, queue: bool) -> None:
    endpoint.work = lambda fields: {"error": error}
    if not queue and attempts > 1:  # as a status that tells nothing of who paid
        attempts = MAX_ATTEMPTS
        endpoint.faults.extend([answer(503, text=f'{{"error": {{"message": "{error}"}}}}')] * attempts)
    with pytest.raises(JobFailedError, match=error.split(":")[0]):
        speak(endpoint, queue=queue)
    assert endpoint.paths["run" if queue else "v1"] == attempts


@pytest.mark.parametrize(("status", "words"), [(401, "key"), (403, "key"), (404, r"404; .*make serve-http")])
def test_what_stays_is_said_at_once(endpoint: Endpoint, status: int, words: str) -> None:
    endpoint.faults.append(answer(status))
    with pytest.raises(JobFailedError, match=words):
        speak(endpoint)
    assert endpoint.jobs == []


def test_nothing_answers(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(JobFailedError, match="does not answer"):
        speak(endpoint)


@pytest.mark.parametrize("asked_first", ["run", "status"])
def test_cancelled_it_cancels_its_job(endpoint: Endpoint, asked_first: str) -> None:
    """Also one that is just being queued."""
    endpoint.may_finish = 0

    async def take_long(request: web.Request) -> None:
        await asyncio.sleep(0.2)

    endpoint.faults.append(take_long)

    async def run(worker: Worker) -> None:
        task = asyncio.create_task(with_retries(lambda: worker.run(JOB)))
        while not endpoint.paths[asked_first]:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ask(endpoint, run)
    assert endpoint.cancelled == ["0"]


def test_a_job_whose_polls_stay_without_an_answer_is_not_queued_again(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be spoken, and paid for."""
    monkeypatch.setattr(module, "MAX_SILENCE_S", 0.0)
    endpoint.faults.extend([None, answer(503)])
    with pytest.raises(JobFailedError, match="answered 503, for 0 minutes"):
        speak(endpoint)
    assert endpoint.jobs == [JOB]


def test_a_poll_is_made_again_when_the_server_says(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.3)
    endpoint.faults.extend([None, answer(429, headers={"Retry-After": "20"})])
    begun = time.monotonic()
    speak(endpoint)
    assert time.monotonic() - begun >= 0.3


def test_audio_is_in_the_response_or_in_the_bucket(endpoint: Endpoint) -> None:
    endpoint.work = lambda fields: {"audio": {"url": f"{endpoint.url}/file/0"}}

    async def run(worker: Worker) -> tuple[bytes, bytes]:
        output = await worker.run(JOB)
        endpoint.faults.extend([answer(500), drop])
        stored = await audio_of(worker, output)
        with pytest.raises(JobFailedError, match="no links"):
            await audio_of(worker, {"audio": {"key": "output/1.flac"}})
        return stored, await audio_of(worker, speech(JOB))

    stored, inline = ask(endpoint, run)
    assert endpoint.jobs == [JOB], "the job is not run again for its file"
    assert stored == inline == base64.b64decode(speech(JOB)["audio"]["base64"])


def test_errors_are_told_apart_by_their_code() -> None:
    assert isinstance(failure("INVALID_INPUT: text"), JobFailedError)
    assert isinstance(failure("FETCH_FAILED: 500"), TransientError)
    assert isinstance(failure("GPU_LOST: x"), TransientError)
    assert isinstance(failure("worker exited with exit code 1"), TransientError)


def chunk(sound: bytes) -> Body:
    return {"index": 0, "audio": {"base64": base64.b64encode(sound).decode()}}


def test_the_items_of_a_streaming_worker_are_one_output() -> None:
    first = {"final": False, "timings": {"source": "aligned", "words": [1]}}
    last = {"final": True, "audio": {"format": "flac"}, "timings": {"words": [2]}, "model": "m"}
    merged = merge_items([chunk(b"ab"), chunk(b"cde"), first, last])
    assert merged == {
        "final": True, "model": "m", "timings": {"source": "aligned", "words": [1, 2]},
        "audio": {"format": "flac", "base64": base64.b64encode(b"abcde").decode()},
    }  # fmt: skip
    assert merge_items([{"status": "ok"}]) == {"status": "ok"}
    assert merge_items([chunk(b"ab")]) is None
    assert merge_items([]) is None
