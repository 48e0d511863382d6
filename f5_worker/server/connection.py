"""Work for a caller of HTTP that ends when the caller disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

T = TypeVar("T")


CLIENT_CLOSED_REQUEST = 499  # nginx's status for it; the caller does not see it


class Disconnected(HTTPException):
    """The caller is not connected any more."""

    def __init__(self) -> None:
        super().__init__(CLIENT_CLOSED_REQUEST)


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; cancel it when the caller disconnects. The request's body has been read.

    Raises:
        Disconnected: by then `work` has ended.
    """
    job, disconnected = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((job, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise Disconnected
        return job.result()
    finally:
        job.cancel()
        disconnected.cancel()
        await asyncio.gather(job, disconnected, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
