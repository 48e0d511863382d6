"""The simulation of RunPod's endpoints, beside queueing theory, the SDK's own loop and what was measured."""

from __future__ import annotations

import asyncio
import heapq
import math
import selectors
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from runpod.serverless.modules.rp_scale import JobScaler

from bench import scale
from bench.device_simulation import Device, DeviceQueue, Job
from bench.endpoint_simulation import Endpoint, Platform, Setting

PLAIN = Device(1.0, 1.0, 0.0)  # a second for a second
AT_ONCE = Platform(0.0, full_s=0.0, turn_s=0.0)
NEVER_S = 1e9


def poisson_jobs(n: int, rate: float, mean_s: float = 1.0) -> list[Job]:
    random = np.random.default_rng(3)
    arrived_s = np.cumsum(random.exponential(1 / rate, n))
    return [Job(float(at), (float(s),)) for at, s in zip(arrived_s, random.exponential(mean_s, n), strict=True)]


def fixed_workers(n: int, concurrency: int = 1) -> Setting:
    return Setting(concurrency, active=n, most=n)


def run(
    jobs: Sequence[Job], setting: Setting, platform: Platform = AT_ONCE, device: Device = PLAIN, n_ready: int = 0
) -> Any:
    return Endpoint(device, platform, setting, n_ready, (0.0, jobs[-1].arrived_s)).run(jobs)


# -- queueing theory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 3, 10])
def test_jobs_begin_when_a_worker_is_free_in_the_order_of_their_arrival(n_workers: int) -> None:
    jobs = poisson_jobs(1_000, 0.9 * n_workers)
    run(jobs, fixed_workers(n_workers))
    free_s = [0.0] * n_workers
    for job in jobs:
        done_s = max(job.arrived_s, heapq.heappop(free_s)) + job.segments_s[0]
        heapq.heappush(free_s, done_s)
        assert job.done_s == pytest.approx(done_s, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("n_workers", "busy"), [(1, 0.5), (2, 0.6), (4, 0.6)])
def test_mean_waits_are_those_of_erlang(n_workers: int, busy: float) -> None:
    load = busy * n_workers
    random = np.random.default_rng(3).random((2, 30_000))
    waits_s, busy_s, active_s = [], 0.0, 0.0
    for gaps, durations in (random, 1 - random):  # of both halves the mean is nearer to the expected one
        arrived_s = np.cumsum(-np.log(gaps) / load)
        jobs = [Job(float(at), (float(s),)) for at, s in zip(arrived_s, -np.log(durations), strict=True)]
        usage = run(jobs, fixed_workers(n_workers))
        waits_s += [job.done_s - job.arrived_s - job.segments_s[0] for job in jobs]
        busy_s, active_s = busy_s + usage.busy_s, active_s + usage.active_s
    all_busy = load**n_workers / math.factorial(n_workers) / (1 - busy)
    waiting = all_busy / (sum(load**k / math.factorial(k) for k in range(n_workers)) + all_busy)
    assert np.mean(waits_s) == pytest.approx(waiting / (n_workers - load), rel=0.05)
    assert busy_s / active_s == pytest.approx(busy, rel=0.02)


# -- conservation and limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scaler", ["queue delay", "request count"])
def test_every_job_is_done_once_and_none_sooner_than_alone(scaler: Any) -> None:
    device, jobs = Device(0.01, 0.011, 5.0, 0.004), poisson_jobs(2_000, 40.0, 5.0)
    for job in jobs[::10]:
        job.segments_s = scale.segments_of(40.0)
    usage = run(jobs, Setting(4, scaler, 2), Platform(3.0), device)
    for job in jobs:
        alone_s = 0.01 * (sum(job.segments_s) + 5.0 * len(job.segments_s)) + 0.004
        assert job.done_s - job.arrived_s > alone_s - 1e-5
        assert job.arrived_s < job.first_s <= job.done_s
        assert job.n_left == 0
    assert usage.busy_s <= usage.flex_s
    works_s = sum(sum(job.segments_s) + 5.0 * len(job.segments_s) for job in jobs)
    assert 0.95 * 0.01 * works_s < usage.busy_s < 0.011 * works_s


def test_a_worker_with_a_full_queue_is_as_fast_as_its_device() -> None:
    device = Device(0.01, 0.01, 5.0)
    jobs = [Job(0.0, (3.0 + i % 10,)) for i in range(400)]
    run(jobs, fixed_workers(1, 64), Platform(0.0), device)
    assert max(job.done_s for job in jobs) == pytest.approx(
        0.01 * sum(job.segments_s[0] + 5.0 for job in jobs), rel=0.02
    )


def test_the_device_computes_the_shortest_first_and_a_jobs_first_segment_before_its_others() -> None:
    queue, long, short = DeviceQueue(PLAIN), Job(0.0, (10.0, 50.0)), Job(2.0, (3.0,))
    queue.add(0.0, long)
    queue.add(2.0, short)
    while queue.next_s < math.inf:
        now_s = queue.next_s
        for job in queue.finish(now_s):
            job.done_s = now_s
    assert short.done_s == pytest.approx(5.0)
    assert (long.first_s, long.done_s) == (pytest.approx(13.0), pytest.approx(63.0))


# -- the scaler -------------------------------------------------------------------------------------------------------


def test_queue_delay_starts_a_worker_once_a_job_has_waited_and_stops_it_when_it_was_idle() -> None:
    jobs = [Job(0.5, (2.0,)), Job(40.5, (2.0,)), Job(100.5, (2.0,))]
    usage = run(jobs, Setting(1, value=4.0), Platform(10.0, turn_s=0.0))
    assert [job.done_s - job.arrived_s for job in jobs] == pytest.approx([4.5 + 10 + 2, 4.5 + 2 + 2, 4.5 + 2 + 2])
    assert usage.workers == 1
    assert usage.flex_s == pytest.approx((10 + 2 + 5) + (2 + 2 + 5), abs=2)


def test_flashboot_keeps_a_worker_for_a_while() -> None:
    jobs = [Job(0.5, (1.0,)), Job(400.5, (1.0,))]
    run(jobs, Setting(1, value=4.0), Platform(10.0, turn_s=0.0, keep_s=300.0))
    assert jobs[1].done_s - jobs[1].arrived_s == pytest.approx(4.5 + 10 + 1)


@pytest.mark.parametrize(("most", "workers"), [(100, 4), (2, 2)])
def test_request_count_has_a_worker_for_every_so_many_jobs(most: int, workers: int) -> None:
    jobs = [Job(0.5, (100.0,)) for _ in range(12)] + [Job(at_s, (1.0,)) for at_s in (50.0, 60.0)]
    assert run(jobs, Setting(4, "request count", 4, most=most), Platform(1.0)).workers == workers


# -- the SDK ----------------------------------------------------------------------------------------------------------


class _NoWait(selectors.SelectSelector):
    """Lets time pass instead of waiting."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now_s += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self) -> float:
        return self._no_wait.now_s


async def run_sdk(concurrency: Callable[[int], int], arrived_s: Sequence[float], job_s: float) -> list[float]:
    """Return when the SDK's own loop was done with jobs.

    Args:
        concurrency: of the number of jobs that were done.
    """
    loop, waiting, arrived = asyncio.get_running_loop(), [], asyncio.Event()
    done_s: list[float] = []

    async def send() -> None:
        for number, at_s in enumerate(arrived_s):
            await asyncio.sleep(at_s - loop.time())
            waiting.append({"id": str(number), "input": {}})
            arrived.set()

    async def fetch(_session: object, n: int) -> list[dict[str, Any]]:
        while not waiting:
            arrived.clear()
            await arrived.wait()
        jobs = waiting[:n]
        del waiting[:n]
        return jobs

    async def handle(*_: object) -> None:
        await asyncio.sleep(job_s)
        done_s.append(loop.time())

    async def stop_signals(_session: object) -> list[str]:
        await asyncio.sleep(NEVER_S)
        return []

    hooks = {"jobs_fetcher": fetch, "jobs_handler": handle, "stop_signals_fetcher": stop_signals}
    times = {"jobs_fetcher_timeout": NEVER_S, "stop_signals_fetcher_timeout": NEVER_S}
    config = {"handler": handle, "concurrency_modifier": lambda _: concurrency(len(done_s)), **hooks, **times}
    tasks = [asyncio.create_task(JobScaler(config).run()), asyncio.create_task(send())]
    while len(done_s) < len(arrived_s):
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return done_s


@pytest.mark.parametrize("concurrency", [1, 2, 5, 32])
def test_a_worker_takes_and_begins_jobs_when_the_sdk_does(concurrency: int) -> None:
    random = np.random.default_rng(concurrency)
    arrived_s = [float(s) for s in np.cumsum(random.exponential(0.3, 30))]
    with asyncio.Runner(loop_factory=_Loop) as runner:
        done_s = runner.run(run_sdk(lambda _: concurrency, arrived_s, 0.137))
    jobs = [Job(at_s, (1e-5,)) for at_s in arrived_s]
    run(jobs, fixed_workers(1, concurrency), Platform(0.0), Device(1.0, 1.0, 0.0, beside_s=0.137))
    assert sorted(job.done_s for job in jobs) == pytest.approx(sorted(done_s), abs=0.002)


@pytest.mark.parametrize(("first", "then"), [(2, 8), (8, 2), (1, 4)])
def test_a_worker_takes_no_job_until_it_has_none_when_its_concurrency_changes(first: int, then: int) -> None:
    def concurrency(n_done: int) -> int:
        return first if n_done < 10 else then

    arrived_s = [0.05 * i + 0.013 for i in range(40)]
    with asyncio.Runner(loop_factory=_Loop) as runner:
        done_s = runner.run(run_sdk(concurrency, arrived_s, 0.537))
    jobs = [Job(at_s, (1e-5,)) for at_s in arrived_s]
    setting = Setting(first, active=1, most=1, modify=lambda n, n_done, busy_s: concurrency(n_done))
    run(jobs, setting, Platform(0.0), Device(1.0, 1.0, 0.0, beside_s=0.537))
    assert sorted(job.done_s for job in jobs) == pytest.approx(sorted(done_s), abs=0.002)


# -- what was measured ------------------------------------------------------------------------------------------------


def test_the_simulated_device_gives_what_the_engine_was_measured_to_do() -> None:
    device = scale.measured_device()
    compared = scale.compare_with_engine(device)
    for name, pair in compared.items():
        if name != "3.9 s into that load, p95":  # see docs/scaling.md
            assert pair["simulated_s"] == pytest.approx(pair["measured_s"], rel=0.09), name


def test_a_load_is_the_same_every_time_and_bursts_have_its_mean() -> None:
    device = scale.measured_device()
    load = scale.Load(device, Platform(10.0), 50, n_jobs=300)
    setting = scale.compared_settings(device, "captions", 50)["request count 2"]
    assert load.run(setting) == load.run(setting)
    times = scale.Arrivals(5.0, 20.0, 120.0).times(np.random.default_rng(0), 10.0, 100_000)
    assert np.all(np.diff(times) >= 0)
    assert times[-1] == pytest.approx(10_000, rel=0.02)
    assert np.mean(times % 120 < 20) == pytest.approx(100 / 120, rel=0.02)
