"""Work that ends with its caller's connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from f5_worker.http.middleware import BodyLimit
from f5_worker.server.connection import Disconnected, while_connected

Message = dict[str, Any]
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def ignore(message: object) -> None:
    """A `send` that nothing receives."""


async def forever() -> Message:
    await asyncio.Event().wait()
    return {}


def run(scenario: Callable[[], Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(scenario(), 20)

    return asyncio.run(bounded())


def test_a_caller_that_disconnects_cancels_the_work_before_it_is_told() -> None:
    ended = []

    async def work() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    async def disconnect() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(Disconnected):
        run(lambda: while_connected(Request(SCOPE, disconnect), work()))
    assert ended == [True]


@pytest.mark.parametrize("n_turns", range(8))
def test_the_result_comes_whenever_the_empty_body_does(n_turns: int) -> None:
    """A GET's body is not read by its route, so that it may come in the very moment in which the work is done."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        for _ in range(n_turns):
            await asyncio.sleep(0)
        return messages.pop() if messages else await forever()

    async def work() -> int:
        for _ in range(4):
            await asyncio.sleep(0)
        return 7

    async def app(scope: Any, receive: Any, send: Any) -> None:
        results.append(await while_connected(Request(scope, receive), work()))

    results: list[int] = []
    run(lambda: BodyLimit(app, 10)(SCOPE, receive, ignore))  # type: ignore[arg-type]
    assert results == [7]
