"""A simulation of a RunPod endpoint of this worker by discrete events: its queue, scaler, workers and their devices.

A job waits in the endpoint's queue until a worker takes it. Workers take jobs as the loop of RunPod's SDK does (1.12.0,
rp_scale.py), whose pauses matter: a worker that has all its jobs, a job that it has just taken counting twice, asks
again a second later; and what it took begins at the next turn of a loop of 0.1 s.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.device_simulation import Device, DeviceQueue, Job

EMPTY_S = 1.0  # until a worker whose concurrency changes looks again whether its jobs are done


@dataclass(frozen=True)
class Platform:
    """Behaviour of RunPod's queue and the SDK that no setting of an endpoint changes.

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
    """The settings of an endpoint, and of its workers.

    Attributes:
        concurrency: F5_CONCURRENCY.
        modify: returns the next concurrency of a worker from the present one, the jobs that it has done and the
            seconds that its device took for them.
        value: of "queue delay" in seconds, of "request count" in jobs for a worker.
        active, most: workers that are always there, and of all.
        idle_s: the idle timeout.
    """

    concurrency: int
    scaler: Literal["queue delay", "request count"] = "queue delay"
    value: float = 4.0
    active: int = 0
    most: int = 100_000
    idle_s: float = 5.0
    modify: Callable[[int, int, float], int] = lambda concurrency, n_done, busy_s: concurrency


@dataclass(eq=False)
class _Worker:
    device: DeviceQueue
    concurrency: int
    started_s: float
    is_active: bool
    is_ready: bool = False
    n_jobs: int = 0
    n_done: int = 0
    turned_s: float = 0.0
    idle_since_s: float = 0.0
    taken: list[Job] = field(default_factory=list)  # not begun yet
    polls: bool = False
    version: int = 0  # of the next end on the device


@dataclass(frozen=True)
class Usage:
    """Work of all workers in the window that is counted.

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

    def _next_arrival(self, arrivals: Iterator[Job]) -> None:
        job = next(arrivals, None)
        if job is not None:
            self._at(job.arrived_s, self._arrive, job, arrivals)

    # -- the queue and the SDK's loop ---------------------------------------------------------------------------------

    def _arrive(self, job: Job, arrivals: Iterator[Job]) -> None:
        self._queue.append(job)
        self._n_jobs += 1
        self._next_arrival(arrivals)
        while self._queue and self._polls:
            worker = self._polls.popleft()
            if worker.polls:
                worker.polls = False
                self._take(worker)

    def _ask(self, worker: _Worker) -> None:
        if worker.is_ready:
            concurrency = self._setting.modify(worker.concurrency, worker.n_done, worker.device.worked_s)
            if concurrency == worker.concurrency:
                self._ask_for_room(worker)
            else:
                worker.concurrency = concurrency
                self._empty(worker)

    def _empty(self, worker: _Worker) -> None:
        """Take no jobs until there are none: so the SDK changes how many there may be."""
        if worker.n_jobs:
            self._at(self._now_s + EMPTY_S, self._empty, worker)
        else:
            self._ask_for_room(worker)

    def _ask_for_room(self, worker: _Worker) -> None:
        if self._room(worker) <= 0:
            if self._platform.full_s:
                self._at(self._now_s + self._platform.full_s, self._ask, worker)
        elif self._queue:
            self._take(worker)
        else:
            worker.polls = True
            self._polls.append(worker)

    def _room(self, worker: _Worker) -> int:
        return worker.concurrency - worker.n_jobs - len(worker.taken)  # the SDK counts what it took twice

    def _take(self, worker: _Worker) -> None:
        room = self._room(worker)
        if not worker.taken:
            turn_s = self._platform.turn_s
            turns = math.ceil((self._now_s - worker.turned_s) / turn_s) if turn_s else 0
            self._at(max(self._now_s, worker.turned_s + turns * turn_s), self._turn, worker, worker.turned_s)
        for _ in range(min(room, len(self._queue))):
            worker.taken.append(self._queue.popleft())
            worker.n_jobs += 1
        self._ask(worker)

    def _turn(self, worker: _Worker, since_s: float) -> None:
        if since_s == worker.turned_s:  # else the end of a job was a turn, from which the next one counts
            self._begin(worker)

    def _begin(self, worker: _Worker) -> None:
        n_free = worker.concurrency - worker.n_jobs + len(worker.taken)
        if not worker.taken or n_free <= 0:
            return
        for job in worker.taken[:n_free]:
            worker.device.add(self._now_s, job)
        worker.taken = worker.taken[n_free:]
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
        worker.n_done += 1
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
        if self._stopped:
            self._stopped.pop()
            return platform.revive_s
        return platform.start_s

    def _start(self, after_s: float, *, is_active: bool = False) -> None:
        queue = DeviceQueue(self._device, self._window_s)
        worker = _Worker(queue, self._setting.concurrency, self._now_s, is_active)
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
