"""Responses that the queue would drop are told before they are spoken."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from f5_worker.api.native import Contract
from f5_worker.cancellation import JobControl
from f5_worker.engine.speed import WINDOW_S
from f5_worker.errors import InvalidInput, JobWillNotFit, ResultTooLarge
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import SpeechResponse
from f5_worker.server.limits import JsonLimit
from f5_worker.subtitles.formats import SUBTITLE_FORMATS
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak, stream
from f5_worker.synthesis.size import text_bytes
from tests.conftest import FakeBucket, ToneDevice

ENGLISH = 'It is "I", said he: a b c d. The quick brown fox jumps over the lazy dog, and it says so. ' * 12
CHINESE = "今天天气很好，我们去公园散步吧。" * 20
LIMIT = JsonLimit(300_000)


def request(**fields: Any) -> SynthesizeInput:
    return SynthesizeInput.model_validate({"text": ENGLISH, "voice": "joe", "seed": 1, "normalize": False} | fields)


def items(request: SpeechRequest, worker: Worker, **job: Any) -> list[AudioChunk | SpeechResponse]:
    return list(stream(Job(request, worker, JobControl(60), limit=LIMIT, streaming=True, **job)))


def test_a_stream_that_fits_is_sent_in_chunks(worker: Worker) -> None:
    *chunks, last = items(request(text=ENGLISH[:90], format="mp3"), worker)
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    assert isinstance(last, SpeechResponse)


def test_a_stream_that_does_not_fit_is_refused_before_it_is_spoken(worker: Worker, device: ToneDevice) -> None:
    with pytest.raises(ResultTooLarge, match=r"takes 3\.\d MB.*0\.3 MB.*send the text in parts"):
        items(request(), worker)
    assert device.segments == []


@pytest.mark.parametrize("delivery", ["auto", "s3"])
def test_or_the_bucket_takes_it_whole(worker: Worker, delivery: str) -> None:
    bucket = FakeBucket(worker.settings)
    stored = dataclasses.replace(worker, bucket=bucket)
    (last,) = items(request(delivery=delivery, captions={"formats": ["srt"]}), stored)
    assert isinstance(last, SpeechResponse)
    assert last.audio.key == "output/job.wav"
    assert set(bucket.files) == {"output/job.wav", "timings/job.srt"}
    with pytest.raises(ResultTooLarge):
        items(request(delivery="inline"), stored)


def test_a_bucket_that_is_asked_for_gets_what_was_sent_in_chunks_too(worker: Worker) -> None:
    bucket = FakeBucket(worker.settings)
    asked = request(text=ENGLISH[:30], format="pcm_s16le", delivery="s3")
    *chunks, _ = items(asked, dataclasses.replace(worker, bucket=bucket))
    sent = b"".join(chunk.data for chunk in chunks if isinstance(chunk, AudioChunk))
    assert sent
    assert bucket.files["output/job.pcm"][0] == sent


def test_a_bucket_that_is_not_there_is_told_before_the_job_is_spoken(worker: Worker, device: ToneDevice) -> None:
    with pytest.raises(InvalidInput, match="this worker has no bucket"):
        speak(Job(request(delivery="s3"), worker, JobControl(60)))
    assert device.segments == []


def test_a_whole_reply_is_refused_before_it_is_spoken_where_nothing_can_fit(worker: Worker, device: ToneDevice) -> None:
    with pytest.raises(ResultTooLarge, match="F5_MAX_REPLY_BYTES"):
        speak(Job(request(allow_reencode=True), worker, JobControl(60), limit=LIMIT))
    assert device.segments == []
    short = request(text=ENGLISH[:180], sample_rate=48_000, allow_reencode=True)
    response = speak(Job(short, worker, JobControl(60), limit=LIMIT))
    assert response.audio.format == "mp3"
    assert "was too large for the reply" in response.warnings[0]


SRT = "1\n00:00:01,000 --> 00:00:04,000\nThe first line.\n\n2\n00:00:06,000 --> 00:00:20,000\nAnd the second one.\n"


def test_a_track_is_measured_by_its_length(worker: Worker, device: ToneDevice) -> None:
    track = {"action": "dub", "subtitles": SRT, "voice": "joe", "seed": 2}
    with pytest.raises(ResultTooLarge, match=r"takes 1\.3 MB"):
        items(DubInput.model_validate(track), worker)
    with pytest.raises(ResultTooLarge, match=r"takes 5\.8 MB"):
        items(DubInput.model_validate(track | {"track_s": 90.0}), worker)
    assert device.segments == []


@pytest.mark.parametrize("text", [ENGLISH, pytest.param(CHINESE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("timings", [pytest.param(None, marks=pytest.mark.slow), "words", "characters"])
@pytest.mark.parametrize(
    "formats",
    [pytest.param([], marks=pytest.mark.slow), pytest.param(["srt"], marks=pytest.mark.slow), list(SUBTITLE_FORMATS)],
)
def test_what_the_text_takes_is_bounded(worker: Worker, text: str, timings: str | None, formats: list[str]) -> None:
    captions = {"formats": formats, "style": {"mode": "word"}} if formats else None
    asked = request(text=text, timings=timings, captions=captions)
    contract = Contract({}, "job")
    contract.request = asked
    n_bytes = 0
    for item in stream(Job(asked, worker, JobControl(60), streaming=True)):
        sent = (
            contract.chunk(0, dataclasses.replace(item, data=b"")) if isinstance(item, AudioChunk) else item.to_json()
        )
        n_bytes += len(json.dumps(sent))
    assert n_bytes < text_bytes(asked, text, LIMIT) < 3 * n_bytes + 10_000


@pytest.mark.parametrize("text", ["Hello there, this is a test. " * 5, "Hello there, this is a test. " * 100])
def test_what_cannot_be_done_in_time_is_told_before_it_is_begun(worker: Worker, device: ToneDevice, text: str) -> None:
    def say(left_s: float) -> None:
        speak(Job(request(text=text), worker, JobControl(left_s)))

    say(60.0)  # nothing was measured
    n_spoken = len(device.segments)
    worker.engine.engines[0].speed.add(device, 1_000 * WINDOW_S, WINDOW_S)
    with pytest.raises(JobWillNotFit) as raised:
        say(2.0)
    assert "take at least" in raised.value.message
    assert "the job has 2 s (F5_JOB_TIMEOUT_S)" in raised.value.message
    assert len(device.segments) == n_spoken
    say(600.0)
