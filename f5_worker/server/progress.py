"""The progress of a job: to the log, and now and then to callers that poll its status, with what is done of a batch.

The SDK sends an update in a thread of its own and does not wait for it, so that one sent just before the result can
arrive after it (runpod 1.12.0; runpod-python #250: the job is then stuck). Therefore none is sent near the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from f5_worker import log
from f5_worker.schema.responses import BatchItemResponse

LOG_EVERY_S = 1.0
SEND_EVERY_S = 5.0
MIN_LEFT_S = 5.0  # estimated time to the end; an update takes a few hundred milliseconds


def send_to_runpod(job: Mapping[str, Any], update: Mapping[str, Any]) -> None:
    """Post an update, if there is an endpoint to take it."""
    if not os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT"):
        return
    import runpod

    runpod.serverless.progress_update(job, update)


class Progress:
    """Called from the device's thread with the share of the work done, 0..1, at any rate.

    Args:
        send: None to log only: the chunks of a stream show the progress themselves.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        send: Callable[[Mapping[str, Any], Mapping[str, Any]], None] | None = send_to_runpod,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._send, self._clock = job, send, clock
        self._logger = log.for_job(str(job.get("id", "")))
        self._began = self._logged_at = self._sent_at = clock()
        self._done: list[BatchItemResponse] = []

    def __call__(self, share: float) -> None:
        """Log and send, if the last time was long enough ago."""
        now = self._clock()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            self._logger.info("%3.0f %%", share * 100)
        told = round(share, 2)
        if self._send is None or not told or now - self._sent_at < SEND_EVERY_S:
            return
        left_s = (now - self._began) * (1 - share) / share
        if left_s >= MIN_LEFT_S:
            self._sent_at = now
            self._send(self._job, {"progress": told, **(summarise(self._done) if self._done else {})})

    def add_result(self, result: BatchItemResponse) -> None:
        """Have later updates name an item of a batch that is done."""
        self._done.append(result)


def summarise(done: Sequence[BatchItemResponse]) -> dict[str, Any]:
    """Return what is done of a batch in short: of each item its id, and its key in the bucket or its error's code."""
    items = [_in_short(item) for item in done]
    n_failed = sum("error" in item for item in items)
    return {"succeeded": len(items) - n_failed, "failed": n_failed, "items": items}


def _in_short(item: BatchItemResponse) -> dict[str, str]:
    if item.error is not None:
        return {"id": item.id, "error": item.error.code}
    key = item.result.audio.key if item.result is not None else None
    return {"id": item.id} if key is None else {"id": item.id, "key": key}
