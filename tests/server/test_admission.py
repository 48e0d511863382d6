"""The line of waiting jobs, on a clock that stands: who gets the next place, and who is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import pytest

from f5_worker.errors import QueueFull
from f5_worker.server.admission import DELAY_S_PER_CHAR, SHORT_CHARS, Admission, Place
from f5_worker.settings import Settings

LONG = 20_000
Arrival: TypeAlias = tuple[str | None, int]


class Line:
    """An admission whose clock a test sets, and which notes what got a turn and what was refused, by number."""

    def __init__(self, concurrency: int, queue_jobs: int) -> None:
        self.now = 0.0
        self.admission = Admission(Settings(concurrency=concurrency, queue_jobs=queue_jobs), lambda: self.now)
        self.turns: list[int] = []
        self.refused: list[int] = []
        self.places: dict[int, Place] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def arrive(self, *arrivals: Arrival) -> None:
        for arrival in arrivals:
            self.tasks.append(asyncio.create_task(self._enter(len(self.tasks), *arrival)))
            await settle()

    async def finish(self, *numbers: int) -> None:
        for number in numbers:
            self.admission.leave(self.places[number])
            await settle()

    async def finish_all(self) -> Sequence[int]:
        """Finish the running jobs in the order of their turns until none is left; the order of turns."""
        done = 0
        while done < len(self.turns):
            await self.finish(self.turns[done])
            done += 1
        return self.turns

    async def _enter(self, number: int, caller: str | None, n_chars: int) -> None:
        try:
            self.places[number] = await self.admission.enter(caller, n_chars)
        except QueueFull:
            self.refused.append(number)
        else:
            self.turns.append(number)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await scenario()

    asyncio.run(within())


def order(arrivals: Sequence[Arrival], concurrency: int = 1) -> Sequence[int]:
    """The order of turns of jobs that all arrive at once."""

    async def scenario() -> Sequence[int]:
        line = Line(concurrency, len(arrivals))
        await line.arrive(*arrivals)
        return await line.finish_all()

    return asyncio.run(scenario())


def test_equal_jobs_come_in_the_order_of_arrival() -> None:
    assert order([(None, 10)] * 5) == [0, 1, 2, 3, 4]


def test_short_jobs_come_before_long_ones() -> None:
    assert order([(None, LONG)] * 64 + [(None, 10), (None, 20)])[:4] == [0, 64, 65, 1]


def test_a_long_job_is_not_overtaken_by_short_ones_that_come_much_later() -> None:
    async def scenario() -> None:
        line = Line(1, 10)
        await line.arrive((None, LONG), (None, LONG))
        line.now = LONG * DELAY_S_PER_CHAR - 1
        await line.arrive((None, 10))
        line.now += 2
        await line.arrive((None, 10))
        assert await line.finish_all() == [0, 2, 1, 3]

    run(scenario)


def test_callers_take_turns() -> None:
    assert order([("a", 10)] * 4 + [("b", 10)] * 2 + [("c", 10)]) == [0, 4, 6, 1, 5, 2, 3]


def test_a_caller_with_running_jobs_comes_after_one_without() -> None:
    async def scenario() -> None:
        line = Line(3, 10)
        await line.arrive(*[("a", 10)] * 6, ("b", LONG), ("b", LONG))
        assert line.turns == [0, 1, 2]
        await line.finish(0, 1, 2)
        assert line.turns[3:] == [6, 3, 7], "b has none, then both have one, and so on"

    run(scenario)


def test_long_jobs_leave_a_place_in_eight_to_short_ones() -> None:
    async def scenario() -> None:
        line = Line(16, 64)
        await line.arrive(*[(None, LONG)] * 64)
        assert line.turns == list(range(14))
        await line.arrive((None, SHORT_CHARS), (None, SHORT_CHARS), (None, SHORT_CHARS))
        assert line.turns[14:] == [64, 65]
        await line.finish(64)
        assert line.turns[16:] == [66]

    run(scenario)


@pytest.mark.parametrize(("concurrency", "queue_jobs"), [(2, 64), (8, 0)])
def test_no_place_is_kept_where_there_are_few_or_none_may_wait(concurrency: int, queue_jobs: int) -> None:
    async def scenario() -> None:
        line = Line(concurrency, queue_jobs)
        await line.arrive(*[(None, LONG)] * concurrency)
        assert line.turns == list(range(concurrency))

    run(scenario)


def test_a_full_line_refuses_the_newcomer() -> None:
    async def scenario() -> None:
        line = Line(1, 2)
        await line.arrive(*[(None, 10)] * 4)
        assert (line.turns, line.refused) == ([0], [3])
        assert line.admission.n_jobs == 3

    run(scenario)


def test_in_a_full_line_the_callers_share() -> None:
    async def scenario() -> None:
        line = Line(1, 4)
        await line.arrive(*[("a", 10)] * 5)
        await line.arrive(("b", 10), ("b", 10), ("b", 10))
        assert line.refused == [4, 3, 7], "the last ones of a, until both have two"
        assert await line.finish_all() == [0, 5, 1, 6, 2]

    run(scenario)


def test_a_job_that_is_cancelled_leaves_the_line_or_gives_its_place_on() -> None:
    async def scenario() -> None:
        line = Line(1, 4)
        await line.arrive(*[(None, 10)] * 4)
        line.tasks[1].cancel()
        await settle()
        assert line.admission.n_jobs == 3
        line.admission.leave(line.places[0])  # gives job 2 its turn, and in the same moment it is cancelled
        line.tasks[2].cancel()
        await settle()
        assert line.turns == [0, 3]
        await line.finish(3)
        assert line.admission.n_jobs == 0

    run(scenario)


def test_jobs_that_are_spoken_lend_their_places_until_many_hold_their_audio() -> None:
    async def scenario() -> None:
        line = Line(1, 20)
        await line.arrive(*[(None, 10)] * 12)
        for index in range(9):
            line.admission.lend_spoken(line.places[index])
            await settle()
        assert line.turns == list(range(9)), "eight have lent theirs, and one runs"
        await line.finish(0)
        line.admission.lend_spoken(line.places[8])
        await settle()
        assert line.turns == list(range(10))

    run(scenario)


def test_a_job_whose_caller_reads_slowly_lends_its_place() -> None:
    async def scenario() -> None:
        line = Line(1, 2)
        await line.arrive(*[(None, 10)] * 3)
        line.admission.lend(line.places[0])
        await settle()
        assert (line.turns, line.refused) == ([0, 1], [])
        await line.arrive((None, 10))
        assert line.refused == [3], "one runs, one lent its place and one waits"
        line.admission.lend(line.places[1])
        await settle()
        assert line.turns == [0, 1, 2]
        line.admission.lend(line.places[2])
        await line.arrive((None, 10))
        assert line.refused == [3, 4], "two have lent theirs, as many as may wait, and the third keeps it"
        await line.finish(0, 1, 2)
        assert line.admission.n_jobs == 0
        await line.arrive((None, 10))
        assert line.turns == [0, 1, 2, 5]

    run(scenario)
