"""A result in pieces: joined they are the very file of the whole job."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from typing import Any

import numpy as np
import pytest

from f5_worker.api.native import Contract
from f5_worker.audio.decode import decode
from f5_worker.cancellation import JobControl
from f5_worker.engine.types import Segment
from f5_worker.errors import JobCancelled
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import SpeechResponse, SynthesizeResponse
from f5_worker.server.limits import MAX_CHUNK_BYTES, split_chunk
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak, stream, word_response
from tests.conftest import ToneDevice

LONG = " ".join(f"Sentence number {word} goes by, and it says so." for word in ["one", "two", "three", "four"] * 3)


def request(**fields: Any) -> SynthesizeInput:
    return SynthesizeInput.model_validate({"text": LONG, "voice": "joe", "seed": 1, "format": "pcm_s16le"} | fields)


def streamed(job: SpeechRequest, worker: Worker) -> tuple[list[AudioChunk], SpeechResponse]:
    *chunks, last = stream(Job(job, worker, JobControl(60), streaming=True))
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    assert isinstance(last, SpeechResponse)
    return [part for chunk in chunks for part in split_chunk(chunk)], last  # type: ignore[arg-type]


def sound(chunks: list[AudioChunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def whole(job: SpeechRequest, worker: Worker) -> SpeechResponse:
    first_s = worker.settings.stream_first_s
    live = isinstance(job, SynthesizeInput) and job.loudness_lufs is None  # else nothing is heard early
    if isinstance(job, SynthesizeInput) and live and job.first_segment_s is None:
        job = job.model_copy(update={"first_segment_s": first_s})
    return speak(Job(job, worker, JobControl(60)))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sample_rate": 44_100},
        {"cross_fade_s": 0.15},
        {"fix_duration_s": 30.0},
        {"pad_start_s": 0.5, "pad_end_s": 0.25},
        pytest.param({"loudness_lufs": -20.0, "trim_silence": True}, marks=pytest.mark.slow),
        {"format": "opus"},
        pytest.param({"format": "aac"}, marks=pytest.mark.slow),
    ],
)
def test_the_pieces_joined_are_the_whole_file(worker: Worker, fields: dict[str, Any]) -> None:
    job = request(**fields)
    chunks, last = streamed(job, worker)
    assert len(chunks) > 3
    assert sound(chunks) == whole(job, worker).audio.data
    assert last.audio.data is None


@pytest.mark.slow
@pytest.mark.parametrize("format", ["wav", "mp3"])
def test_formats_with_a_streams_header_decode_to_the_same(worker: Worker, format: str) -> None:
    job = request(format=format)
    data = sound(streamed(job, worker)[0])
    heard = decode(data, max_bytes=10**8, max_s=600).samples
    expected = decode(whole(job, worker).audio.data or b"", max_bytes=10**8, max_s=600).samples
    assert abs(len(heard) - len(expected)) <= (0 if format == "wav" else 4_000)
    if format == "wav":
        assert np.array_equal(heard, expected)


def test_the_times_of_chunks_join(worker: Worker) -> None:
    chunks, last = streamed(request(), worker)
    for left, right in itertools.pairwise(chunks):
        assert left.start_s + left.duration_s == pytest.approx(right.start_s, abs=1e-5)
    assert chunks[0].start_s == 0
    assert chunks[-1].start_s + chunks[-1].duration_s == pytest.approx(last.audio.duration_s, abs=1e-5)


def test_the_first_piece_is_short_on_purpose(worker: Worker) -> None:
    chunks, last = streamed(request(), worker)
    assert isinstance(last, SynthesizeResponse)
    assert chunks[0].duration_s <= 2 * worker.settings.stream_first_s
    assert len(last.segments) > 1


def test_the_first_piece_comes_before_the_last_segment_is_spoken(worker: Worker, device: ToneDevice) -> None:
    heard = threading.Event()

    def hold_later_segments(segment: Segment, step: int) -> None:
        if device.segments:
            assert heard.wait(10)

    device.before = hold_later_segments
    pieces = stream(Job(request(), worker, JobControl(60), streaming=True))
    assert isinstance(next(pieces), AudioChunk)
    assert len(device.segments) == 1
    heard.set()
    assert isinstance(list(pieces)[-1], SpeechResponse)


def test_every_piece_fits_into_one_post(worker: Worker) -> None:
    job = request(format="wav_f32", sample_rate=48_000, text=LONG[:200], first_segment_s=20.0)
    chunks, _ = streamed(job, worker)
    contract = Contract({}, "job-1")
    contract.request = job
    assert max(len(json.dumps(contract.chunk(index, chunk))) for index, chunk in enumerate(chunks)) < 1_000_000
    assert max(len(chunk.data) for chunk in chunks) <= MAX_CHUNK_BYTES


def test_words_come_with_the_pieces_each_once_and_in_order(worker: Worker) -> None:
    chunks, last = streamed(request(timings="words", captions={"formats": ["srt"]}), worker)
    words = [word_response(word) for chunk in chunks for word in chunk.words]
    assert last.timings is not None
    assert [word.text for word in words] == [word.text for word in last.timings.words] == LONG.split()
    assert words == last.timings.words
    assert last.captions is not None
    assert (last.captions["srt"].content or "").startswith("1\n")


def test_words_are_not_sent_unasked(worker: Worker) -> None:
    chunks, last = streamed(request(), worker)
    assert not any(chunk.words for chunk in chunks)
    assert last.timings is None


def test_a_cancelled_stream_stops(worker: Worker, device: ToneDevice) -> None:
    control = JobControl(60)
    pieces = stream(Job(request(), worker, control, streaming=True))
    next(pieces)
    control.cancel()
    with pytest.raises(JobCancelled):
        list(pieces)


def test_a_dubbed_track_comes_in_pieces_too(worker: Worker) -> None:
    job = DubInput.model_validate({"action": "dub", "subtitles": SRT, "voice": "joe", "seed": 2, "format": "pcm_s16le"})
    chunks, last = streamed(job, worker)
    assert sound(chunks) == whole(job, worker).audio.data
    assert last.audio.duration_s == 9.5


def test_a_leaver_does_not_keep_the_device(worker: Worker) -> None:
    pieces = stream(Job(request(), worker, JobControl(60), streaming=True))
    next(pieces)
    pieces.close()
    again = dataclasses.replace(worker)
    assert streamed(request(text="Short."), again)[1].audio.duration_s > 0


SRT = """1
00:00:01,000 --> 00:00:04,000
The first line is spoken here.

2
00:00:06,000 --> 00:00:09,500
And the second one, a little later.
"""
