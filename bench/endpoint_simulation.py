"""A simulation of a RunPod endpoint of this worker by discrete events: its queue, scaler, workers and their devices.

A job waits in the endpoint's queue until a worker takes it. Workers take jobs as the loop of RunPod's SDK does (1.12.0,
rp_scale.py), whose pauses matter: a worker that has all its jobs, a job that it has just taken counting twice, asks
again a second later; and what it took begins at the next turn of a loop of 0.1 s.

On the device, a job's segments advance as the engine's scheduler has them (`f5_worker/engine/scheduler.py`): a forward
begins with the segment of the least work, and takes others while it has at most twice the frames of that one. Between
two arrivals or ends the forwards have the same segments, so that the time of an end follows without simulating steps.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from f5_worker.engine.scheduler import BATCH_FACTOR, SMALL_FORWARD_FRAMES
from f5_worker.models.f5.config import FRAMES_PER_S

ROWS = 2  # of a segment in a forward: with its text, and without
SMALL_FORWARD_S = SMALL_FORWARD_FRAMES / FRAMES_PER_S / ROWS
MAX_FORWARD_S = 8_192 / FRAMES_PER_S / ROWS  # F5_BATCH_FRAMES


@dataclass(frozen=True)
class Device:
    """How long a device takes. Seconds of work are those of reference and speech together, as both go through it.

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


@dataclass(frozen=True)
class Platform:
    """What RunPod's queue and the SDK do, as far as no setting of an endpoint changes it.

    Attributes:
        start_s: from the decision to start a worker until it asks for jobs.
        revive_s: the same by FlashBoot, if a worker stopped less than `keep_s` ago.
        check_s: between two decisions of the scaler.
        added: workers that "queue delay" adds at each of them, at most one for each job that waits for too long.
        full_s: until a full worker looks again whether it has room; 0: as soon as it has.
        turn_s: of the loop that begins the jobs that were taken.
    """

    start_s: float
    revive_s: float = 2.0
    keep_s: float = 300.0
    check_s: float = 1.0
    added: int = 1
    full_s: float = 1.0
    turn_s: float = 0.1


@dataclass(frozen=True)
class Setting:
    """The settings of an endpoint, and `concurrency`, the worker's F5_CONCURRENCY."""

    concurrency: int
    scaler: Literal["queue delay", "request count"] = "queue delay"
    value: float = 4.0
    active: int = 0
    most: int = 100_000
    idle_s: float = 5.0
    flashboot: bool = True


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
        self.busy_s = 0.0

    def add(self, now_s: float, job: Job) -> None:
        """Begin with a job's first segment."""
        self._advance(now_s)
        job.n_left = len(job.segments_s)
        self._segments.append(self._segment(job, 0))
        self._choose()

    @property
    def next_s(self) -> float:
        """When the next segment ends."""
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


@dataclass(eq=False)
class _Worker:
    device: DeviceQueue
    started_s: float
    is_active: bool
    is_ready: bool = False
    n_jobs: int = 0
    turned_s: float = 0.0
    idle_since_s: float = 0.0
    taken: list[Job] = field(default_factory=list)  # not begun yet
    polls: bool = False
    version: int = 0  # of the next end on the device


@dataclass(frozen=True)
class Usage:
    """What the workers did in the window that is counted.

    Attributes:
        active_s, flex_s: that are paid, of workers that are always there and of others.
        busy_s: of devices.
        workers: the most at a time.
    """

    active_s: float
    flex_s: float
    busy_s: float
    workers: int


class Endpoint:
    """Runs the jobs, in the order of their arrival; call `run` once.

    Args:
        n_ready: workers that are ready when it begins, beside the active ones.
        window_s: begin and end of the time that `Usage` counts.
    """

    def __init__(
        self, device: Device, platform: Platform, setting: Setting, n_ready: int, window_s: tuple[float, float]
    ) -> None:
        self._device, self._platform, self._setting = device, platform, setting
        self._window_s = window_s
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._now_s = 0.0
        self._queue: deque[Job] = deque()
        self._polls: deque[_Worker] = deque()  # the one that asked first takes the next job
        self._workers: list[_Worker] = []
        self._spans: list[tuple[float, float, bool]] = []
        self._stopped: list[float] = []  # workers that FlashBoot keeps
        self._busy_s = 0.0  # of workers that stopped
        self._n_jobs = 0  # waiting and in progress
        self._n_open = 0  # not done, those included that have not come
        self._wanted: deque[tuple[float, int]] = deque()
        for index in range(setting.active + n_ready):
            self._start(0.0, is_active=index < setting.active)

    def run(self, jobs: Sequence[Job]) -> Usage:
        """Run until all jobs are done; they get their times."""
        self._n_open = len(jobs)
        arrivals = iter(jobs)
        self._next_arrival(arrivals)
        self._at(self._platform.check_s, self._check)
        while self._n_open and self._events:
            self._now_s, _, event, args = heapq.heappop(self._events)
            event(*args)
        for worker in list(self._workers):
            self._stop(worker)
        return self._usage()

    def _at(self, time_s: float, event: Callable[..., None], *args: object) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), event, args))

    def _next_arrival(self, arrivals: object) -> None:
        job = next(arrivals, None)  # type: ignore[call-overload]
        if job is not None:
            self._at(job.arrived_s, self._arrive, job, arrivals)

    # -- the queue and the SDK's loop ---------------------------------------------------------------------------------

    def _arrive(self, job: Job, arrivals: object) -> None:
        self._queue.append(job)
        self._n_jobs += 1
        self._next_arrival(arrivals)
        while self._queue and self._polls:
            worker = self._polls.popleft()
            if worker.polls:
                worker.polls = False
                self._take(worker)

    def _ask(self, worker: _Worker) -> None:
        if not worker.is_ready:
            return
        if self._room(worker) <= 0:
            if self._platform.full_s:
                self._at(self._now_s + self._platform.full_s, self._ask, worker)
        elif self._queue:
            self._take(worker)
        else:
            worker.polls = True
            self._polls.append(worker)

    def _room(self, worker: _Worker) -> int:
        return self._setting.concurrency - worker.n_jobs - len(worker.taken)  # the SDK counts what it took twice

    def _take(self, worker: _Worker) -> None:
        room = self._room(worker)
        if not worker.taken:
            turn_s = self._platform.turn_s
            turns = math.ceil((self._now_s - worker.turned_s) / turn_s) if turn_s else 0
            self._at(max(self._now_s, worker.turned_s + turns * turn_s), self._begin, worker)
        for _ in range(min(room, len(self._queue))):
            worker.taken.append(self._queue.popleft())
            worker.n_jobs += 1
        self._ask(worker)

    def _begin(self, worker: _Worker) -> None:
        if not worker.taken:
            return
        for job in worker.taken:
            worker.device.add(self._now_s, job)
        worker.taken = []
        worker.turned_s = self._now_s
        self._expect(worker)

    def _expect(self, worker: _Worker) -> None:
        worker.version += 1
        if worker.device.next_s < math.inf:
            self._at(worker.device.next_s, self._end, worker, worker.version)

    def _end(self, worker: _Worker, version: int) -> None:
        if version == worker.version:
            for job in worker.device.finish(self._now_s):
                self._at(self._now_s + self._device.beside_s, self._deliver, worker, job)
            self._expect(worker)

    def _deliver(self, worker: _Worker, job: Job) -> None:
        job.done_s = worker.turned_s = worker.idle_since_s = self._now_s
        worker.n_jobs -= 1
        self._n_jobs -= 1
        self._n_open -= 1
        self._begin(worker)
        if not self._platform.full_s and not worker.polls:
            self._ask(worker)

    # -- the scaler ---------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        setting, now_s, n_workers = self._setting, self._now_s, len(self._workers)
        if setting.scaler == "queue delay":
            starting = sum(not worker.is_ready for worker in self._workers)
            first = itertools.islice(self._queue, starting + self._platform.added)
            n_new = max(0, sum(now_s - job.arrived_s > setting.value for job in first) - starting)
            surplus = n_workers
        else:
            wanted = math.ceil(self._n_jobs / setting.value)
            self._wanted.append((now_s, wanted))
            while self._wanted[0][0] < now_s - setting.idle_s:
                self._wanted.popleft()
            n_new = wanted - n_workers
            surplus = n_workers - max(number for _, number in self._wanted)
        for _ in range(min(n_new, setting.most - n_workers)):
            self._start(self._start_s())
        since_s = now_s - setting.idle_s if setting.scaler == "queue delay" else now_s
        for worker in list(self._workers):
            idle = worker.is_ready and not worker.is_active and not worker.n_jobs and worker.idle_since_s <= since_s
            if surplus > 0 and idle:
                surplus -= 1
                self._stop(worker)
        self._at(now_s + self._platform.check_s, self._check)

    def _start_s(self) -> float:
        platform = self._platform
        self._stopped = [stop_s for stop_s in self._stopped if self._now_s - stop_s < platform.keep_s]
        if self._stopped and self._setting.flashboot:
            self._stopped.pop()
            return platform.revive_s
        return platform.start_s

    def _start(self, after_s: float, *, is_active: bool = False) -> None:
        worker = _Worker(DeviceQueue(self._device, self._window_s), self._now_s, is_active)
        self._workers.append(worker)
        self._at(self._now_s + after_s, self._ready, worker)

    def _ready(self, worker: _Worker) -> None:
        worker.is_ready, worker.turned_s, worker.idle_since_s = True, self._now_s, self._now_s
        self._ask(worker)

    def _stop(self, worker: _Worker) -> None:
        worker.polls = worker.is_ready = False
        self._workers.remove(worker)
        self._stopped.append(self._now_s)
        self._busy_s += worker.device.busy_s
        self._spans.append((worker.started_s, self._now_s, worker.is_active))

    def _usage(self) -> Usage:
        begin_s, end_s = self._window_s
        paid, changes = {True: 0.0, False: 0.0}, []
        for start_s, stop_s, is_active in self._spans:
            first_s, last_s = max(start_s, begin_s), min(start_s + math.ceil(stop_s - start_s), end_s)
            if first_s < last_s:
                paid[is_active] += last_s - first_s
                changes += [(first_s, 1), (min(stop_s, end_s), -1)]
        counts = itertools.accumulate(change for _, change in sorted(changes))
        return Usage(paid[True], paid[False], self._busy_s, max(counts, default=0))
