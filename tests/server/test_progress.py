"""Updates on the way: rare, and never so late that they could overtake the result."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from f5_worker.server.progress import MIN_LEFT_S, SEND_EVERY_S, Progress


class Sent(list[tuple[float, float]]):
    """What was sent, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def __call__(self, job: Mapping[str, Any], share: float) -> None:
        self.append((self.now, share))


def run(total_s: float, steps: int = 1_000) -> Sent:
    sent = Sent()
    progress = Progress({"id": "a"}, sent, clock=lambda: sent.now)
    for step in range(1, steps + 1):
        sent.now = total_s * step / steps
        progress(step / steps)
    return sent


def test_a_short_job_sends_nothing() -> None:
    assert run(9.0) == []


def test_a_long_job_tells_now_and_then_but_not_near_its_end() -> None:
    sent = run(60.0)
    times = [at for at, _ in sent]
    assert len(sent) >= 5
    assert all(later - earlier >= SEND_EVERY_S for earlier, later in pairwise(times))
    assert times[-1] <= 60.0 - MIN_LEFT_S
    assert [share for _, share in sent] == sorted(share for _, share in sent)


def test_a_job_of_hours_does_not_tell_that_nothing_is_done() -> None:
    assert next(share for _, share in run(3_600.0)) == 0.01


def test_a_stream_sends_none() -> None:
    now = [0.0]
    progress = Progress({"id": "a"}, None, clock=lambda: now[0])
    for now[0] in range(100):
        progress(now[0] / 100)
