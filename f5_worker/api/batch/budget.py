"""The one response and the one job's time that the items of a batch share.

An item that does not fit beside the others is told so before it is spoken.
"""

from __future__ import annotations

import threading

from f5_worker.delivery.inline import ResponseLimit
from f5_worker.errors import JobWillNotFit, ResultTooLarge
from f5_worker.synthesis.job import Estimate

ERROR_BYTES = 700  # of the message of an item's error
ITEM_BYTES = ERROR_BYTES + 500  # of each item in any case: its id, an error


class Budget:
    """The bytes and seconds of a batch. Used by many threads.

    Args:
        left_s: the time of the job, as it begins.
    """

    def __init__(self, limit: ResponseLimit, n_items: int, left_s: float) -> None:
        self._limit, self._total_s = limit, left_s
        self._left_bytes = float(limit.max_bytes - n_items * ITEM_BYTES)
        self._claimed: dict[int, float] = {}
        self._planned_s = 0.0
        self._lock = threading.Lock()

    def claim(self, index: int, estimate: Estimate) -> None:
        """Keep room for an item that begins, until it ends.

        Raises:
            ResultTooLarge: there is not so much room left in the response.
            JobWillNotFit: the items so far and this one take longer than the job may.
        """
        with self._lock:
            self._check_bytes(estimate.response_bytes)
            planned_s = self._planned_s + (estimate.device_s or 0.0)
            if planned_s > self._total_s:
                raise JobWillNotFit(
                    f"with this item, those that have begun take at least {planned_s:.0f} s by this worker's highest "
                    f"measured speed, and the batch has {self._total_s:.0f} s (F5_JOB_TIMEOUT_S); "
                    "send this one in another batch, or all of them at a lower quality"
                )
            self._planned_s = planned_s
            self._claimed[index] = estimate.response_bytes

    def take(self, index: int, n_bytes: int) -> None:
        """Take room for an item that has ended.

        Raises:
            ResultTooLarge: there is not so much room left; nothing is taken.
        """
        with self._lock:
            self._claimed.pop(index, None)
            self._check_bytes(n_bytes)
            self._left_bytes -= n_bytes

    def leave(self, index: int) -> None:
        """Give up the room of an item that failed."""
        with self._lock:
            self._claimed.pop(index, None)

    def _check_bytes(self, n_bytes: float) -> None:
        left_bytes = self._left_bytes - sum(self._claimed.values())
        if n_bytes > left_bytes:
            raise ResultTooLarge(
                f"the item takes {n_bytes / 1e6:.2f} MB of the reply, and the others leave "
                f"{max(0.0, left_bytes) / 1e6:.2f} MB of the {self._limit.max_bytes / 1e6:.1f} MB that it may have "
                "(F5_MAX_REPLY_BYTES); ask for mp3 or opus, have results sent to a bucket, or send fewer items"
            )
