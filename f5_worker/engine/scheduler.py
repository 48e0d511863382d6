"""Who is next: jobs, their segments, and the rules by which segments come to the device and take their steps.

To the device:
1. A job's first segment comes before any later segment of another job: somebody waits to hear it.
2. Among the others jobs take turns, one segment at a time.
3. A job that saw PATIENCE segments of others begin since its own last one comes first, whatever it waits with.
4. Segments on the device take at most `room` frames together, later ones only half of it, so that a first segment
   finds room; one alone is always taken.

So no job waits for more than PATIENCE segments, and one of each other job, to begin before its own next one.

Through a forward: the segment with the least work until it is heard, and in its company others while the forward
has at most COMPANY times its frames, so that a short job is soon done whatever else is there (shortest job first). A
segment is heard after those before it in its job, so that their work counts as its own. Who comes later counts as
longer, by a small part of the work done since: after PATIENCE_OF_SEGMENTS times its own a segment comes before every
newcomer.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from f5_worker.cancellation import JobControl
from f5_worker.models.f5.config import NO_GUIDANCE

Samples = NDArray[np.float32]
PATIENCE = 8
PATIENCE_OF_SEGMENTS = 128
COMPANY = 2
SMALL_FORWARD_FRAMES = 2_048  # up to so many a GPU takes hardly longer than for fewer
State = TypeVar("State")


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

    @property
    def forward_frames(self) -> int:
        """Mel frames in a forward of the model, the unconditional half counted."""
        return self.frames * (2 if self.guidance >= NO_GUIDANCE else 1)


@dataclass(frozen=True)
class Spoken:
    """A segment's sound, `[nw]` at 24 kHz.

    waited_s: how long nothing of its job was on the device before it came there.
    worked_s: its share of the device's time: of each step as much as it has of the step's frames. Over all segments
    of all jobs these add up to the time that the device was busy.
    """

    samples: Samples
    waited_s: float
    worked_s: float


class Speaker(Protocol[State]):
    """A loaded model, as the batcher drives it. What raises has changed none of the states given."""

    def begin(self, segment: Segment) -> State:
        """A segment before its first step."""

    def step(self, states: Sequence[State]) -> None:
        """One step of each."""

    def finish(self, states: Sequence[State]) -> list[Samples]:
        """The sound of each, `[nw]` at 24 kHz, when all its steps are done."""


class Job:
    """Segments of one caller, to be spoken by one speaker; what is done leaves in order by `results`."""

    def __init__(self, segments: Sequence[Segment], control: JobControl, speaker: Speaker[Any], early: bool) -> None:
        self.control = control
        self.speaker = speaker
        self.early = early
        self.results: queue.SimpleQueue[Spoken | Exception] = queue.SimpleQueue()
        self.abandoned = False  # set by the caller's thread, when it stops to listen
        self.ended = not segments
        self.passed = 0  # segments of others that began since this job's last one
        self.idle_since = time.monotonic()  # nothing of it is on the device since then
        self.in_flight = 0
        self.total = len(segments)
        self._todo = deque(enumerate(segments))
        self._steps, self._steps_done = sum(segment.nfe for segment in segments), 0
        self._landed: dict[int, Spoken] = {}
        self._next = 0

    @property
    def next_segment(self) -> Segment | None:
        """What could begin now. With `early` later segments hold back until the first is spoken."""
        held_back = self.early and self.started and not self._next
        return self._todo[0][1] if self._todo and not held_back and not self.ended else None

    @property
    def started(self) -> bool:
        return len(self._todo) < self.total

    def take(self) -> Flight:
        """The next segment, on its way to the device."""
        index, segment = self._todo.popleft()
        waited_s = 0.0 if self.in_flight else time.monotonic() - self.idle_since
        self.in_flight += 1
        return Flight(self, index, segment, waited_s)

    def tell_progress(self) -> None:
        self.control.on_progress(self._steps_done / self._steps)

    def stepped(self) -> None:
        self._steps_done += 1

    def land(self, index: int, spoken: Spoken) -> None:
        """Take a segment's sound; pass on whatever is complete up to here."""
        self._landed[index] = spoken
        while self._next in self._landed:
            self.results.put(self._landed.pop(self._next))
            self._next += 1
        self.in_flight -= 1
        self.idle_since = time.monotonic()
        self.ended = self._next == self.total

    def fail(self, error: Exception) -> None:
        """End it with `error`, if it has not ended yet."""
        if not self.ended:
            self.ended = True
            self.results.put(error)


@dataclass(eq=False)
class Flight:
    """A segment on the device. `state` is the speaker's; `samples` are there when it has finished."""

    job: Job
    index: int
    segment: Segment
    waited_s: float
    worked_s: float = 0.0
    step: int = 0
    since: float = 0.0  # on the clock of its turns
    state: Any = None
    samples: Samples | None = None

    @property
    def work(self) -> int:
        """Frames through the model for all its steps."""
        return self.segment.nfe * self.segment.forward_frames


class Turns:
    """The jobs that are not done yet, in the order of their turns."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._clock = 0.0  # a small part of the work done
        self.jobs: list[Job] = []

    def next(self, flying_frames: int) -> Flight | None:
        """The segment to begin now, if there is one and it has room beside what flies; its job's turn is then over."""
        waiting = [(job, segment) for job in self.jobs if (segment := job.next_segment)]
        if not waiting:
            return None
        job, segment = min(waiting, key=lambda pair: _rank(pair[0]))  # the first of equals
        hurry = not job.started or job.passed >= PATIENCE
        room = self._room if hurry else self._room // 2
        if flying_frames and flying_frames + segment.forward_frames > room:
            return None
        for other, _ in waiting:
            other.passed += 1
        job.passed = 0
        self.jobs.remove(job)
        self.jobs.append(job)
        flight = job.take()
        flight.since = self._clock
        return flight

    def crew(self, flights: Sequence[Flight], frames: int) -> list[Flight]:
        """Who takes part in the next forward of at most `frames`; one segment may be larger."""
        work: dict[Job, int] = {}
        ranked = []
        for flight in sorted(flights, key=lambda flight: flight.index):
            work[flight.job] = work.get(flight.job, 0) + flight.work
            ranked.append((work[flight.job] + flight.since, flight))
        first, *others = (flight for _, flight in sorted(ranked, key=lambda pair: pair[0]))
        crew, taken = [first], first.segment.forward_frames
        most = min(frames, max(COMPANY * taken, SMALL_FORWARD_FRAMES))
        for flight in others:
            if taken + flight.segment.forward_frames <= most:
                crew.append(flight)
                taken += flight.segment.forward_frames
        self._clock += taken / PATIENCE_OF_SEGMENTS
        return crew


def _rank(job: Job) -> tuple[bool, bool]:
    return job.passed < PATIENCE, job.started
