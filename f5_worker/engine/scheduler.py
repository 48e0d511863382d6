"""The scheduler: decides which segment comes to the device next, and which segments share the next forward.

Admission to the device:
1. A job's first segment comes before any later segment of another job, since its caller waits for the first audio.
2. Among the others, jobs take turns, one segment at a time.
3. A job that saw MAX_PASSED segments of others begin since its own last one comes first.
4. The segments on the device take at most `max_frames` frames together, later ones at most half of that, so that a
   first segment finds room. A segment alone is always admitted.

So at most MAX_PASSED segments, and one of each other job, begin before the next one of a waiting job.

Selection for a forward: the segment with the least work until its audio is complete, and further ones as long as the
forward has at most BATCH_FACTOR times its frames. A short job is therefore done soon whatever else is running (shortest
job first). The audio of a segment is sent after that of the segments before it in its job, so their work counts as its
own. A segment that began later counts as longer by a small part of the work done since: after MAX_DELAY_FACTOR times
its own work, a segment comes before every later one.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from f5_worker.cancellation import JobControl
from f5_worker.engine.types import FinishedSegment, ModelRunner, Segment, WaitForSamples

MAX_PASSED = 8
MAX_DELAY_FACTOR = 128
BATCH_FACTOR = 2
SMALL_FORWARD_FRAMES = 2_048  # a GPU takes about as long for fewer frames
MAX_UNREAD = 8  # segments of a stream that begin before their caller reads; a minute or two of speech


class EngineJob:
    """The segments of one caller for one model. `results` receives their audio in order, or one error.

    Args:
        on_progress: called with the share of their steps that is done.

    Attributes:
        abandoned: set by the caller's thread when it no longer reads results.
        ended: no segment is left, or the job failed.
        n_passed: segments of other jobs that began since this job's last one.
        idle_since: `time.monotonic()` since which no segment of it is on the device.
        n_running: segments of it on the device.
        n_read: segments whose audio the caller has read.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        control: JobControl,
        runner: ModelRunner[Any],
        early: bool,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.control = control
        self.runner = runner
        self.early = early
        self._on_progress = on_progress or control.on_progress
        self.results: queue.SimpleQueue[FinishedSegment | Exception] = queue.SimpleQueue()
        self.abandoned = False
        self.ended = not segments
        self.n_passed = 0
        self.idle_since = time.monotonic()
        self.n_running = self.n_read = 0
        self.n_segments = len(segments)
        self._waiting = deque(enumerate(segments))
        self._steps, self._steps_done = sum(self.n_steps(segment) for segment in segments), 0
        self._work = sum(segment.work for segment in segments)
        self._finished: dict[int, FinishedSegment] = {}
        self._n_sent = 0

    @property
    def next_segment(self) -> Segment | None:
        """Return the segment that could begin now.

        With `early`, later ones wait until the first is finished, and further ones until the caller has read some: it
        may read as slowly as one listens, or leave.
        """
        if not self._waiting or self.ended:
            return None
        n_begun = self.n_segments - len(self._waiting)
        waits_for_first = self.started and not self._n_sent
        if self.early and (waits_for_first or n_begun >= self.n_read + MAX_UNREAD):
            return None
        return self._waiting[0][1]

    @property
    def needs_device(self) -> bool:
        """Return whether the device has something to do for the job, if only to drop it."""
        return bool(self.n_running or self.next_segment) or self.ended or self.abandoned

    @property
    def started(self) -> bool:
        """Return whether a segment has begun."""
        return len(self._waiting) < self.n_segments

    @property
    def work_left(self) -> float:
        """Return the frames that still go through the model, from all its segments about the same."""
        return 0.0 if self.ended or self.abandoned else self._work * (1 - self._steps_done / self._steps)

    def n_steps(self, segment: Segment) -> int:
        """Return how many calls of the runner's `step` a segment takes."""
        return 1 if self.runner.whole_segments else segment.nfe

    def begin_segment(self) -> RunningSegment:
        """Remove the next segment from the job's queue and return it as running."""
        index, segment = self._waiting.popleft()
        waited_s = 0.0 if self.n_running else time.monotonic() - self.idle_since
        self.n_running += 1
        return RunningSegment(self, index, segment, waited_s)

    def report_progress(self) -> None:
        """Report the share of steps done."""
        self._on_progress(self._steps_done / self._steps)

    def count_step(self) -> None:
        """Count one step of one of the job's segments."""
        self._steps_done += 1

    def finish_segment(self, index: int, finished: FinishedSegment) -> None:
        """Store a finished segment; send all that follow one another from the job's beginning on."""
        self._finished[index] = finished
        while self._n_sent in self._finished:
            self.results.put(self._finished.pop(self._n_sent))
            self._n_sent += 1
        self.n_running -= 1
        self.idle_since = time.monotonic()
        self.ended = self._n_sent == self.n_segments

    def fail(self, error: Exception) -> None:
        """End the job with `error`, unless it has ended already."""
        if not self.ended:
            self.ended = True
            self.results.put(error)


@dataclass(eq=False)
class RunningSegment:
    """A segment on the device. `state` belongs to the model; `audio` is set once the segment has finished."""

    job: EngineJob
    index: int
    segment: Segment
    waited_s: float
    worked_s: float = 0.0
    step: int = 0
    begun_at: float = 0.0  # on the scheduler's clock
    state: Any = None
    audio: WaitForSamples | None = None

    @property
    def is_done(self) -> bool:
        """Return whether the segment took all its steps."""
        return self.step == self.job.n_steps(self.segment)


class Scheduler:
    """Holds the jobs that are not done, the one that waits longest first.

    Args:
        max_frames: bound on the forward frames of all segments on the device.
    """

    def __init__(self, max_frames: int) -> None:
        self._max_frames = max_frames
        self._clock = 0.0  # a small part of the work done
        self.jobs: list[EngineJob] = []

    def next_segment(self, running_frames: int) -> RunningSegment | None:
        """Return the segment to begin now, and move its job to the end; None if none waits or it does not fit.

        Args:
            running_frames: forward frames of the segments on the device.
        """
        waiting = [(job, segment) for job in self.jobs if (segment := job.next_segment)]
        if not waiting:
            return None
        job, segment = min(waiting, key=lambda pair: _rank(pair[0]))  # the first of equals
        is_urgent = not job.started or job.n_passed >= MAX_PASSED
        max_frames = self._max_frames if is_urgent else self._max_frames // 2
        if running_frames and running_frames + segment.forward_frames > max_frames:
            return None
        for other, _ in waiting:
            other.n_passed += 1
        job.n_passed = 0
        self.jobs.remove(job)
        self.jobs.append(job)
        running = job.begin_segment()
        running.begun_at = self._clock
        return running

    def schedule_step(self, running: Sequence[RunningSegment], max_frames: int) -> list[RunningSegment]:
        """Return the segments of the next forward, of at most `max_frames`; a segment alone may have more."""
        work: dict[EngineJob, int] = {}
        ranked = []
        for item in sorted(running, key=lambda item: item.index):
            work[item.job] = work.get(item.job, 0) + item.segment.work
            ranked.append((work[item.job] + item.begun_at, item))
        first, *others = (item for _, item in sorted(ranked, key=lambda pair: pair[0]))
        batch, frames = [first], first.segment.forward_frames
        limit = min(max_frames, max(BATCH_FACTOR * frames, SMALL_FORWARD_FRAMES))
        for item in others:
            if frames + item.segment.forward_frames <= limit:
                batch.append(item)
                frames += item.segment.forward_frames
        self._clock += frames / MAX_DELAY_FACTOR
        return batch


def _rank(job: EngineJob) -> tuple[bool, bool]:
    return job.n_passed < MAX_PASSED, job.started
