"""Other callers' words, own buckets and smaller encodings: what the edge makes of a job."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from typing import Any

import pytest

import handler
from f5_worker.audio.decode import decode
from f5_worker.synthesis.context import Worker
from tests.conftest import TINY

TEXT = "Hello there, this is a test."
LONG = " ".join([TEXT] * 12)


def send(worker: Worker, value: object, **job: Any) -> dict[str, Any]:
    reply = asyncio.run(handler.sdk_config(worker)["handler"]({"id": "job-1", "input": value, **job}))
    json.dumps(reply, allow_nan=False)
    return dict(reply)


def collect(worker: Worker, value: object) -> list[Any]:
    """All items of a streaming worker's answer."""
    config = handler.sdk_config(with_settings(worker, streaming=True))
    assert config["return_aggregate_stream"] is True

    async def run() -> list[Any]:
        return [item async for item in config["handler"]({"id": "job-1", "input": value})]

    items = asyncio.run(run())
    json.dumps(items, allow_nan=False)
    return items


def with_settings(worker: Worker, **changes: Any) -> Worker:
    return dataclasses.replace(worker, settings=worker.settings.model_copy(update=changes))


def test_openais_call_is_answered_in_json(worker: Worker) -> None:
    call = {"input": TEXT, "voice": "joe", "response_format": "opus"}
    reply = send(worker, {"openai_route": "/v1/audio/speech", "openai_input": call})
    assert (reply["audio"]["format"], reply["audio"]["sample_rate"]) == ("opus", 48_000)


def test_a_call_with_openais_defaults_is_spoken_and_says_what_was_ignored(worker: Worker) -> None:
    call = {"model": "tts-1", "input": TEXT, "voice": "alloy", "speed": None, "response_format": None, "user": "u-1"}
    job = {"openai_route": "/v1/audio/speech", "openai_input": call}
    assert send(worker, job)["error"].startswith("UNKNOWN_VOICE: voice 'alloy' is one of OpenAI's")
    warnings = ["'user' ignored: not in this worker's form of the call", "voice 'alloy' is spoken by 'joe' here"]
    for setting in ({"default_voice": "joe"}, {"voice_aliases": "alloy=joe"}):
        reply = send(with_settings(worker, **setting), job)
        assert (reply["audio"]["format"], reply["warnings"]) == ("mp3", warnings)
    *_, last = collect(with_settings(worker, default_voice="joe"), job)
    assert last["warnings"] == warnings


def test_upstreams_names_give_the_same_audio_as_ours(worker: Worker) -> None:
    clip = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
    words = (TINY / "voices" / "joe.txt").read_text()
    common = {"nfe_step": 8, "seed": 3, "cfg_strength": 1.5}
    theirs = send(worker, common | {"gen_text": TEXT, "ref_audio": clip, "ref_text": words, "target_rms": 0.1})
    ours = send(worker, common | {"text": TEXT, "reference": {"audio": clip, "transcript": words}})
    assert theirs["audio"] == ours["audio"]
    assert theirs["warnings"][2:] == ours["warnings"]
    assert theirs["warnings"][0].startswith(
        "read as F5-TTS's own names: gen_text is text, ref_audio is reference.audio"
    )
    assert theirs["warnings"][1].startswith("target_rms ignored")


def test_a_result_too_large_may_come_smaller_where_the_caller_allows(worker: Worker) -> None:
    tight = with_settings(worker, max_reply_bytes=400_000)
    job = {"text": LONG, "voice": "joe", "seed": 1}
    assert send(tight, job)["error"].startswith("RESULT_TOO_LARGE: ")
    reply = send(tight, job | {"allow_reencode": True})
    assert reply["audio"]["format"] in ("mp3", "opus")
    assert any("was too large for the reply" in warning for warning in reply["warnings"])
    sound = decode(base64.b64decode(reply["audio"]["base64"]), max_bytes=10**7, max_s=600)
    assert sound.duration_s == pytest.approx(reply["audio"]["duration_s"], abs=0.05)


def test_a_bucket_that_nobody_named_cannot_be_asked_for(worker: Worker) -> None:
    error = send(worker, {"text": TEXT, "voice": "joe", "delivery": "s3"})["error"]
    assert error.startswith("INVALID_INPUT: delivery is s3")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "https://10.0.0.8", "https://169.254.169.254"])
def test_a_jobs_own_bucket_is_never_inside_our_network(worker: Worker, endpoint: str) -> None:
    own = {"accessId": "AKIAEXAMPLE", "accessSecret": "topsecretvalue", "bucketName": "mine", "endpointUrl": endpoint}
    error = send(worker, {"text": TEXT, "voice": "joe"}, s3Config=own)["error"]
    assert error.split(":")[0] in ("FETCH_REFUSED", "INVALID_INPUT")
    assert "topsecret" not in error


def test_a_jobs_own_bucket_is_checked_like_any_field(worker: Worker) -> None:
    error = send(worker, {"text": TEXT, "voice": "joe"}, s3Config={"accessId": "x"})["error"]
    assert error.startswith("INVALID_INPUT: ")


def test_a_streaming_worker_answers_everything(worker: Worker) -> None:
    *chunks, last = collect(worker, {"text": LONG, "voice": "joe", "seed": 1})
    assert last["final"] is True
    assert len(chunks) > 2
    assert [item["status"] for item in collect(worker, {"action": "health"})] == ["ok"]
    (error,) = collect(worker, {"text": TEXT, "voice": "nobody"})
    assert error["error"].startswith("UNKNOWN_VOICE: ")
    (old,) = collect(worker, {"text": TEXT, "local_voice": "joe.wav"})
    assert old["status"] == "completed"


def test_a_streaming_worker_speaks_openais_events(worker: Worker) -> None:
    call = {"input": TEXT, "voice": "joe", "stream_format": "sse", "response_format": "pcm"}
    *deltas, done = collect(worker, {"openai_route": "/v1/audio/speech", "openai_input": call})
    sound = b"".join(base64.b64decode(json.loads(delta[6:])["audio"]) for delta in deltas)
    usage = json.loads(done[6:])["usage"]
    assert usage["input_characters"] == len(TEXT)
    assert len(sound) / 48_000 == pytest.approx(usage["audio_seconds"], abs=0.001)


def test_times_are_estimated_and_say_so_where_nobody_listens(worker: Worker) -> None:
    reply = send(worker, {"text": TEXT, "voice": "joe", "timings": "characters", "captions": {"formats": ["vtt"]}})
    assert reply["timings"]["source"] == "estimated"
    assert all("confidence" not in word for word in reply["timings"]["words"])
    assert reply["timings"]["alignment"]["characters"] == list(TEXT)
    assert "NOTE" in reply["captions"]["vtt"]["content"]


def test_padding_moves_the_times_with_the_sound(worker: Worker) -> None:
    job = {"text": TEXT, "voice": "joe", "seed": 1, "timings": "words"}
    plain = send(worker, job)
    padded = send(worker, job | {"pad_start_s": 1.5, "pad_end_s": 0.5})
    assert padded["audio"]["duration_s"] == pytest.approx(plain["audio"]["duration_s"] + 2.0)
    for before, after in zip(plain["timings"]["words"], padded["timings"]["words"], strict=True):
        assert after["start_s"] == pytest.approx(before["start_s"] + 1.5, abs=0.002)
    assert padded["segments"][0]["start_s"] == pytest.approx(plain["segments"][0]["start_s"] + 1.5)


def test_a_voice_is_asked_for_where_there_is_no_default(worker: Worker) -> None:
    assert "voice is missing" in send(worker, {"text": TEXT})["error"]
