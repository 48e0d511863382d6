"""The progress of a job: to the log, and now and then to callers that poll its status.

The SDK sends an update in a thread of its own and does not wait for it, so that one sent just before the result can
arrive after it (runpod 1.12.0; runpod-python #250: the job is then stuck). Therefore none is sent near the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from f5_worker import log

LOG_EVERY_S = 1.0
SEND_EVERY_S = 5.0
MIN_LEFT_S = 5.0  # estimated time to the end; an update takes a few hundred milliseconds


def send_to_runpod(job: Mapping[str, Any], share: float) -> None:
    """Post an update, if there is an endpoint to take it; `share` is rounded."""
    if not os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT"):
        return
    import runpod

    runpod.serverless.progress_update(job, {"progress": share})


class Progress:
    """Called from the device's thread with the share of the work done, 0..1, at any rate.

    Args:
        send: None to log only: the chunks of a stream show the progress themselves.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        send: Callable[[Mapping[str, Any], float], None] | None = send_to_runpod,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job, self._send, self._clock = job, send, clock
        self._logger = log.for_job(str(job.get("id", "")))
        self._began = self._logged_at = self._sent_at = clock()

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
            self._send(self._job, told)
