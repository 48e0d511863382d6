"""The segments of a long text are made while the first ones are spoken."""

from __future__ import annotations

import pytest

from f5_worker.cancellation import JobControl
from f5_worker.engine.types import Segment
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.prepare import plan_text
from f5_worker.synthesis.response import speak
from tests.conftest import ToneDevice

YEARS = range(1900, 1960)
LONG = " ".join(f"In {year} the committee met again, and paid ${year - 1800} for the house." for year in YEARS)


def job(worker: Worker, text: str = LONG, control: JobControl | None = None) -> Job:
    request = SynthesizeInput(text=text, voice="joe", seed=1)
    return Job(request, worker, control or JobControl(60))


def test_the_first_segment_is_made_before_the_numbers_behind_it_are_read(worker: Worker) -> None:
    own = job(worker)
    with plan_text(own, own.request, at_once=False) as text:
        first, _ = next(text.plan.batches())
        assert len(first) == len(text.plan.segments) == 1
        (passage,) = text.reading.passages
        made = passage.sentences._made
        assert 1 < len(made) < len(YEARS) / 2


def test_segments_are_the_same_whenever_they_are_made(worker: Worker) -> None:
    own = job(worker)
    with plan_text(own, own.request) as text:
        wanted, duration_s = text.plan, text.plan.duration_s
    with plan_text(own, own.request, at_once=False) as text:
        batches = list(text.plan.batches())
        assert [len(batch) for batch, _ in batches][:3] == [1, 4, 16]
        assert [segment.tokens for batch, _ in batches for segment in batch] == [s.tokens for s in wanted.segments]
        assert [part.origins for part in text.plan.parts] == [part.origins for part in wanted.parts]
        shares = [share for _, share in batches]
        assert [begin for begin, _ in shares[1:]] == [end for _, end in shares[:-1]]
        assert abs(text.plan.duration_s - duration_s) < 0.25 * duration_s


def test_a_text_is_spoken_whole_and_its_progress_only_rises(worker: Worker, device: ToneDevice) -> None:
    shares: list[float] = []
    control = JobControl(60, shares.append)
    reply = speak(job(worker, LONG + " Ж.", control))
    said = " ".join(segment.text for segment in reply.segments or ())
    assert said.startswith("In nineteen hundred the committee")
    assert said.endswith("one hundred and fifty nine dollars for the house. Ж.")
    assert shares == sorted(shares)
    assert any("1 characters are unknown" in warning for warning in reply.warnings)


def test_a_failed_segment_drops_the_batch_behind_it(worker: Worker, device: ToneDevice) -> None:
    """The engine has nothing left of a job that failed while its next batch was being made."""

    def fail(segment: Segment, step: int) -> None:
        raise ValueError("no")

    device.before = fail
    own = job(worker)
    with pytest.raises(ValueError, match="no"):
        speak(own)
    assert worker.engine.engines[0]._scheduler.jobs == []
