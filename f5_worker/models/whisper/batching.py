"""Alignments of all jobs in common batches, each a short piece of work of the thread that owns the device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from f5_worker.audio.levels import Samples
from f5_worker.errors import OutOfMemory
from f5_worker.models.whisper.runner import (
    ForcedAlignment,
    ForcedText,
    PendingAlignment,
    RunOnDevice,
    WhisperRunner,
)

# Of a batch, its rows padded to the longest one: 120 s of sound. A text alone is always taken.
MAX_BATCH_STEPS, MAX_BATCH_TOKENS = 6_000, 2_048


class _Request:
    """A clip and its text that wait; `begun` is set once the device works on them or failed to."""

    def __init__(self, clip: Samples, text: ForcedText) -> None:
        self.clip, self.text = clip, text
        self.begun: PendingAlignment | Exception | None = None
        self.index = 0  # in the batch

    def result(self) -> ForcedAlignment:
        if isinstance(self.begun, Exception):
            raise self.begun
        assert self.begun is not None  # noqa: S101 - `align` has seen to it
        return self.begun.result(self.index)


class AlignmentBatcher:
    """Aligns texts for many threads; those that wait at the same time share a pass through the network."""

    def __init__(self, runner: WhisperRunner, run_on_device: RunOnDevice) -> None:
        self._runner = runner
        self._run_on_device = run_on_device
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()

    def align(self, clip: Samples, text: ForcedText) -> ForcedAlignment:
        """Decode a text against its clip, `[nw]` at 16 kHz; wait for the device without keeping it from other work.

        Raises:
            OutOfMemory, GpuLost: errors of the device.
        """
        request = _Request(clip, text)
        with self._lock:
            self._waiting.append(request)
        while request.begun is None:  # the batch before may have been full
            self._run_on_device(self._begin_batch)
        return request.result()

    def _begin_batch(self) -> None:
        with self._lock:
            batch = _take_batch(self._waiting)
        if batch:  # else a thread that came before took all that waited
            self._begin(batch)

    def _begin(self, batch: Sequence[_Request]) -> None:
        try:
            begun: PendingAlignment | Exception = self._runner.align(
                [request.clip for request in batch], [request.text for request in batch]
            )
        except OutOfMemory as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._begin(batch[:middle])
                self._begin(batch[middle:])
                return
            begun = error
        except Exception as error:  # noqa: BLE001 - raised again in the threads of its texts
            begun = error
        for index, request in enumerate(batch):
            request.index, request.begun = index, begun


def _take_batch(waiting: deque[_Request]) -> list[_Request]:
    """Remove and return the texts of the next batch, those that wait longest."""
    batch: list[_Request] = []
    steps = tokens = 0
    while waiting:
        text = waiting[0].text
        steps, tokens = max(steps, text.steps), max(tokens, text.n_tokens)
        rows = len(batch) + 1
        if batch and (rows * steps > MAX_BATCH_STEPS or rows * tokens > MAX_BATCH_TOKENS):
            break
        batch.append(waiting.popleft())
    return batch
