"""Updates on the way: rare, and never so late that they could overtake the result."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from f5_worker.schema.responses import AudioResponse, BatchItemResponse, ErrorResponse, Metrics, SynthesizeResponse
from f5_worker.server.progress import MIN_LEFT_S, SEND_EVERY_S, Progress


class Sent(list[tuple[float, float]]):
    """What was sent, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def __call__(self, job: Mapping[str, Any], update: Mapping[str, Any]) -> None:
        self.append((self.now, update["progress"]))


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


def test_an_update_names_the_items_of_a_batch_that_are_done() -> None:
    updates: list[Mapping[str, Any]] = []
    now = [0.0]
    progress = Progress({"id": "a"}, lambda job, update: updates.append(update), clock=lambda: now[0])
    now[0] = 10.0
    progress(0.1)
    error = ErrorResponse(code="UNKNOWN_VOICE", message="a long message")
    progress.add_result(BatchItemResponse(id="a", index=0, error=error))
    stored = AudioResponse(format="wav", sample_rate=24_000, duration_s=1.0, key="output/j-b.wav", url="https://h/b")
    metrics = Metrics(queue_ms=0, reference_ms=0, text_ms=0, engine_wait_ms=0, engine_ms=0, total_ms=0, nfe=4, rtf=0.0)
    result = SynthesizeResponse(audio=stored, seed=1, model="m", metrics=metrics, warnings=[], segments=[])
    progress.add_result(BatchItemResponse(id="b", index=1, result=result))
    now[0] = 20.0
    progress(0.2)
    assert updates == [
        {"progress": 0.1},
        {
            "progress": 0.2,
            "succeeded": 1,
            "failed": 1,
            "items": [{"id": "a", "error": "UNKNOWN_VOICE"}, {"id": "b", "key": "output/j-b.wav"}],
        },
    ]
