"""The one owner of the device: all jobs hand their segments here, nobody else launches kernels.

One segment at a time for now; jobs take turns, so a short job never waits behind a whole audiobook.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from f5_worker.control import JobControl

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Segment:
    """One piece of text that the model speaks in one go.

    reference: the reference clip, `[nw]` at 24 kHz. tokens: vocabulary indices of reference and target text.
    frames: mel frames of reference and target together. nfe: steps. guidance: CFG strength. sway: coefficient.
    """

    reference: Samples
    tokens: tuple[int, ...]
    frames: int
    nfe: int
    guidance: float
    sway: float | None
    seed: int


@dataclass(frozen=True)
class Spoken:
    """A segment's sound, `[nw]` at 24 kHz, and how long it waited for the device and was worked on."""

    samples: Samples
    waited_s: float
    worked_s: float


Speak = Callable[[Segment, Callable[[int], None]], Samples]


@dataclass
class _Job:
    control: JobControl
    todo: deque[Segment]
    total: int
    ready_at: float
    done: queue.SimpleQueue[Spoken | Exception] = field(default_factory=queue.SimpleQueue)
    abandoned: bool = False


class Batcher:
    """Runs `speak(segment, on_step)` in a thread of its own for the segments of all jobs, in turns."""

    def __init__(self, speak: Speak) -> None:
        self._speak = speak
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def submit(self, segments: Sequence[Segment], control: JobControl) -> Iterator[Spoken]:
        """Queue a job's segments at once; yield their sound in order, each as soon as it is there.

        An error of a segment is raised here, for this job alone. Leaving the iterator early drops the rest.
        """
        job = _Job(control, deque(segments), len(segments), time.monotonic())
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._jobs.append(job)
            self._changed.notify()
        return self._results(job)

    def close(self) -> None:
        """Stop after the segment in work; jobs that wait are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @staticmethod
    def _results(job: _Job) -> Iterator[Spoken]:
        try:
            for _ in range(job.total):
                result = job.done.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            job.abandoned = True

    def _run(self) -> None:
        while (job := self._next()) is not None:
            segment = job.todo.popleft()
            started = time.monotonic()
            try:
                samples = self._speak(segment, partial(_on_step, job, segment.nfe))
            except Exception as error:  # noqa: BLE001 - the job's own thread raises it; this one must live on
                job.abandoned = True
                job.done.put(error)
                continue
            ended = time.monotonic()
            job.done.put(Spoken(samples, started - job.ready_at, ended - started))
            job.ready_at = ended
            with self._changed:
                if job.todo:
                    self._jobs.append(job)

    def _next(self) -> _Job | None:
        with self._changed:
            while True:
                if self._closed:
                    return None
                if not self._jobs:
                    self._changed.wait()
                    continue
                job = self._jobs.popleft()
                if not job.abandoned:
                    return job


def _on_step(job: _Job, nfe: int, step: int) -> None:
    job.control.check()
    spoken = job.total - len(job.todo) - 1
    job.control.on_progress((spoken + step / nfe) / job.total)
