"""Jobs under the real SDK loop, all at one worker: what RunPod would hand to the caller."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from f5_worker.audio.decode import decode
from tests.api.batch.test_action import BAD
from tests.conftest import ROOT
from tests.e2e.conftest import MAX_REPLY_BYTES, Rig
from tests.e2e.fake_api import Body
from tests.e2e.worker_process import API_KEY

pytestmark = pytest.mark.e2e

SENTENCE = "Seven quiet gardeners painted the harbour wall."
QUICK: Body = {"text": SENTENCE, "voice": "joe", "nfe_step": 4, "seed": 11}
# Hundreds of seconds of sound, unless stopped; few steps, since a short job waits for one segment of it.
LONG: Body = QUICK | {"text": (SENTENCE + " ") * 200, "format": "opus"}


def sound(body: Body) -> bytes:
    """The audio of a posted result."""
    return base64.b64decode(body["output"]["audio"]["base64"], validate=True)


@pytest.fixture(scope="module")
def spoken(rig: Rig) -> Body:
    """The plain job's result, for whoever compares with it."""
    return rig.run(QUICK)


def test_the_sound_is_what_the_reply_says(spoken: Body) -> None:
    assert set(spoken) == {"output"}
    output = spoken["output"]
    assert set(output) == {"audio", "segments", "seed", "model", "metrics", "warnings"}
    data = sound(spoken)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert (output["audio"]["format"], rate) == ("wav", output["audio"]["sample_rate"])
    assert len(data) == output["audio"]["bytes"]
    assert len(samples) / rate == pytest.approx(output["audio"]["duration_s"], abs=0.001)
    assert 1.5 < len(samples) / rate < 6  # some seven words
    assert np.sqrt(np.mean(samples**2)) > 0.01
    assert (output["seed"], output["model"], output["warnings"]) == (11, "f5-tiny", [])


def test_the_segments_are_the_text_in_order(spoken: Body) -> None:
    segments = spoken["output"]["segments"]
    assert " ".join(segment["text"] for segment in segments) == SENTENCE
    assert segments[0]["start_s"] < segments[-1]["end_s"] <= spoken["output"]["audio"]["duration_s"] + 0.01


def test_a_voice_of_the_callers_own(rig: Rig) -> None:
    voices = ROOT / "models" / "f5-tiny" / "voices"
    reference = {
        "audio": base64.b64encode((voices / "joe.wav").read_bytes()).decode(),
        "transcript": (voices / "joe.txt").read_text().strip(),
    }
    body = rig.run({"text": SENTENCE, "reference": reference, "nfe_step": 4, "fix_duration_s": 2.5})
    assert body["output"]["audio"]["duration_s"] == pytest.approx(2.5, abs=0.001)
    assert len(soundfile.read(io.BytesIO(sound(body)))[0]) == 2.5 * 24_000
    assert 0 <= body["output"]["seed"] < 2**32


@pytest.mark.parametrize(("name", "sample_rate"), [("mp3", 24_000), ("opus", 48_000)])
def test_compressed_sound_decodes_to_the_promised_length(rig: Rig, name: str, sample_rate: int) -> None:
    body = rig.run(QUICK | {"text": "Quick.", "format": name, "sample_rate": sample_rate})
    audio = decode(sound(body), max_bytes=10**8, max_s=60)
    assert audio.sample_rate == sample_rate
    assert audio.duration_s == pytest.approx(body["output"]["audio"]["duration_s"], abs=0.01)


def test_a_transcript_of_another_recording_is_refused(rig: Rig) -> None:
    clip = base64.b64encode((ROOT / "models" / "f5-tiny" / "voices" / "joe.wav").read_bytes()).decode()
    body = rig.run({"text": SENTENCE, "reference": {"audio": clip, "transcript": "of a whole book " * 130}})
    assert body["error"].startswith("TRANSCRIPT_MISMATCH: ")


def test_health(rig: Rig) -> None:
    output = rig.run({"action": "health"})["output"]
    assert (output["status"], output["model"], output["device"]) == ("ok", "f5-tiny", "cpu")


@pytest.mark.parametrize(
    ("job_input", "code", "word"),
    [
        (None, "INVALID_INPUT", "null"),
        ("a string", "INVALID_INPUT", "string"),
        (["a", "list"], "INVALID_INPUT", "list"),
        ({}, "INVALID_INPUT", "text"),
        (QUICK | {"action": "sing"}, "UNKNOWN_ACTION", "synthesize"),
        (QUICK | {"sede": 3}, "INVALID_INPUT", "seed"),
        (QUICK | {"voice": "nobody"}, "UNKNOWN_VOICE", "joe"),
        (QUICK | {"text": "?!... 🙂"}, "TEXT_UNSPEAKABLE", "none"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(rig: Rig, job_input: object, code: str, word: str) -> None:
    body = rig.run(job_input)
    assert set(body) == {"error"}
    assert body["error"].startswith(f"{code}: ")
    assert word in body["error"]


def test_whatever_else_comes_with_a_job_is_left_alone(rig: Rig) -> None:
    more = {"webhook": "https://example.org", "policy": {"ttl": 1}}
    job = {"id": "odd-u1", "input": {"action": "health"}, **more}
    assert rig.api.wait(rig.api.submit_raw(job))["output"]["status"] == "ok"


def test_two_jobs_at_a_time_give_what_each_gives_alone(rig: Rig, spoken: Body) -> None:
    alone = rig.run(QUICK | {"seed": 12})
    ids = rig.api.submit(QUICK | {"seed": 12}), rig.api.submit(QUICK)
    assert [sound(rig.api.wait(job_id)) for job_id in ids] == [sound(alone), sound(spoken)]
    assert sound(alone) != sound(spoken)
    assert any("job-take-batch" in take for take in rig.api.takes)


@pytest.fixture
def long_id(rig: Rig) -> Iterator[str]:
    """A job that the model is at, and that is stopped in the end, so that no later test waits for it."""
    job_id = rig.api.submit(LONG)
    rig.worker.wait_for_line(job_id, "%")
    yield job_id
    rig.api.cancel(job_id)


def test_a_short_job_overtakes_a_long_one(rig: Rig, spoken: Body, long_id: str) -> None:
    assert sound(rig.run(QUICK)) == sound(spoken)
    assert rig.api.jobs[long_id].bodies == []


def test_a_cancelled_job_posts_nothing_and_the_next_one_works(rig: Rig, spoken: Body, long_id: str) -> None:
    rig.api.cancel(long_id)
    rig.worker.wait_for_line(long_id, "cancelled")
    assert sound(rig.run(QUICK)) == sound(spoken)
    assert rig.api.jobs[long_id].bodies == []


def test_a_result_that_would_be_lost_is_refused(rig: Rig) -> None:
    error = rig.run(QUICK | {"text": (SENTENCE + " ") * 50, "sample_rate": 48_000, "format": "wav_f32"})["error"]
    assert error.startswith("RESULT_TOO_LARGE: ")
    assert "F5_MAX_REPLY_BYTES" in error


def test_a_job_after_a_failed_one(rig: Rig, spoken: Body) -> None:
    reference = {"audio": "bm90IGF1ZGlv", "transcript": "These bytes are no audio."}
    assert rig.run({"text": SENTENCE, "reference": reference})["error"].startswith("REFERENCE_UNREADABLE: ")
    assert sound(rig.run(QUICK)) == sound(spoken)


def test_each_result_is_posted_once_and_within_the_limit(rig: Rig, spoken: Body) -> None:
    assert all(len(job.bodies) <= 1 for job in rig.api.jobs.values())
    assert max(map(len, rig.api.posted)) <= MAX_REPLY_BYTES + 1_000  # and the envelope
    assert rig.api.pings


def test_nothing_private_is_told(rig: Rig) -> None:
    """Every failure above, and some made for this: no traceback, path, key or text of a job."""
    words = "Marmalade xylophones"
    rig.run(QUICK | {"text": f"{words} hum."})
    for fault in ({"text": words, "speed": 9}, {"text": [words]}, {"text": words, "voice": "nobody"}):
        assert words not in rig.run(fault)["error"]
    errors = [text for text in rig.api.posted if "error" in json.loads(text)]
    packages = str(Path(np.__file__).parents[1])
    for told in (*errors, rig.worker.log):
        assert_silent_about(told, "Traceback", str(ROOT), packages, API_KEY, SENTENCE)
    assert_silent_about(rig.worker.log, words)


def assert_silent_about(told: str, *secrets: Any) -> None:
    found = [(secret, line[:300]) for secret in secrets for line in told.splitlines() if secret in line]
    assert not found


def test_a_long_job_says_how_far_it_is(rig: Rig) -> None:
    job_id = rig.api.submit(LONG)
    deadline = time.monotonic() + 60
    while not progress(rig) and time.monotonic() < deadline:
        time.sleep(0.1)
    rig.api.cancel(job_id)
    assert progress(rig)
    assert all(0 < share < 1 for share in progress(rig))


def progress(rig: Rig) -> list[float]:
    """The shares posted for any job so far."""
    bodies = [json.loads(body) for body in rig.api.posted]
    return [body["output"]["progress"] for body in bodies if body.get("status") == "IN_PROGRESS"]


@pytest.mark.slow
def test_sixty_items_of_which_six_are_bad_in_one_pass(rig: Rig) -> None:
    items: list[Any] = [{"id": f"line-{index}", "text": f"Line number {index}.", "seed": index} for index in range(60)]
    for index, bad in zip(range(5, 60, 10), BAD, strict=True):
        items[index] = bad if isinstance(bad, str) else bad | {"id": f"bad-{index}"}
    defaults = {"voice": "joe", "nfe_step": 4, "cfg_strength": 0.0, "speed": 2.0, "format": "mp3"}
    items[25] = {"id": "bad-25", "text": ""}  # the defaults have a voice
    job = rig.api.submit({"action": "batch", "items": items, "defaults": defaults})
    output = rig.api.wait(job, 300.0)["output"]
    assert (output["succeeded"], output["failed"]) == (54, 6)
    assert [item["index"] for item in output["items"]] == list(range(60))
    assert {item["index"] for item in output["items"] if "error" in item} == {5, 15, 25, 35, 45, 55}
    for item in output["items"]:
        if "result" in item:
            audio = item["result"]["audio"]
            decoded = decode(base64.b64decode(audio["base64"]), max_bytes=10**8, max_s=60)
            assert decoded.duration_s == pytest.approx(audio["duration_s"], abs=0.01)
            assert item["result"]["seed"] == item["index"]
