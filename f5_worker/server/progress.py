"""How far a job is: into the log, and now and then to whoever polls its status.

The SDK sends an update in a thread of its own and waits for nothing, so that one sent just before the result can
arrive after it (runpod 1.12.0; runpod-python #250: the job is then stuck). So none is sent near the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from f5_worker import log

LOG_EVERY_S = 1.0
SEND_EVERY_S = 5.0
MIN_LEFT_S = 5.0  # of work, as far as can be told; an update takes a few hundred milliseconds


def send_to_runpod(job: Mapping[str, Any], share: float) -> None:
    """Post an update; only where there is an endpoint to take it."""
    if not os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT"):
        return
    import runpod

    runpod.serverless.progress_update(job, {"progress": round(share, 2)})


class Progress:
    """Called with the share of the work done, 0..1, as often as one likes; from the device's thread."""

    def __init__(
        self,
        job: Mapping[str, Any],
        send: Callable[[Mapping[str, Any], float], None] | None = send_to_runpod,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `send=None` it is only logged: a stream's pieces say themselves how far it is."""
        self._job, self._send, self._clock = job, send, clock
        self._logger = log.for_job(str(job.get("id", "")))
        self._began = self._logged = self._sent = clock()

    def __call__(self, share: float) -> None:
        now = self._clock()
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            self._logger.info("%3.0f %%", share * 100)
        if self._send is None or share <= 0 or now - self._sent < SEND_EVERY_S:
            return
        left_s = (now - self._began) * (1 - share) / share
        if left_s >= MIN_LEFT_S:
            self._sent = now
            self._send(self._job, share)
