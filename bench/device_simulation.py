"""A simulated device: how long the engine takes for the segments of jobs that came at any times.

Segments advance as the engine's scheduler has them (`f5_worker/engine/scheduler.py`): a forward begins with the segment
of the least work, and takes others while it has at most twice the frames of that one. Between two arrivals or ends the
forwards have the same segments, so that the time of an end follows without simulating steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from f5_worker.engine.scheduler import BATCH_FACTOR, SMALL_FORWARD_FRAMES
from f5_worker.models.f5.config import FRAMES_PER_S
from f5_worker.settings import Settings

ROWS = 2  # of a segment in a forward: with its text, and without
SMALL_FORWARD_S = SMALL_FORWARD_FRAMES / FRAMES_PER_S / ROWS
MAX_FORWARD_S = Settings().batch_frames / FRAMES_PER_S / ROWS


@dataclass(frozen=True)
class Device:
    """Times that a device takes. Seconds of work are those of reference and speech together, as both go through it.

    Attributes:
        alone_s: for a second of work in a forward of one segment.
        together_s: for a second of work in a forward of several.
        reference_s: work that each segment adds to its speech.
        beside_s: of each job, before and after the device.
    """

    alone_s: float
    together_s: float
    reference_s: float
    beside_s: float = 0.0


@dataclass(eq=False, slots=True)
class Job:
    """Speech to make: the durations of its segments, and when it came, was first heard and was done."""

    arrived_s: float
    segments_s: Sequence[float]
    first_s: float = math.nan
    done_s: float = math.nan
    n_left: int = 0


@dataclass(eq=False, slots=True)
class _Segment:
    job: Job
    work_s: float
    left: float = 1.0


class DeviceQueue:
    """The segments on one device. After the first segment of a job its others follow, as in a stream."""

    def __init__(self, device: Device, window_s: tuple[float, float] = (0.0, math.inf)) -> None:
        self._device, self._window_s = device, window_s
        self._segments: list[_Segment] = []
        self._batch: list[_Segment] = []
        self._batch_s = math.inf  # for the whole of a segment, in these forwards
        self._now_s = 0.0
        self.busy_s = self.worked_s = 0.0  # in the window, and in all

    def add(self, now_s: float, job: Job) -> None:
        """Begin with a job's first segment."""
        self._advance(now_s)
        job.n_left = len(job.segments_s)
        self._segments.append(self._segment(job, 0))
        self._choose()

    @property
    def next_s(self) -> float:
        """Return when the next segment ends."""
        return self._now_s + min((segment.left for segment in self._batch), default=math.inf) * self._batch_s

    def finish(self, now_s: float) -> list[Job]:
        """Remove the segments that end now; return the jobs that are done."""
        self._advance(now_s)
        ended = [segment for segment in self._batch if segment.left * self._batch_s < 1e-6]
        self._segments = [segment for segment in self._segments if segment not in ended]
        done = []
        for job in (segment.job for segment in ended):
            job.n_left -= 1
            if math.isnan(job.first_s):
                job.first_s = now_s
                self._segments += [self._segment(job, i) for i in range(1, len(job.segments_s))]
            if not job.n_left:
                done.append(job)
        self._choose()
        return done

    def _segment(self, job: Job, index: int) -> _Segment:
        return _Segment(job, self._device.reference_s + job.segments_s[index])

    def _advance(self, now_s: float) -> None:
        for segment in self._batch:
            segment.left -= (now_s - self._now_s) / self._batch_s
        if self._batch:
            self.worked_s += now_s - self._now_s
            begin_s, end_s = self._window_s
            self.busy_s += max(0.0, min(now_s, end_s) - max(self._now_s, begin_s))
        self._now_s = now_s

    def _choose(self) -> None:
        if len(self._segments) <= 1:
            self._batch = self._segments
            self._batch_s = sum(segment.work_s for segment in self._segments) * self._device.alone_s
            return
        works: dict[int, float] = {}
        ranked = []
        for segment in self._segments:
            works[id(segment.job)] = work_s = works.get(id(segment.job), 0.0) + segment.work_s
            ranked.append((work_s, segment))
        ranked.sort(key=lambda pair: pair[0])
        self._batch, total_s = [], 0.0
        limit_s = min(MAX_FORWARD_S, max(BATCH_FACTOR * ranked[0][1].work_s, SMALL_FORWARD_S))
        for _, segment in ranked:
            if not self._batch or total_s + segment.work_s <= limit_s:
                self._batch.append(segment)
                total_s += segment.work_s
        self._batch_s = total_s * (self._device.alone_s if len(self._batch) == 1 else self._device.together_s)
