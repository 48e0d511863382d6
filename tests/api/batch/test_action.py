"""The action `batch`: each item has its own result or error, whatever becomes of the others."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
import time
from typing import Any

import pytest

from f5_worker.api.actions import ACTIONS
from f5_worker.api.batch.budget import ITEM_BYTES
from f5_worker.api.call import Call, ServerStatus
from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import ResponseLimit
from f5_worker.engine.speed import WINDOW_S
from f5_worker.engine.types import Segment
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import parse_input
from f5_worker.schema.batch import BatchInput
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import BatchItemResponse, BatchResponse
from f5_worker.server.limits import JsonLimit
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from tests.conftest import FakeBucket, ToneDevice

TEXT = "Hello there, this is a test."
SPEECH = {"text": TEXT, "voice": "joe", "nfe_step": 4}
JOB_S = 60.0


def call(worker: Worker, limit: ResponseLimit | None = None, control: JobControl | None = None) -> Call:
    own = {} if limit is None else {"limit": limit}
    return Call(worker, ServerStatus(1.0, 0), control or JobControl(JOB_S), "job-1", **own)


def batch(worker: Worker, items: list[Any], call_: Call | None = None, **fields: Any) -> dict[str, Any]:
    request = parse_input({"action": "batch", "items": items} | fields)
    return ACTIONS[BatchInput].answer(request, call_ or call(worker))


def in_bucket(worker: Worker, settings: Settings) -> tuple[Worker, FakeBucket]:
    bucket = FakeBucket(settings)
    return dataclasses.replace(worker, bucket=bucket), bucket


BAD: list[Any] = [
    {"text": TEXT, "voice": "nowhere"},
    {"text": "...", "voice": "joe"},
    {"voice": "joe"},
    {"text": TEXT, "voice": "joe", "sped": 1.1},
    {"text": TEXT, "voice": "joe", "speed": 9},
    "Hello.",
]


def test_sixty_items_of_which_six_are_bad(worker: Worker, device: ToneDevice) -> None:
    items: list[Any] = [SPEECH | {"id": f"line-{index}", "seed": index} for index in range(60)]
    for index, bad in zip(range(5, 60, 10), BAD, strict=True):
        items[index] = bad if isinstance(bad, str) else bad | {"id": f"bad-{index}"}
    reply = batch(worker, items)
    assert (reply["succeeded"], reply["failed"]) == (54, 6)
    assert [item["index"] for item in reply["items"]] == list(range(60))
    errors = {item["id"]: item["error"]["code"] for item in reply["items"] if "error" in item}
    assert errors == {
        "bad-5": "UNKNOWN_VOICE",
        "bad-15": "TEXT_UNSPEAKABLE",
        "bad-25": "INVALID_INPUT",
        "bad-35": "INVALID_INPUT",
        "bad-45": "INVALID_INPUT",
        "55": "INVALID_INPUT",
    }
    assert "unknown field 'sped', did you mean 'speed'?" in reply["items"][35]["error"]["message"]
    assert {item["id"] for item in reply["items"] if "result" in item} == {
        f"line-{index}" for index in range(60) if index % 10 != 5
    }
    assert len(device.segments) == 54


def test_an_item_is_as_its_job_alone(worker: Worker) -> None:
    fields = SPEECH | {"seed": 3, "timings": "words", "captions": {"formats": ["srt"]}}
    (item,) = batch(worker, [fields])["items"]
    alone = ACTIONS[SynthesizeInput].answer(parse_input(fields), call(worker))
    for reply in (item["result"], alone):
        del reply["metrics"]
    assert item == {"id": "0", "index": 0, "result": alone}


def test_the_items_are_on_the_device_together(worker: Worker, device: ToneDevice) -> None:
    first_begun, free = threading.Event(), threading.Event()

    def hold(segment: Segment, step: int) -> None:
        first_begun.set()
        free.wait(JOB_S)

    device.before = hold
    done: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: done.append(batch(worker, [SPEECH] * 8)))
    thread.start()
    assert first_begun.wait(JOB_S)
    while len(worker.engine.engines[0]._scheduler.jobs) < 8:
        time.sleep(0.001)
    free.set()
    thread.join(JOB_S)
    assert done[0]["succeeded"] == 8
    assert worker.engine.engines[0].load.n_segments > worker.engine.engines[0].load.n_forwards


def test_an_items_fields_come_before_the_defaults(worker: Worker) -> None:
    clip = {"audio": "data:audio/wav;base64,AAAA", "transcript": "A clip."}
    reply = batch(
        worker,
        [{"text": TEXT}, {"text": TEXT, "quality": "fast"}, {"text": TEXT, "reference": clip}, {}],
        defaults={"voice": "joe", "nfe_step": 5, "format": "mp3", "text": "A text for those that have none."},
    )
    first, second, third, fourth = reply["items"]
    assert (first["result"]["metrics"]["nfe"], second["result"]["metrics"]["nfe"]) == (5, 7)
    assert {item["result"]["audio"]["format"] for item in (first, second, fourth)} == {"mp3"}
    assert third["error"]["code"] == "REFERENCE_UNREADABLE"  # not "give either voice or reference"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"items": []}, "items: list should have at least 1 item"),
        ({"items": [SPEECH] * 501}, "items: list should have at most 500 items"),
        ({"items": [SPEECH | {"id": "a"}, SPEECH | {"id": "a"}]}, "the id 'a' stands for 2 items"),
        ({"items": [SPEECH, SPEECH | {"id": "0"}]}, "the id '0' stands for 2 items"),
        ({"items": [SPEECH | {"id": 7}]}, "the id 7 is not a text of 1..64 characters"),
        ({"items": [SPEECH | {"id": "x" * 65}]}, "is not a text of 1..64 characters"),
        ({"items": [SPEECH | {"id": "a\nb"}]}, "is not a text of 1..64 characters"),
        ({"items": [{"text": "x" * 20_000}] * 11}, "the texts have 220,000 characters, at most 200,000"),
        ({"items": [{}] * 11, "defaults": {"text": "x" * 20_000}}, "the texts have 220,000 characters"),
        ({"items": [SPEECH], "defaults": {"voise": "joe"}}, "unknown field 'defaults.voise', did you mean 'voice'?"),
        ({"items": [SPEECH], "defaults": {"allow_reencode": True}}, "defaults.allow_reencode is not for a batch"),
        ({"items": [SPEECH], "text": TEXT}, "unknown field 'text'"),
    ],
)
def test_a_fault_of_the_whole_is_an_error_of_the_job(worker: Worker, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        batch(worker, **fields)
    assert words in str(raised.value)


def test_an_error_takes_little_of_the_reply(worker: Worker) -> None:
    (item,) = batch(worker, [SPEECH | {f"поле{index}": 1 for index in range(50)} | {"id": "ж" * 64}])["items"]
    assert item["error"]["code"] == "INVALID_INPUT"
    assert len(json.dumps(item)) <= ITEM_BYTES
    (item,) = batch(worker, [{"text": TEXT, **{name: "ж" * 30 for name in ("format", "quality", "markup")}}])["items"]
    assert item["error"]["message"].endswith(" ...")
    assert len(json.dumps(item)) <= ITEM_BYTES


def test_what_is_the_batchs_is_not_an_items(worker: Worker) -> None:
    for field in ({"voices_key": "x" * 16}, {"action": "dub"}, {"allow_reencode": True}):
        (item,) = batch(worker, [SPEECH | field])["items"]
        assert item["error"]["code"] == "INVALID_INPUT"
        assert next(iter(field)) in item["error"]["message"]


def test_what_does_not_fit_the_reply_is_that_items_error(worker: Worker, device: ToneDevice) -> None:
    (alone,) = batch(worker, [SPEECH])["items"]
    n_bytes = len(alone["result"]["audio"]["base64"])
    limit = JsonLimit(round(3.5 * n_bytes))
    reply = batch(worker, [SPEECH] * 8, call(worker, limit))
    limit.check(reply)
    assert reply["succeeded"] == 3
    messages = [item["error"] for item in reply["items"] if "error" in item]
    assert {error["code"] for error in messages} == {"RESULT_TOO_LARGE"}
    assert "F5_MAX_REPLY_BYTES" in messages[0]["message"]
    assert len(device.segments) - 1 < 8  # some were refused before they were spoken


def test_what_does_not_fit_the_reply_is_in_the_bucket(worker: Worker, settings: Settings) -> None:
    worker, bucket = in_bucket(worker, settings)
    (alone,) = batch(worker, [SPEECH])["items"]
    limit = JsonLimit(round(3.5 * len(alone["result"]["audio"]["base64"])) + 8_000)
    items = [SPEECH | {"id": f"line {index}" if index % 2 else f"l-{index}", "seed": index} for index in range(8)]
    reply = batch(worker, items, call(worker, limit))
    limit.check(reply)
    assert reply["succeeded"] == 8
    results = [item["result"]["audio"] for item in reply["items"]]
    stored = [audio for audio in results if "key" in audio]
    assert len(stored) == len(bucket.files) == 5
    for item in reply["items"]:
        audio = item["result"]["audio"]
        if "key" in audio and not item["index"] % 2:
            assert audio["key"] == f"output/job-1-l-{item['index']}.wav"
        assert "key" not in audio or len(bucket.files[audio["key"]][0]) == audio["bytes"]


def test_the_bucket_is_asked_for_as_today(worker: Worker, settings: Settings) -> None:
    (refused,) = batch(worker, [SPEECH | {"delivery": "s3"}])["items"]
    assert refused["error"]["message"].startswith("delivery is s3, but this worker has no bucket")
    worker, bucket = in_bucket(worker, settings)
    captions = {"captions": {"formats": ["srt"]}, "delivery": "s3", "seed": 1}
    first, second = batch(worker, [SPEECH | captions, SPEECH | captions | {"delivery": "inline"}])["items"]
    assert set(bucket.files) == {"output/job-1-0.wav", "timings/job-1-0.srt"}
    inline = base64.b64decode(second["result"]["audio"]["base64"])
    assert bucket.files["output/job-1-0.wav"][0] == inline
    assert first["result"]["captions"]["srt"]["key"] == "timings/job-1-0.srt"


def test_each_item_is_yielded_as_it_is_done(worker: Worker) -> None:
    request = parse_input({"action": "batch", "items": [SPEECH, {"text": TEXT, "voice": "nowhere"}, SPEECH]})
    work = ACTIONS[BatchInput].items
    assert work is not None
    *items, summary = work(request, call(worker))
    assert isinstance(summary, BatchResponse)
    assert summary.to_json() == {"succeeded": 2, "failed": 1}
    assert {(item.id, item.index, item.error is None) for item in items if isinstance(item, BatchItemResponse)} == {
        ("0", 0, True),
        ("1", 1, False),
        ("2", 2, True),
    }


def test_progress_counts_items(worker: Worker) -> None:
    shares: list[float] = []
    control = JobControl(JOB_S, shares.append)
    batch(worker, [SPEECH, {"text": "..."}, SPEECH, SPEECH], call(worker, control=control))
    assert shares[-1] == pytest.approx(1.0)
    assert all(0 <= share <= 1 for share in shares)
    assert any(0.2 < share < 0.9 for share in shares)


def test_an_item_for_which_no_time_is_left_is_told_before_it_is_spoken(worker: Worker, device: ToneDevice) -> None:
    (alone,) = batch(worker, [SPEECH])["items"]
    assert "result" in alone
    work = device.segments[0].nfe * device.segments[0].forward_frames
    worker.engine.engines[0].speed._models.clear()
    worker.engine.engines[0].speed.add(device, work / 10 * WINDOW_S, WINDOW_S)  # 10 s for each item
    reply = batch(worker, [SPEECH] * 8, call(worker, control=JobControl(35.0)))
    assert (reply["succeeded"], reply["failed"]) == (3, 5)
    error = next(item["error"] for item in reply["items"] if "error" in item)
    assert error["code"] == "JOB_WILL_NOT_FIT"
    assert "take at least 40 s" in error["message"]
    assert len(device.segments) == 1 + 3
