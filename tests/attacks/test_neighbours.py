"""A harmful job takes nothing from the jobs beside it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import handler
from f5_worker.audio import isolated
from f5_worker.synthesis.context import Worker
from tests.attacks.files import flac_with_comments, m4a_of_many_samples

MAX_REFUSAL_S = 20.0  # 2.2 s alone on two cores; one such recording took the worker for good
MAX_HEALTH_S = 1.0  # 14 ms; FFmpeg inside the worker held it for seconds
TEXT = {"text": "Hello there, this is a test.", "voice": "joe", "nfe_step": 4, "seed": 3}

Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@pytest.mark.slow
def test_two_harmful_recordings_at_a_time(worker: Worker) -> None:
    isolated.POOL.warm_up(worker.settings.reference_max_bytes)
    handle: Handle = handler.sdk_config(worker)["handler"]
    files = [flac_with_comments(40_000), m4a_of_many_samples(85_000_000)]

    async def harm(number: int, data: bytes) -> tuple[str, float]:
        started = time.monotonic()
        reference = {"audio": base64.b64encode(data).decode(), "transcript": "Hello."}
        reply = await handle({"id": f"harm-{number}", "input": {"action": "voices.report", "reference": reference}})
        return reply["error"], time.monotonic() - started

    async def all_jobs() -> tuple[list[tuple[str, float]], list[float], list[dict[str, Any]]]:
        harmful = [asyncio.create_task(harm(number, data)) for number, data in enumerate(files)]
        neighbours, health_s = [], []
        while not all(task.done() for task in harmful):
            started = time.monotonic()
            await handle({"id": "health", "input": {"action": "health"}})
            health_s.append(time.monotonic() - started)
            neighbours.append(await handle({"id": "neighbour", "input": TEXT}))
        return [task.result() for task in harmful], health_s, neighbours

    alone = asyncio.run(handle({"id": "alone", "input": TEXT}))
    refusals, health_s, neighbours = asyncio.run(all_jobs())
    for error, seconds in refusals:
        assert error.startswith("REFERENCE_UNREADABLE: ")
        assert seconds < MAX_REFUSAL_S
    assert max(health_s) < MAX_HEALTH_S
    assert neighbours
    assert all(reply["audio"] == alone["audio"] for reply in neighbours)
