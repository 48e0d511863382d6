"""Alignments and transcripts of all jobs in common batches, as short pieces of work of Whisper's one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from f5_worker.audio.levels import Samples
from f5_worker.errors import OutOfMemory
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.whisper.runner import (
    STEPS_AT_ONCE,
    ForcedAlignment,
    ForcedText,
    PendingAlignment,
    PendingProbabilities,
    WhisperRunner,
)
from f5_worker.models.whisper.search import NOTHING_EXPECTED, BeamSearch, DecodedClip, ExpectedTokens, SearchOptions

# Of a batch, its rows padded to the longest one: 120 s of sound; on a CPU, which gains nothing from more, 30 s. A text
# alone is always taken.
MAX_BATCH_ROWS, MAX_BATCH_STEPS, MAX_CPU_BATCH_STEPS, MAX_BATCH_TOKENS = 8, 6_144, 1_500, 2_048
MAX_TEXTS = 16  # of one clip, which share a pass
MAX_SEARCH_CLIPS = 8  # of a search: padded to 30 s each, as in Whisper's training


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
    """Aligns texts for many threads; those that wait at the same time share a pass through the network.

    Raises from all methods: OutOfMemory, GpuLost, errors of the device.
    """

    def __init__(self, runner: WhisperRunner, run_on_device: RunOnDevice) -> None:
        self._runner = runner
        self._run_on_device = run_on_device
        self._max_steps = MAX_BATCH_STEPS if runner.model.device.type == "cuda" else MAX_CPU_BATCH_STEPS
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()

    def align(self, clip: Samples, text: ForcedText) -> ForcedAlignment:
        """Decode a text against a clip, `[nw]` at 16 kHz; wait for the device without keeping it from other work."""
        request = _Request(clip, text)
        with self._lock:
            self._waiting.append(request)
        while request.begun is None:  # the batch before may have been full
            self._run_on_device(self._begin_batch)
        return request.result()

    def score(self, clip: Samples, texts: Sequence[ForcedText]) -> list[NDArray[np.float32]]:
        """Return the probabilities `[t]` of the tokens of each of several texts in one clip, `[nw]` at 16 kHz."""
        n_first = MAX_TEXTS
        if len(texts) <= MAX_TEXTS:
            try:
                pending: PendingProbabilities = self._run_on_device(partial(self._runner.score, clip, texts))
                return pending.result()
            except OutOfMemory:
                if len(texts) == 1:
                    raise
            n_first = len(texts) // 2
        return [*self.score(clip, texts[:n_first]), *self.score(clip, texts[n_first:])]

    def _begin_batch(self) -> None:
        with self._lock:
            batch = _take_batch(self._waiting, self._max_steps)
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


def _take_batch(waiting: deque[_Request], max_steps: int) -> list[_Request]:
    """Remove and return the texts of the next batch, those that wait longest."""
    batch: list[_Request] = []
    steps = tokens = 0
    while waiting and len(batch) < MAX_BATCH_ROWS:
        text = waiting[0].text
        steps, tokens = max(steps, text.steps), max(tokens, text.n_tokens)
        rows = 1 << len(batch).bit_length()  # with this one, as the graphs have them: a power of two
        if batch and (rows * steps > max_steps or rows * tokens > MAX_BATCH_TOKENS):
            break
        batch.append(waiting.popleft())
    return batch


class _Wanted(NamedTuple):
    """A clip that waits for its transcript."""

    clip: Samples
    options: SearchOptions
    expected: ExpectedTokens
    found: Future[DecodedClip]


class TranscriptBatcher:
    """Transcribes clips for many threads; those that wait when a search begins, and want the same, share it.

    One of the waiting threads at a time has the device go on, so that other work of the device comes between.
    """

    def __init__(self, runner: WhisperRunner, run_on_device: RunOnDevice) -> None:
        self._runner = runner
        self._run_on_device = run_on_device
        self._max_clips = MAX_SEARCH_CLIPS  # fewer after the device ran out of memory
        self._turn = threading.Lock()
        self._waiting: deque[_Wanted] = deque()
        self._batch: list[_Wanted] = []
        self._search: BeamSearch | None = None

    def transcribe(
        self, clip: Samples, options: SearchOptions, expected: ExpectedTokens = NOTHING_EXPECTED
    ) -> DecodedClip:
        """Return the transcript of a clip, `[nw]` at 16 kHz and at most 30 s, of which something may be expected.

        Raises:
            OutOfMemory, GpuLost: errors of the device.
        """
        wanted = _Wanted(clip, options, expected, Future())
        self._waiting.append(wanted)
        while not wanted.found.done():
            with self._turn:
                if not wanted.found.done():
                    self._run_on_device(self._advance)
        return wanted.found.result()

    def _advance(self) -> None:
        try:
            if self._search is None:
                self._begin()
            else:
                self._runner.advance(self._search, STEPS_AT_ONCE)
        except Exception as error:  # noqa: BLE001 - raised again in the threads of its clips
            self._fail(error)
        if self._search is not None and self._search.done:
            for wanted, found in zip(self._batch, self._search.transcripts, strict=True):
                wanted.found.set_result(found)
            self._search = None

    def _begin(self) -> None:
        options = self._waiting[0].options
        self._batch = []
        while self._waiting and len(self._batch) < self._max_clips and self._waiting[0].options == options:
            self._batch.append(self._waiting.popleft())
        sound = self._runner.encode_windows([wanted.clip for wanted in self._batch])
        self._search = self._runner.search(sound, options, [wanted.expected for wanted in self._batch])

    def _fail(self, error: Exception) -> None:
        """Try again with half of the clips if all had no room, else tell all of the error."""
        self._search = None
        if isinstance(error, OutOfMemory) and len(self._batch) > 1:
            self._max_clips = len(self._batch) // 2
            self._waiting.extendleft(reversed(self._batch))
            return
        for wanted in self._batch:
            wanted.found.set_exception(error)
