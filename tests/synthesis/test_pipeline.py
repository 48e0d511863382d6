"""The way of a job with every stage real but the model."""

from __future__ import annotations

import base64
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest

from f5_worker.audio.decode import decode
from f5_worker.audio.encode import encode
from f5_worker.audio.encoders import EncoderPool
from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import NoLimit
from f5_worker.engine.types import Segment
from f5_worker.errors import (
    InvalidInput,
    JobCancelled,
    TextTooLong,
    TextUnspeakable,
    TranscriptMismatch,
    UnknownVoice,
)
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import SynthesizeResponse
from f5_worker.server.limits import JsonLimit
from f5_worker.synthesis import pipeline
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak as speak_job
from tests.conftest import TINY, ToneDevice

TEXT = "The first sentence is here. And then comes another one!"
LONG = " ".join(f"Sentence number {word} goes by, and it says so." for word in ["one", "two", "three", "four"] * 15)


def speak(worker: Worker, **fields: Any) -> SynthesizeResponse:
    job = SynthesizeInput.model_validate({"text": TEXT, "voice": "joe", "seed": 1} | fields)
    reply = speak_job(Job(job, worker, JobControl(60)))
    assert isinstance(reply, SynthesizeResponse)
    return reply


def samples_of(reply: SynthesizeResponse) -> np.ndarray[Any, Any]:
    data = reply.audio.data or b""
    return decode(data, max_bytes=10**9, max_s=3_600).samples


def test_a_reply_holds_what_it_promises(worker: Worker) -> None:
    reply = speak(worker)
    assert len(samples_of(reply)) == round(reply.audio.duration_s * 24_000)
    assert reply.audio.bytes == len(reply.audio.data or b"")
    assert reply.segments[0].start_s >= 0
    assert reply.segments[-1].end_s <= reply.audio.duration_s
    assert reply.seed == 1
    assert reply.metrics.nfe == 16
    assert reply.metrics.total_ms >= reply.metrics.engine_ms > 0
    assert 0 < reply.metrics.cpu_ms["text"] <= reply.metrics.text_ms + 0.1


@pytest.mark.parametrize("reencoded", [False, True])
def test_a_long_file_is_encoded_as_it_is_spoken_with_the_same_bytes(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, reencoded: bool
) -> None:
    monkeypatch.setattr(pipeline, "LONG_S", 5.0)

    class Encoders(EncoderPool):
        whole: ClassVar[list[str]] = []

        def encode(self, samples: Samples, format: str, *args: Any) -> bytes:
            self.whole.append(format)
            return super().encode(samples, format, *args)

    fields = {"text": LONG[:200], "pad_start_s": 0.3, "pad_end_s": 0.2, "allow_reencode": True}
    samples = samples_of(speak(worker, format="wav_f32", **fields))
    limit = JsonLimit(3 * len(samples) // 4) if reencoded else NoLimit()  # an MP3 takes 8/9 of a byte for a sample
    job = Job(
        SynthesizeInput.model_validate({"voice": "joe", "seed": 1, "format": "mp3"} | fields),
        dataclasses.replace(worker, encoders=Encoders()), JobControl(60), limit=limit,
    )  # fmt: skip
    audio = speak_job(job).audio
    assert Encoders.whole == (["opus"] if reencoded else [])
    assert audio.data == encode(samples, audio.format, 24_000)


def test_a_seed_is_drawn_and_returned_when_none_is_given(worker: Worker) -> None:
    first, second = (speak(worker, seed=None).seed for _ in range(2))
    assert first != second
    assert 0 <= first < 2**32


def test_long_text_gives_all_its_sentences_in_order(worker: Worker) -> None:
    reply = speak(worker, text=LONG)
    assert len(LONG) >= 2_500
    assert len(reply.segments) > 5
    assert " ".join(segment.text for segment in reply.segments).split() == LONG.split()
    starts = [segment.start_s for segment in reply.segments]
    assert starts == sorted(starts)
    for left, right in zip(reply.segments, reply.segments[1:], strict=False):
        assert left.end_s < right.start_s


def test_same_seed_same_samples_whatever_runs_beside(worker: Worker) -> None:
    text = LONG[:700]
    alone = [speak(worker, text=text, seed=seed).audio.data for seed in range(4)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda seed: speak(worker, text=text, seed=seed % 4).audio.data, range(8)))
    assert together == alone * 2
    assert len(set(alone)) == 4


def test_segments_of_a_job_have_seeds_of_their_own(worker: Worker, device: ToneDevice) -> None:
    speak(worker, text=LONG)
    assert len({segment.seed for segment in device.segments}) == len(device.segments)


@pytest.mark.parametrize("text", [TEXT, LONG])
def test_a_fixed_duration_is_kept_to_the_sample(worker: Worker, text: str) -> None:
    natural_s = speak(worker, text=text).audio.duration_s
    wanted_s = round(natural_s * 1.3, 2)
    assert len(samples_of(speak(worker, text=text, fix_duration_s=wanted_s))) == round(wanted_s * 24_000)


def test_a_duration_that_cannot_be_spoken_is_refused_with_what_can(worker: Worker) -> None:
    with pytest.raises(InvalidInput, match=r"fix_duration_s=0.1: the text takes about .* s in this voice; it can be"):
        speak(worker, fix_duration_s=0.1)


def test_faster_is_shorter(worker: Worker) -> None:
    slow, fast = (speak(worker, speed=speed).audio.duration_s for speed in (0.8, 1.6))
    assert slow / fast == pytest.approx(2, rel=0.2)


def test_a_cross_fade_overlaps_segments(worker: Worker) -> None:
    apart = speak(worker, text=LONG, cross_fade_s=0.0)
    overlapping = speak(worker, text=LONG, cross_fade_s=0.2)
    saved_s = apart.audio.duration_s - overlapping.audio.duration_s
    assert saved_s == pytest.approx(0.2 * (len(apart.segments) - 1), abs=0.01)


def test_the_callers_own_clip(worker: Worker) -> None:
    clip = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
    transcript = (TINY / "voices" / "joe.txt").read_text()
    reply = speak(worker, voice=None, reference={"audio": clip, "transcript": transcript})
    assert reply.audio.data == speak(worker).audio.data


def test_the_same_clip_is_prepared_once(worker: Worker, device: ToneDevice) -> None:
    clip = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
    transcript = (TINY / "voices" / "joe.txt").read_text()
    for words in (transcript, transcript, transcript.strip() + "!"):
        speak(worker, text="Hello there.", voice=None, reference={"audio": clip, "transcript": words})
    first, again, other = [segment.reference for segment in device.segments]
    assert first is again  # the engine keeps what it computes of an array
    assert first is not other


def test_a_transcript_of_something_else_is_refused(worker: Worker) -> None:
    clip = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
    with pytest.raises(TranscriptMismatch):
        speak(worker, voice=None, reference={"audio": clip, "transcript": "a whole book " * 150})


def test_an_unknown_voice_is_answered_with_those_there_are(worker: Worker) -> None:
    with pytest.raises(UnknownVoice, match="did you mean 'joe'"):
        speak(worker, voice="jo")


@pytest.mark.parametrize("text", ["...", "🙂🙂", " \n ", "?!"])
def test_text_that_cannot_be_spoken(worker: Worker, text: str) -> None:
    with pytest.raises(TextUnspeakable):
        speak(worker, text=text)


def test_limits_name_their_settings(worker: Worker) -> None:
    tight = worker.settings.model_copy(update={"max_text_chars": 10, "max_audio_s": 2.0})
    with pytest.raises(TextTooLong, match="F5_MAX_TEXT_CHARS"):
        speak(dataclasses.replace(worker, settings=tight))
    tight = worker.settings.model_copy(update={"max_audio_s": 2.0})
    with pytest.raises(TextTooLong, match="F5_MAX_AUDIO_S"):
        speak(dataclasses.replace(worker, settings=tight))


def test_unknown_characters_are_named_in_a_warning(worker: Worker) -> None:
    warnings = speak(worker, text="One ж two ю three.").warnings
    assert any("2 characters are unknown to the model" in warning for warning in warnings)


def test_a_cancelled_job_gives_the_device_back(worker: Worker, device: ToneDevice) -> None:
    control = JobControl(60)
    reached = threading.Event()

    def cancel(segment: Segment, step: int) -> None:
        reached.set()
        control.cancel()

    device.before = cancel
    with pytest.raises(JobCancelled):
        speak_job(Job(SynthesizeInput(text=LONG, voice="joe"), worker, control))
    assert reached.is_set()
    device.before = lambda segment, step: None
    assert speak(worker).audio.duration_s > 1
    assert len(device.segments) == 1
