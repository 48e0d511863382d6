"""The scheduler's rules, without a device."""

from __future__ import annotations

from types import SimpleNamespace

import hypothesis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.cancellation import JobControl
from f5_worker.engine.scheduler import MAX_DELAY_FACTOR, MAX_PASSED, MAX_UNREAD, EngineJob, RunningSegment, Scheduler
from f5_worker.engine.types import ModelRunner, Segment, SegmentAudio
from f5_worker.models.f5.config import make_segment

NFE = 4
RUNNER: ModelRunner[object] = SimpleNamespace(whole_segments=False)  # type: ignore[assignment]


def segment(frames: int, guidance_scale: float = 2.0) -> Segment:
    return make_segment(np.zeros(10, np.float32), (1, 2), frames, NFE, guidance_scale, -1.0, 0)


def job(n_segments: int, frames: int = 500, *, early: bool = False) -> EngineJob:
    return EngineJob([segment(frames)] * n_segments, JobControl(60), RUNNER, early)


def finish(item: RunningSegment) -> None:
    item.job.finish_segment(item.index, SegmentAudio(np.zeros(1, np.float32), 0.0, 0.0))


def begin_all_that_fit(scheduler: Scheduler, running: list[RunningSegment]) -> None:
    while item := scheduler.next_segment(sum(item.segment.forward_frames for item in running)):
        running.append(item)


def test_the_unconditional_row_is_counted() -> None:
    assert segment(500).forward_frames == 1000
    assert segment(500, 0.0).forward_frames == 500


def test_later_segments_leave_room_for_a_first_one() -> None:
    scheduler, running = Scheduler(8_000), list[RunningSegment]()
    scheduler.jobs.append(long_job := job(20))
    begin_all_that_fit(scheduler, running)
    assert len(running) == 4
    scheduler.jobs.append(short_job := job(1, frames=2_000))
    begin_all_that_fit(scheduler, running)
    assert [item.job for item in running] == [long_job] * 4 + [short_job]


def test_a_segment_larger_than_the_limit_comes_alone() -> None:
    scheduler, running = Scheduler(4_096), list[RunningSegment]()
    scheduler.jobs += [job(1, frames=4_000), job(1)]
    begin_all_that_fit(scheduler, running)
    assert [item.segment.frames for item in running] == [4_000]


def test_jobs_take_turns_after_their_first_segments() -> None:
    scheduler, running = Scheduler(100_000), list[RunningSegment]()
    jobs = [job(3) for _ in range(3)]
    scheduler.jobs += jobs
    begin_all_that_fit(scheduler, running)
    assert [jobs.index(item.job) for item in running] == [0, 1, 2] * 3
    assert [item.index for item in running] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_with_early_the_first_segment_finishes_before_the_others_begin() -> None:
    scheduler, running = Scheduler(100_000), list[RunningSegment]()
    scheduler.jobs.append(job(3, early=True))
    begin_all_that_fit(scheduler, running)
    assert len(running) == 1
    finish(running[0])
    begin_all_that_fit(scheduler, running)
    assert [item.index for item in running] == [0, 1, 2]


def test_with_early_no_more_than_a_bound_begin_ahead_of_the_reader() -> None:
    scheduler, running = Scheduler(100_000), list[RunningSegment]()
    scheduler.jobs.append(stream := job(MAX_UNREAD + 9, frames=10, early=True))
    scheduler.jobs.append(whole := job(MAX_UNREAD + 9, frames=10))
    finish(scheduler.next_segment(0))  # type: ignore[arg-type]
    begin_all_that_fit(scheduler, running)
    assert [sum(item.job is one for item in running) for one in (stream, whole)] == [MAX_UNREAD - 1, MAX_UNREAD + 9]
    for item in running:
        finish(item)
    assert not stream.needs_device
    stream.n_read = 3
    assert stream.needs_device
    begin_all_that_fit(scheduler, running)
    assert len(running) == 2 * MAX_UNREAD + 8 + 3


def test_a_stream_of_short_jobs_does_not_starve_a_long_one() -> None:
    scheduler = Scheduler(4_096)
    scheduler.jobs.append(long_job := job(5))
    finish(scheduler.next_segment(0))  # type: ignore[arg-type]
    started = []
    for _ in range(4 * (MAX_PASSED + 1)):
        scheduler.jobs.append(job(1))
        item = scheduler.next_segment(0)
        assert item is not None
        started.append(item.job)
        finish(item)
    assert [index for index, other in enumerate(started) if other is long_job] == [8, 17, 26, 35]


def all_begun(*jobs: EngineJob) -> list[RunningSegment]:
    return [job.begin_segment() for job in jobs for _ in range(job.n_segments)]


def test_the_shortest_are_scheduled_first() -> None:
    long, short, middle = all_begun(job(1, 4_000), job(1, 500), job(1, 1_000))
    scheduler = Scheduler(0)
    assert scheduler.schedule_step([long, short, middle], 3_000) == [short], (
        "more than twice its frames would be slow for it"
    )
    assert scheduler.schedule_step([long, middle, short], 100) == [short], "one may be larger"
    assert scheduler.schedule_step([long, middle], 10_000) == [middle]
    small, *others = all_begun(*(job(1, 100) for _ in range(20)))
    assert scheduler.schedule_step([small, *others], 10_000) == [small, *others[:9]], (
        "a small forward takes no longer with more segments"
    )


def test_equal_ones_are_scheduled_two_by_two_in_order_of_arrival() -> None:
    items, scheduler = all_begun(*(job(1, 1_500) for _ in range(5))), Scheduler(0)
    for _ in range(3):
        assert scheduler.schedule_step(items, 10_000) == items[:2]


def test_a_short_job_comes_before_later_segments_of_a_long_one() -> None:
    *long_job, short_job = all_begun(job(4, 500), job(1, 520))
    scheduler = Scheduler(0)
    assert scheduler.schedule_step([*long_job, short_job], 2_500) == [long_job[0], short_job]
    assert scheduler.schedule_step(long_job, 2_500) == long_job[:2], "in the order of the audio"


@hypothesis.settings(max_examples=12)
@given(frames=st.integers(100, 1_000), later_frames=st.integers(50, 1_000))
def test_no_segment_waits_for_more_work_of_later_jobs_than_the_bound(frames: int, later_frames: int) -> None:
    """A later job, shorter or longer, arrives whenever one is done."""
    scheduler = Scheduler(16_000)
    scheduler.jobs += [waiting_job := job(1, frames), *(job(1, later_frames) for _ in range(4))]
    running, others_work = list[RunningSegment](), 0
    begin_all_that_fit(scheduler, running)
    while not waiting_job.ended:
        batch = scheduler.schedule_step(running, 8_192)
        for item in batch:
            item.step += 1
            others_work += item.segment.forward_frames * (item.job is not waiting_job)
            if item.step == item.segment.nfe:
                running.remove(item)
                finish(item)
                scheduler.jobs.append(job(1, later_frames))
        begin_all_that_fit(scheduler, running)
    present = 16_000 * NFE  # segments that are on the device already come first
    assert others_work <= (MAX_DELAY_FACTOR + 1) * 2 * frames * NFE + present


@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(100, 4_096)), min_size=1, max_size=12),
    order=st.lists(st.integers(0, 99), min_size=60, max_size=60),
)
def test_memory_is_bounded_and_so_is_the_wait_of_each_job(sizes: list[tuple[int, int]], order: list[int]) -> None:
    """Jobs of any size arrive and finish at any time."""
    scheduler, running, waits = Scheduler(24_000), list[RunningSegment](), dict[EngineJob, int]()
    arriving = [job(n, frames) for n, frames in sizes]
    for choice in order:
        if arriving and choice % 2:
            scheduler.jobs.append(arriving.pop())
            waits[scheduler.jobs[-1]] = 0
        elif running:
            finish(running.pop(choice % len(running)))
        while item := scheduler.next_segment(sum(item.segment.forward_frames for item in running)):
            running.append(item)
            waits = {other: count + 1 for other, count in waits.items() if other.next_segment or other is item.job}
            waits[item.job] = 0
        assert sum(item.segment.forward_frames for item in running) <= 24_000
        assert running or not any(waiting.next_segment for waiting in scheduler.jobs)
        assert max(waits.values(), default=0) <= MAX_PASSED + len(sizes)
