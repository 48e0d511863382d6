"""The rule by which segments come to the device, without a device."""

from __future__ import annotations

import dataclasses

import hypothesis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.cancellation import JobControl
from f5_worker.engine.scheduler import (
    PATIENCE,
    PATIENCE_OF_SEGMENTS,
    Flight,
    Job,
    Segment,
    Speaker,
    Spoken,
    Turns,
)

SEGMENT = Segment(np.zeros(10, np.float32), (1, 2), frames=500, nfe=4, guidance=2.0, sway=-1.0, seed=0)
SPEAKER: Speaker[object] = object()  # type: ignore[assignment]


def job(n_segments: int, frames: int = 500, *, early: bool = False) -> Job:
    return Job([dataclasses.replace(SEGMENT, frames=frames)] * n_segments, JobControl(60), SPEAKER, early)


def land(flight: Flight) -> None:
    flight.job.land(flight.index, Spoken(np.zeros(1, np.float32), 0.0, 0.0))


def all_that_fit(turns: Turns, flying: list[Flight]) -> None:
    while flight := turns.next(sum(f.segment.forward_frames for f in flying)):
        flying.append(flight)


def test_the_unconditional_half_is_counted() -> None:
    assert SEGMENT.forward_frames == 1000
    assert dataclasses.replace(SEGMENT, guidance=0.0).forward_frames == 500


def test_later_segments_leave_room_for_a_first_one() -> None:
    turns, flying = Turns(8_000), list[Flight]()
    turns.jobs.append(book := job(20))
    all_that_fit(turns, flying)
    assert len(flying) == 4
    turns.jobs.append(note := job(1, frames=2_000))
    all_that_fit(turns, flying)
    assert [flight.job for flight in flying] == [book] * 4 + [note]


def test_a_segment_larger_than_the_room_comes_alone() -> None:
    turns, flying = Turns(4_096), list[Flight]()
    turns.jobs += [job(1, frames=4_000), job(1)]
    all_that_fit(turns, flying)
    assert [flight.segment.frames for flight in flying] == [4_000]


def test_jobs_take_turns_after_their_first_segments() -> None:
    turns, flying = Turns(100_000), list[Flight]()
    jobs = [job(3) for _ in range(3)]
    turns.jobs += jobs
    all_that_fit(turns, flying)
    assert [jobs.index(flight.job) for flight in flying] == [0, 1, 2] * 3
    assert [flight.index for flight in flying] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_listener_hears_the_first_before_the_others_begin() -> None:
    turns, flying = Turns(100_000), list[Flight]()
    turns.jobs.append(job(3, early=True))
    all_that_fit(turns, flying)
    assert len(flying) == 1
    land(flying[0])
    all_that_fit(turns, flying)
    assert [flight.index for flight in flying] == [0, 1, 2]


def test_a_stream_of_short_jobs_does_not_starve_a_long_one() -> None:
    turns = Turns(4_096)
    turns.jobs.append(book := job(5))
    land(turns.next(0))  # type: ignore[arg-type]
    begun = []
    for _ in range(4 * (PATIENCE + 1)):
        turns.jobs.append(job(1))
        flight = turns.next(0)
        assert flight is not None
        begun.append(flight.job)
        land(flight)
    assert [index for index, other in enumerate(begun) if other is book] == [8, 17, 26, 35]


def flights_of(*jobs: Job) -> list[Flight]:
    return [job.take() for job in jobs for _ in range(job.total)]


def test_the_shortest_go_through_a_forward_first() -> None:
    long, short, middle = flights_of(job(1, 4_000), job(1, 500), job(1, 1_000))
    turns = Turns(0)
    assert turns.crew([long, short, middle], 3_000) == [short], "more than twice its frames would be slow for it"
    assert turns.crew([long, middle, short], 100) == [short], "one may be larger"
    assert turns.crew([long, middle], 10_000) == [middle]
    small, *others = flights_of(*(job(1, 100) for _ in range(20)))
    assert turns.crew([small, *others], 10_000) == [small, *others[:9]], "small forwards take as long with company"


def test_equal_ones_go_two_by_two_in_the_order_in_which_they_came() -> None:
    flights, turns = flights_of(*(job(1, 1_500) for _ in range(5))), Turns(0)
    for _ in range(3):
        assert turns.crew(flights, 10_000) == flights[:2]


def test_a_short_job_comes_before_what_is_heard_later_of_a_long_one() -> None:
    *book, note = flights_of(job(4, 500), job(1, 520))
    turns = Turns(0)
    assert turns.crew([*book, note], 2_500) == [book[0], note]
    assert turns.crew(book, 2_500) == book[:2], "in the order in which they are heard"


@hypothesis.settings(max_examples=12)
@given(frames=st.integers(100, 1_000), newcomers=st.integers(50, 1_000))
def test_no_segment_waits_for_more_work_of_newcomers_than_its_promise(frames: int, newcomers: int) -> None:
    """They come as soon as others are done, each shorter or longer."""
    turns = Turns(16_000)
    turns.jobs += [waiting_job := job(1, frames), *(job(1, newcomers) for _ in range(4))]
    flying, others_work = list[Flight](), 0
    all_that_fit(turns, flying)
    while not waiting_job.ended:
        crew = turns.crew(flying, 8_192)
        for flight in crew:
            flight.step += 1
            others_work += flight.segment.forward_frames * (flight.job is not waiting_job)
            if flight.step == flight.segment.nfe:
                flying.remove(flight)
                land(flight)
                turns.jobs.append(job(1, newcomers))
        all_that_fit(turns, flying)
    room = 16_000 * SEGMENT.nfe  # those that are there have their turn
    assert others_work <= (PATIENCE_OF_SEGMENTS + 1) * 2 * frames * SEGMENT.nfe + room


@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(100, 4_096)), min_size=1, max_size=12),
    order=st.lists(st.integers(0, 99), min_size=60, max_size=60),
)
def test_memory_is_bounded_and_nobody_waits_for_more_than_is_promised(
    sizes: list[tuple[int, int]], order: list[int]
) -> None:
    """Jobs of any size arrive and land at any time."""
    turns, flying, waits = Turns(24_000), list[Flight](), dict[Job, int]()
    arriving = [job(n, frames) for n, frames in sizes]
    for choice in order:
        if arriving and choice % 2:
            turns.jobs.append(arriving.pop())
            waits[turns.jobs[-1]] = 0
        elif flying:
            land(flying.pop(choice % len(flying)))
        while flight := turns.next(sum(f.segment.forward_frames for f in flying)):
            flying.append(flight)
            waits = {other: count + 1 for other, count in waits.items() if other.next_segment or other is flight.job}
            waits[flight.job] = 0
        assert sum(f.segment.forward_frames for f in flying) <= 24_000
        assert flying or not any(waiting.next_segment for waiting in turns.jobs)
        assert max(waits.values(), default=0) <= PATIENCE + len(sizes)
