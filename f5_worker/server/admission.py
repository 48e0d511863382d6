"""The line of jobs that wait for a place to run: short ones before long ones, and callers in turn.

- A free place goes to the caller with the fewest running jobs, among equals to the one whose last turn is longest ago.
  Callers that cannot be told apart count as one.
- Of one caller's jobs, a longer one counts as if it had come later, so that it is overtaken by shorter ones that come
  soon after it, and by none that comes later than that.
- One place in eight is kept for short jobs, which need not wait until one of many long ones has ended.
- A job lends its place to the next one while its caller reads a stream slowly, and once all of it is spoken and only
  has to be encoded and delivered. It counts among those that wait.
- In a full line, a caller with fewer waiting jobs takes the place of the last job of the caller with the most.

Everything here happens on the event loop; a job that waits takes no thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from f5_worker.errors import QueueFull
from f5_worker.settings import Settings

SHORT_CHARS = 1_000  # about a minute of speech
DELAY_S_PER_CHAR = 0.01  # 20,000 characters count as 200 s later
PLACES_PER_RESERVED = 8
MIN_SPOKEN = 8  # jobs that may be encoded while others are spoken; more where more run at a time


@dataclass(eq=False)
class Place:
    """A job's place in the line, and then among the running jobs.

    Attributes:
        rank: when the job came, by its length later.
        turn: done when the job may run.
        is_answered: the job was stopped, and its thread has not come to an end yet. One more job may wait meanwhile:
            the transport has room for it.
        is_lent: the job does not need the device now, and another one runs in its place.
    """

    caller: str | None
    is_short: bool
    rank: float
    turn: asyncio.Future[None]
    is_answered: bool = False
    is_lent: bool = False


class Admission:
    """Decides which job runs next, and refuses those beyond the settings' bounds.

    Args:
        clock: seconds; tests replace it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._n_places, self._max_waiting = settings.concurrency, settings.queue_jobs
        # Of jobs that may not wait, none is refused for it.
        self._n_reserved = min(self._n_places // PLACES_PER_RESERVED, self._max_waiting)
        self._clock = clock
        self._running: list[Place] = []
        self._waiting: list[Place] = []
        self._last_turns: dict[str | None, int] = {}
        self._n_turns = 0

    @property
    def n_jobs(self) -> int:
        """Return how many jobs run and wait."""
        return len(self._running) + len(self._waiting)

    @property
    def n_running(self) -> int:
        """Return how many jobs run, with those that lent their place."""
        return len(self._running)

    async def enter(self, caller: str | None, n_chars: int) -> Place:
        """Wait for a place to run, which `leave` gives back.

        Args:
            caller: who sent the job; None if not known.
            n_chars: length of its text.

        Raises:
            QueueFull: as many jobs as allowed run and wait.
        """
        rank = self._clock() + n_chars * DELAY_S_PER_CHAR
        place = Place(caller, n_chars <= SHORT_CHARS, rank, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        self._give_turns()
        n_lent = self._n_lent
        if len(self._waiting) > max(0, self._max_waiting - n_lent) + sum(other.is_answered for other in self._running):
            self._refuse(place)
        try:
            await place.turn
        except BaseException:  # the caller cancelled it, maybe in the moment in which it got its turn
            self.leave(place)
            raise
        return place

    def leave(self, place: Place) -> None:
        """Remove a job that has ended, or waits no longer."""
        for places in (self._running, self._waiting):
            if place in places:
                places.remove(place)
        if all(other.caller != place.caller for other in (*self._running, *self._waiting)):
            self._last_turns.pop(place.caller, None)
        self._give_turns()

    def lend(self, place: Place) -> None:
        """Let another job run meanwhile, unless as many as may wait do so already."""
        if place in self._running and self._n_lent < self._max_waiting:
            place.is_lent = True
            self._give_turns()

    def lend_spoken(self, place: Place) -> None:
        """Let another job run beside one that is spoken and holds its audio, unless many do."""
        if self._n_lent < max(self._n_places, MIN_SPOKEN):
            self.lend(place)

    @property
    def _n_lent(self) -> int:
        return sum(place.is_lent for place in self._running)

    def _give_turns(self) -> None:
        while place := self._next():
            self._waiting.remove(place)
            self._running.append(place)
            self._n_turns += 1
            self._last_turns[place.caller] = self._n_turns
            place.turn.set_result(None)

    def _next(self) -> Place | None:
        n_free = self._n_places - len(self._running) + self._n_lent
        only_short = n_free <= self._n_reserved
        n_running = Counter(place.caller for place in self._running)
        return min(
            (place for place in self._waiting if n_free and (place.is_short or not only_short)),
            key=lambda place: (n_running[place.caller], self._last_turns.get(place.caller, 0), place.rank),
            default=None,
        )

    def _refuse(self, newcomer: Place) -> None:
        """Refuse the newcomer, or the last job of the caller with the most waiting jobs, if that is two more."""
        n_waiting = Counter(place.caller for place in self._waiting)
        crowd, n_crowd = n_waiting.most_common(1)[0]
        refused = newcomer
        if n_crowd > n_waiting[newcomer.caller]:
            crowded = [place for place in reversed(self._waiting) if place.caller == crowd]
            refused = max(crowded, key=lambda place: place.rank)
        self._waiting.remove(refused)
        refused.turn.set_exception(
            QueueFull(
                f"{self.n_jobs} jobs are here already, at most {self._n_places} run and {self._max_waiting} wait "
                "(F5_CONCURRENCY, F5_QUEUE_JOBS); send it again later"
            )
        )
