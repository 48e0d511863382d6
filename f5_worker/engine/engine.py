"""The one owner of the device: all jobs hand their segments here, nobody else launches kernels.

A thread of its own steps the segments of all jobs, many in one forward. Before each step those that are done leave,
those of cancelled jobs are dropped, and new ones join (turns.py says which, and who takes part in the next forward).
A forward mixes segments of one model only; the models of several take a step each.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from f5_worker.cancellation import JobControl
from f5_worker.engine.scheduler import Flight, Job, Samples, Segment, Speaker, Spoken, Turns
from f5_worker.errors import GpuLost, JobCancelled, OutOfMemory

__all__ = ["Batcher", "Samples", "Segment", "Speaker", "Spoken"]

T = TypeVar("T")

FORWARDS_ON_DEVICE = 16  # segments on the device, in full forwards: between its steps one takes little memory
CAUTIOUS_STEPS = 200  # after the device was full: steps until twice the frames are tried again


class Batcher:
    """Runs the segments of all jobs on their speakers.

    Args:
        speaker: the model of jobs that name none.
        batch_frames: bound on the mel frames of a forward, the unconditional half counted (F5_BATCH_FRAMES).
    """

    def __init__(self, speaker: Speaker[Any], batch_frames: int) -> None:
        self._speaker = speaker
        self._batch_frames = batch_frames
        self._forward_frames = batch_frames  # at most so many in one forward; fewer after the device was full
        self._calm_steps = 0
        self._turns = Turns(FORWARDS_ON_DEVICE * batch_frames)
        self._flights: list[Flight] = []
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
        speaker: Speaker[Any] | None = None,
        early: bool = False,
    ) -> Iterator[Spoken]:
        """Queue a job's segments at once; yield their sound in order, each as soon as it and those before are there.

        An error of a segment is raised here, for this job alone. Leaving the iterator early drops the rest.

        Args:
            speaker: the model that speaks them, if not the usual one.
            early: the first is wanted as soon as can be, for somebody listens: the others hold back until then.
        """
        job = Job(segments, control, speaker or self._speaker, early)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._turns.jobs.append(job)
            self._changed.notify()
        return self._results(job)

    def run(self, work: Callable[[], T]) -> T:
        """Do something else with the device, such as moving a model there, between two steps; wait for its result."""
        done: Future[T] = Future()

        def call() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001 - the caller's thread raises it
                done.set_exception(error)

        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._calls.append(call)
            self._changed.notify()
        return done.result()

    def close(self) -> None:
        """Stop after the step in work; jobs that are not done are cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @staticmethod
    def _results(job: Job) -> Iterator[Spoken]:
        try:
            for _ in range(job.total):
                result = job.results.get()
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            job.abandoned = True

    def _run(self) -> None:
        while self._wait():
            while self._calls:
                self._calls.popleft()()
            self._each_job(self._turns.jobs, lambda job: job.control.check())
            self._begin()
            self._each_job([flight.job for flight in self._flights], Job.tell_progress)
            for speaker in dict.fromkeys(flight.job.speaker for flight in self._flights):
                self._step([flight for flight in self._flights if flight.job.speaker is speaker])
            self._land()
        for call in self._calls:  # whoever waits for one must not wait for ever
            call()
        for job in self._turns.jobs:
            job.fail(JobCancelled("the worker stops; send the job again"))

    def _wait(self) -> bool:
        """Until there is something to do; False when closed."""
        with self._changed:
            while not (self._closed or self._calls or self._turns.jobs):
                self._changed.wait()
            return not self._closed

    def _each_job(self, jobs: Sequence[Job], ask: Callable[[Job], None]) -> None:
        """Ask each job once; what one raises ends it."""
        for job in dict.fromkeys(jobs):
            try:
                ask(job)
            except Exception as error:  # noqa: BLE001 - the job's own thread raises it; this one must live on
                job.fail(error)
        self._drop_ended()

    def _begin(self) -> None:
        """Bring new segments to the device while there is room."""
        while True:
            with self._changed:
                flight = self._turns.next(sum(flight.segment.forward_frames for flight in self._flights))
            if flight is None:
                return
            self._flights.append(flight)
            self._attempt([flight], _begin)
            self._drop_ended()

    def _step(self, flights: list[Flight]) -> None:
        self._calm_steps += 1
        if self._calm_steps >= CAUTIOUS_STEPS:
            self._forward_frames = min(self._batch_frames, 2 * self._forward_frames)
            self._calm_steps = 0
        self._attempt(self._turns.crew(flights, self._forward_frames), _step)

    def _land(self) -> None:
        """Turn what has done all its steps into sound."""
        self._drop_ended()
        done = [flight for flight in self._flights if flight.step == flight.segment.nfe]
        for speaker in dict.fromkeys(flight.job.speaker for flight in done):
            self._attempt([flight for flight in done if flight.job.speaker is speaker], _finish)
        for flight in done:
            if flight.samples is not None:
                flight.job.land(flight.index, Spoken(flight.samples, flight.waited_s, flight.worked_s))
        self._flights = [flight for flight in self._flights if flight not in done]
        self._drop_ended()

    def _attempt(self, flights: list[Flight], work: Callable[[list[Flight]], None], again: bool = False) -> None:
        """Do `work` for all together; if that fails, for halves, until only the segment at fault fails its job.

        A full device is tried once more with a single segment: what its neighbours used is free by then.
        """
        flights = [flight for flight in flights if not flight.job.ended]
        if not flights:
            return
        began = time.monotonic()
        try:
            work(flights)
            fault = None
        except Exception as error:  # noqa: BLE001 - the job's own thread raises it; this one must live on
            fault = error
        _share(flights, time.monotonic() - began)
        if fault is None:
            return
        full = isinstance(fault, OutOfMemory)
        if full:
            self._forward_frames = max(1, min(self._forward_frames, _frames(flights)) // 2)
            self._calm_steps = 0
        if isinstance(fault, GpuLost):
            for flight in self._flights:
                flight.job.fail(fault)
        elif len(flights) > 1:
            middle = len(flights) // 2
            self._attempt(flights[:middle], work, again=True)
            self._attempt(flights[middle:], work, again=True)
        elif full and not again:
            self._attempt(flights, work, again=True)
        else:
            flights[0].job.fail(fault)

    def _drop_ended(self) -> None:
        with self._changed:
            self._turns.jobs = [job for job in self._turns.jobs if not (job.ended or job.abandoned)]
        self._flights = [flight for flight in self._flights if not (flight.job.ended or flight.job.abandoned)]


def _begin(flights: list[Flight]) -> None:
    for flight in flights:
        flight.state = flight.job.speaker.begin(flight.segment)


def _step(flights: list[Flight]) -> None:
    flights[0].job.speaker.step([flight.state for flight in flights])
    for flight in flights:
        flight.step += 1
        flight.job.stepped()


def _finish(flights: list[Flight]) -> None:
    sounds = flights[0].job.speaker.finish([flight.state for flight in flights])
    for flight, samples in zip(flights, sounds, strict=True):
        flight.samples = samples


def _frames(flights: Sequence[Flight]) -> int:
    return sum(flight.segment.forward_frames for flight in flights)


def _share(flights: Sequence[Flight], spent_s: float) -> None:
    """Book the device's time to the segments by their frames."""
    total = _frames(flights)
    for flight in flights:
        flight.worked_s += spent_s * flight.segment.forward_frames / total
