"""The one response that the items of a batch share: an item is told before it is spoken that it would not fit."""

from __future__ import annotations

import threading

from f5_worker.delivery.inline import ResponseLimit
from f5_worker.errors import ResultTooLarge

ERROR_BYTES = 700  # of the message of an item's error
ITEM_BYTES = ERROR_BYTES + 500  # of each item in any case: its id, an error


class Room:
    """The bytes of a response, taken by the items as they end. Used by many threads."""

    def __init__(self, limit: ResponseLimit, n_items: int) -> None:
        self._limit = limit
        self._left_bytes = float(limit.max_bytes - n_items * ITEM_BYTES)
        self._claimed: dict[int, float] = {}
        self._lock = threading.Lock()

    def claim(self, index: int, n_bytes: float) -> None:
        """Keep room for an item that begins, until it ends.

        Raises:
            ResultTooLarge: there is not so much room left.
        """
        with self._lock:
            left_bytes = self._left_bytes - sum(self._claimed.values())
            if n_bytes > left_bytes:
                raise self._error(n_bytes, left_bytes)
            self._claimed[index] = n_bytes

    def take(self, index: int, n_bytes: int) -> None:
        """Take room for an item that has ended.

        Raises:
            ResultTooLarge: there is not so much room left; nothing is taken.
        """
        with self._lock:
            self._claimed.pop(index, None)
            left_bytes = self._left_bytes - sum(self._claimed.values())
            if n_bytes > left_bytes:
                raise self._error(n_bytes, left_bytes)
            self._left_bytes -= n_bytes

    def leave(self, index: int) -> None:
        """Give up the room of an item that failed."""
        with self._lock:
            self._claimed.pop(index, None)

    def _error(self, n_bytes: float, left_bytes: float) -> ResultTooLarge:
        return ResultTooLarge(
            f"the item takes {n_bytes / 1e6:.2f} MB of the reply, and the others leave {max(0.0, left_bytes) / 1e6:.2f}"
            f" MB of the {self._limit.max_bytes / 1e6:.1f} MB that it may have (F5_MAX_REPLY_BYTES); "
            "ask for mp3 or opus, have results sent to a bucket, or send fewer items at a time"
        )
