"""The progress of a job, from the device's thread to what waits for it on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

EVERY_S = 0.25


@dataclass(frozen=True)
class JobProgress:
    """The share of a job's work that is done, 0..1."""

    share: float


class ProgressFeed:
    """Called from the device's thread with the share of the work done, at any rate; made on the event loop.

    Attributes:
        share: the last one.
        is_begun: the device has begun.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._told_at = 0.0
        self.share = 0.0
        self.is_begun = False

    def __call__(self, share: float) -> None:
        """Pass it to the event loop, if the last time was long enough ago."""
        self.share, self.is_begun, now = share, True, time.monotonic()
        if now - self._told_at >= EVERY_S:
            self._told_at = now
            self._loop.call_soon_threadsafe(self._changed.set)

    async def next(self) -> JobProgress:
        """Wait for progress, and return it."""
        await self._changed.wait()
        self._changed.clear()
        return JobProgress(round(self.share, 3))


async def with_progress(items: AsyncGenerator[T, None], feed: ProgressFeed) -> AsyncGenerator[T | JobProgress, None]:
    """Yield the items of a job, and its progress while the next one is awaited."""
    async with aclosing(items):
        item, progress = asyncio.ensure_future(anext(items)), asyncio.ensure_future(feed.next())
        try:
            while True:
                await asyncio.wait((item, progress), return_when=asyncio.FIRST_COMPLETED)
                if item.done():
                    try:
                        yield item.result()
                    except StopAsyncIteration:
                        return
                    item = asyncio.ensure_future(anext(items))
                elif progress.done():
                    yield progress.result()
                    progress = asyncio.ensure_future(feed.next())
        finally:
            item.cancel()
            progress.cancel()
            await asyncio.gather(item, progress, return_exceptions=True)
