"""The owner of a device: all jobs submit their segments to it, and no other thread launches kernels there.

One thread steps the segments of all jobs, many in one forward. Before each step, segments of cancelled jobs are
dropped, and new segments begin; scheduler.py decides which. After it, finished segments leave. A forward holds segments
of one model; where several models have segments on the device, each takes one step in turn.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from f5_worker.cancellation import JobControl
from f5_worker.engine.scheduler import SMALL_FORWARD_FRAMES, EngineJob, RunningSegment, Scheduler
from f5_worker.engine.speed import DeviceSpeed
from f5_worker.engine.types import FinishedSegment, ModelRunner, Segment, SegmentAudio
from f5_worker.errors import GpuLost, JobCancelled, OutOfMemory

T = TypeVar("T")

# A thread of Python that computes may keep the others waiting for so long, at each operation that they launch. Python's
# own 5 ms, at dozens of operations, would leave the device without work.
SWITCH_INTERVAL_S = 0.0005
FORWARDS_ON_DEVICE = 16  # full forwards that the segments on the device may fill; between steps they take little memory
STEPS_UNTIL_GROWTH = 200  # after the device ran out of memory: steps until twice the frames are tried again


@dataclass
class EngineLoad:
    """Counts of a device's forwards: `n_segments / n_forwards` is the mean batch. `max_frames`: bound of each."""

    max_frames: int
    n_forwards: int = 0
    n_segments: int = 0
    n_frames: int = 0
    busy_s: float = 0.0

    def add(self, n_segments: int, n_frames: int) -> None:
        """Count a forward."""
        self.n_forwards += 1
        self.n_segments += n_segments
        self.n_frames += n_frames


class Engine:
    """Runs the segments of all jobs on their models.

    Args:
        runner: the model of jobs that do not choose one.
        batch_frames: bound on the mel frames of a forward, unconditional rows included (F5_BATCH_FRAMES).

    Attributes:
        default: that model.
        load: of the device, for metrics.
        speed: of the models on it.
    """

    def __init__(self, runner: ModelRunner[Any], batch_frames: int) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self.default = runner
        self._batch_frames = batch_frames
        self._forward_frames = batch_frames  # the bound now; smaller after the device ran out of memory
        self._steps_since_oom = 0
        self._scheduler = Scheduler(FORWARDS_ON_DEVICE * batch_frames)
        self._running: list[RunningSegment] = []
        self.load, self.speed = EngineLoad(batch_frames), DeviceSpeed()
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def submit(
        self,
        segments: Sequence[Segment],
        control: JobControl,
        *,
        runner: ModelRunner[Any] | None = None,
        early: bool = False,
        on_progress: Callable[[float], None] | None = None,
    ) -> Generator[SegmentAudio, None, None]:
        """Queue a job's segments; yield their audio in order, each as soon as it and those before it are done.

        An error of a segment is raised here, and for this job alone. Closing the iterator drops the rest.

        Args:
            runner: the model that runs them; None for the default one.
            early: the caller streams: later segments wait until the first is finished, so that it is done early.
            on_progress: called with the share of their steps that is done, from the device's thread; None for the
                control's.
        """
        job = EngineJob(segments, control, runner or self.default, early, on_progress)
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._scheduler.jobs.append(job)
            self._changed.notify()
        results = self._results(job)
        next(results)  # to its first `yield`: closing a generator that has not begun would not drop the job
        return results

    def run(self, work: Callable[[], T]) -> T:
        """Call `work` on the device thread between two steps, for example to load a model; return its result."""
        done: Future[T] = Future()

        def call() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
                done.set_exception(error)

        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._calls.append(call)
            self._changed.notify()
        return done.result()

    @property
    def work_left(self) -> float:
        """Return the frames that still go through models for the jobs that were submitted."""
        with self._changed:
            jobs = list(self._scheduler.jobs)
        return sum(job.work_left for job in jobs)

    def close(self) -> None:
        """Stop after the current step; cancel the jobs that are not done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _results(self, job: EngineJob) -> Generator[Any, None, None]:
        try:
            yield None
            for _ in range(job.n_segments):
                result = _wait_for_result(job)
                if isinstance(result, Exception):
                    raise result
                with self._changed:
                    job.n_read += 1
                    self._changed.notify()
                yield result.wait()
        finally:
            with self._changed:
                job.abandoned = True
                self._changed.notify()

    def _run(self) -> None:
        while self._wait():
            for _ in range(len(self._calls)):  # those that come meanwhile wait for a step, or no step would come
                self._calls.popleft()()
            self._for_each_job(self._scheduler.jobs, lambda job: job.control.check())
            self._begin()
            self._for_each_job([item.job for item in self._running], EngineJob.report_progress)
            for runner in dict.fromkeys(item.job.runner for item in self._running):
                self._step([item for item in self._running if item.job.runner is runner])
            self._finish()
        for call in self._calls:  # their callers are waiting
            call()
        for job in self._scheduler.jobs:
            job.fail(JobCancelled("the worker stops; send the job again"))

    def _wait(self) -> bool:
        """Block until there is work; return False once closed."""
        with self._changed:
            while not (self._closed or self._calls or any(job.needs_device for job in self._scheduler.jobs)):
                self._changed.wait()
            return not self._closed

    def _for_each_job(self, jobs: Sequence[EngineJob], check: Callable[[EngineJob], None]) -> None:
        """Call `check` once for each job; an error that it raises ends the job."""
        for job in dict.fromkeys(jobs):
            try:
                check(job)
            except Exception as error:  # noqa: BLE001 - raised again in the job's thread; this thread must continue
                job.fail(error)
        self._drop_ended()

    def _begin(self) -> None:
        """Begin new segments while there is room."""
        while True:
            with self._changed:
                item = self._scheduler.next_segment(_frames(self._running))
            if item is None:
                return
            self._running.append(item)
            self._attempt([item], _begin)
            self._drop_ended()

    def _step(self, running: list[RunningSegment]) -> None:
        self._steps_since_oom += 1
        if self._steps_since_oom >= STEPS_UNTIL_GROWTH:
            self._forward_frames = min(self._batch_frames, 2 * self._forward_frames)
            self._steps_since_oom = 0
        max_frames = 0 if running[0].job.runner.whole_segments else self._forward_frames  # 0: one segment
        batch = self._scheduler.schedule_step(running, max_frames)
        self.load.add(len(batch), _frames(batch))
        self._attempt(batch, _step)

    def _finish(self) -> None:
        """Turn the segments that took all their steps into audio."""
        self._drop_ended()
        done = [item for item in self._running if item.is_done]
        for runner in dict.fromkeys(item.job.runner for item in done):
            self._attempt([item for item in done if item.job.runner is runner], _finish)
        for item in done:
            if item.audio is not None:
                item.job.finish_segment(item.index, FinishedSegment(item.audio, item.waited_s, item.worked_s))
        self._running = [item for item in self._running if item not in done]
        self._drop_ended()

    def _attempt(
        self, items: list[RunningSegment], work: Callable[[list[RunningSegment]], None], is_retry: bool = False
    ) -> None:
        """Call `work` for all items; if it fails, for each half, until only the job of the segment at fault fails.

        After OutOfMemory, a single segment is tried a second time: the memory of the first try is free by then.
        """
        items = [item for item in items if not item.job.ended]
        if not items:
            return
        started_s = time.monotonic()
        try:
            work(items)
            fault = None
        except Exception as error:  # noqa: BLE001 - raised again in the job's thread; this thread must continue
            fault = error
        elapsed_s = time.monotonic() - started_s
        _share_time(items, elapsed_s)
        self.load.busy_s += elapsed_s
        self.speed.add(items[0].job.runner, _work(items) if work is _step and fault is None else 0, elapsed_s)
        if fault is None:
            return
        is_oom = isinstance(fault, OutOfMemory)
        if is_oom:
            self._forward_frames = max(1, min(self._forward_frames, _frames(items)) // 2)
            self._steps_since_oom = 0
        if isinstance(fault, GpuLost):
            for item in self._running:
                item.job.fail(fault)
        elif len(items) > 1:
            middle = len(items) // 2
            self._attempt(items[:middle], work, is_retry=True)
            self._attempt(items[middle:], work, is_retry=True)
        elif is_oom and not is_retry:
            self._attempt(items, work, is_retry=True)
        else:
            items[0].job.fail(fault)

    def _drop_ended(self) -> None:
        with self._changed:
            self._scheduler.jobs = [job for job in self._scheduler.jobs if not (job.ended or job.abandoned)]
        self._running = [item for item in self._running if not (item.job.ended or item.job.abandoned)]


def _wait_for_result(job: EngineJob) -> FinishedSegment | Exception:
    """Wait without the device, whose current step may take seconds on a CPU, when the job has to stop."""
    with job.control.aborting(lambda: job.results.put(JobCancelled("the job was cancelled by its caller"))):
        while True:
            with suppress(queue.Empty):
                return job.results.get(timeout=job.control.left_s())
            job.control.check()


def _begin(items: list[RunningSegment]) -> None:
    for item in items:
        item.job.control.check()  # a long text begins hundreds of segments in a row
        item.state = item.job.runner.begin(item.segment)


def _step(items: list[RunningSegment]) -> None:
    items[0].job.runner.step([item.state for item in items])
    for item in items:
        item.step += 1
        item.job.count_step()


def _finish(items: list[RunningSegment]) -> None:
    finished = items[0].job.runner.finish([item.state for item in items])
    for item, audio in zip(items, finished, strict=True):
        item.audio = audio


def _frames(items: Sequence[RunningSegment]) -> int:
    return sum(item.segment.forward_frames for item in items)


def _work(items: Sequence[RunningSegment]) -> int:
    """Return what a step of these segments is worth: a GPU takes as long for fewer frames, and does more with more."""
    if items[0].job.runner.whole_segments:
        return sum(item.segment.work for item in items)
    return max(SMALL_FORWARD_FRAMES, _frames(items))


def _share_time(items: Sequence[RunningSegment], elapsed_s: float) -> None:
    """Add the elapsed device time to the segments, in proportion to their frames."""
    total = _frames(items)
    for item in items:
        item.worked_s += elapsed_s * item.segment.forward_frames / total
