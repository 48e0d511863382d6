"""Several takes of one text: those that a job with the reported seed gives, the best of them first."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import time
from typing import Any

import numpy as np
import pytest

import handler
from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis import takes
from f5_worker.synthesis.context import Worker
from f5_worker.text.seed import segment_seed, take_seed
from f5_worker.verification.check import SpeechVerdict
from tests.conftest import FakeBucket, ToneDevice, tone

TEXT = "Hello there, this is a test."
SEED = 5


def send(worker: Worker, **fields: Any) -> Any:
    own = {} if "action" in fields else {"text": TEXT, "voice": "joe", "seed": SEED}
    job = {"id": "job-1", "input": {**own, **fields}}
    reply = asyncio.run(handler.sdk_config(worker)["handler"](job))
    json.dumps(reply, allow_nan=False)
    return reply


def with_recogniser(
    worker: Worker, device: ToneDevice, monkeypatch: pytest.MonkeyPatch, wers: dict[int, float]
) -> Worker:
    """A worker whose recogniser says how wrong each take is."""

    class Verifier:
        def check(self, samples: Samples, text: str, reference_transcript: str) -> SpeechVerdict:
            spoken = next(segment for segment in list(device.segments) if np.array_equal(tone(segment), samples))
            wer = wers[spoken.seed]
            return SpeechVerdict(wer, round(10 * wer), ("words",) if wer > 0.1 else (), "heard", wer)

    monkeypatch.setattr(takes.SpeechVerifier, "for_language", lambda *_: Verifier())
    return dataclasses.replace(worker, recogniser=object())  # type: ignore[arg-type]


def test_each_take_is_what_its_seed_speaks(worker: Worker) -> None:
    reply = send(worker, takes=3)
    assert [take["seed"] for take in reply["takes"]] == [take_seed(SEED, index) for index in range(3)]
    assert reply["seed"] == SEED
    assert "audio" not in reply["takes"][0]
    alone = [send(worker, seed=take["seed"]) for take in reply["takes"]]
    assert reply["audio"]["base64"] == alone[0]["audio"]["base64"]
    assert [take["audio"]["base64"] for take in reply["takes"][1:]] == [one["audio"]["base64"] for one in alone[1:]]
    assert len({one["audio"]["base64"] for one in alone}) == 3
    assert reply["warnings"] == ["the speech was not checked: this worker has no recogniser (F5_ASR_MODEL)"]


def test_they_are_on_the_device_together(worker: Worker, device: ToneDevice) -> None:
    [engine] = worker.engine.engines

    def wait_for_the_others(segment: Segment, step: int) -> None:
        until = time.monotonic() + 60
        while len(engine._scheduler.jobs) < 5 and time.monotonic() < until:
            time.sleep(0.001)
        device.before = lambda segment, step: None

    device.before = wait_for_the_others
    send(worker, takes=5)
    assert engine.load.n_segments == 5 * device.segments[0].nfe
    assert engine.load.n_forwards < 0.8 * engine.load.n_segments  # two of this length fit into one


def test_the_best_is_the_answer(worker: Worker, device: ToneDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    wers = {segment_seed(take_seed(SEED, index), 0): wer for index, wer in enumerate((0.3, 0.05, 0.05))}
    reply = send(with_recogniser(worker, device, monkeypatch, wers), takes=3)
    assert reply["seed"] == take_seed(SEED, 1)
    assert [take["verified"]["wer"] for take in reply["takes"]] == [0.3, 0.05, 0.05]
    assert [take["verified"]["passed"] for take in reply["takes"]] == [False, True, True]
    assert ["audio" in take for take in reply["takes"]] == [True, False, True]
    assert reply["warnings"] == []
    assert len(device.segments) == 3


def test_a_stream_has_them_in_its_end(worker: Worker) -> None:
    streaming = dataclasses.replace(worker, settings=worker.settings.model_copy(update={"streaming": True}))

    async def collect() -> list[Any]:
        job = {"id": "job-1", "input": {"text": TEXT, "voice": "joe", "seed": SEED, "takes": 2}}
        return [item async for item in handler.sdk_config(streaming)["handler"](job)]

    items = asyncio.run(collect())
    merged = {name: value for item in items for name, value in item.items()}
    assert merged["final"] is True
    assert merged["audio"]["base64"] == send(worker)["audio"]["base64"]
    assert len(merged["takes"]) == 2


def test_what_does_not_fit_goes_to_the_bucket_and_otherwise_is_refused_before_it_is_spoken(
    worker: Worker, device: ToneDevice
) -> None:
    one = len(base64.b64decode(send(worker)["audio"]["base64"]))
    small = worker.settings.model_copy(update={"max_reply_bytes": 3 * one})
    device.segments.clear()
    reply = send(dataclasses.replace(worker, settings=small), takes=5)
    assert reply["error"].startswith("RESULT_TOO_LARGE: 5 takes of the text are")
    assert device.segments == []
    bucket: Bucket = FakeBucket(small)
    stored = send(dataclasses.replace(worker, settings=small, bucket=bucket), takes=5)
    keys = [stored["audio"]["key"], *(take["audio"]["key"] for take in stored["takes"][1:])]
    assert len(set(keys)) == 5
    assert set(keys) == set(bucket.files)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"takes": 6}, "takes=6"),
        ({"takes": 0}, "takes=0"),
        ({"takes": 2, "verify": True}, "give either takes, to choose from, or verify: {takes}"),
        (
            {"action": "batch", "items": [{"text": TEXT}], "defaults": {"takes": 2}, "text": None},
            "unknown field 'text'",
        ),
    ],
)
def test_what_cannot_be_is_said(worker: Worker, fields: dict[str, Any], words: str) -> None:
    assert words in send(worker, **fields)["error"]


def test_an_error_of_one_is_the_jobs(worker: Worker) -> None:
    assert send(worker, takes=3, voice="nobody-we-know")["error"].startswith("UNKNOWN_VOICE")
