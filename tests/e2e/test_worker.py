"""Jobs through the real `runpod.serverless.start`, taken from and posted to an API on loopback."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from f5_worker.audio.decode import decode
from tests.conftest import ROOT
from tests.e2e.fake_api import FakeApi
from tests.e2e.worker_process import WorkerProcess

pytestmark = pytest.mark.e2e

TEXT = "The quick brown fox jumps over the lazy dog."
JOB: dict[str, Any] = {"text": TEXT, "voice": "joe", "nfe_step": 4, "seed": 11}
LONG: dict[str, Any] = JOB | {"text": " ".join([TEXT] * 12), "nfe_step": 64}


def test_a_synthesis(api: FakeApi, worker: WorkerProcess) -> None:
    output = api.run(JOB)["output"]
    audio = decode(base64.b64decode(output["audio"]["base64"]), max_bytes=10**8, max_s=60)
    assert audio.sample_rate == 24_000
    assert audio.duration_s == pytest.approx(output["audio"]["duration_s"], abs=1e-4)
    assert 1 < audio.duration_s < 6
    assert [segment["text"] for segment in output["segments"]] == [TEXT]
    assert output["seed"] == 11
    assert "output" not in output


@pytest.mark.parametrize(("name", "sample_rate"), [("mp3", 24_000), ("opus", 48_000), ("flac", 16_000)])
def test_other_formats(api: FakeApi, worker: WorkerProcess, name: str, sample_rate: int) -> None:
    output = api.run(JOB | {"text": "Short one.", "format": name, "sample_rate": sample_rate})["output"]
    audio = decode(base64.b64decode(output["audio"]["base64"]), max_bytes=10**8, max_s=60)
    assert audio.sample_rate == sample_rate
    assert audio.duration_s == pytest.approx(output["audio"]["duration_s"], abs=0.01)


def test_the_callers_own_clip(api: FakeApi, worker: WorkerProcess) -> None:
    voice = ROOT / "models" / "f5-tiny" / "voices" / "joe"
    clip = "data:audio/wav;base64," + base64.b64encode(voice.with_suffix(".wav").read_bytes()).decode()
    reference = {"audio": clip, "transcript": voice.with_suffix(".txt").read_text()}
    job = {name: value for name, value in JOB.items() if name != "voice"}
    assert api.run(job | {"reference": reference})["output"]["audio"] == api.run(JOB)["output"]["audio"]
    wrong = api.run(job | {"reference": reference | {"transcript": "far too many words " * 100}})
    assert wrong["error"].startswith("TRANSCRIPT_MISMATCH: ")


def test_health(api: FakeApi, worker: WorkerProcess) -> None:
    output = api.run({"action": "health"})["output"]
    assert (output["status"], output["model"], output["device"]) == ("ok", "f5-tiny", "cpu")
    assert "joe" in output["voices"]


@pytest.mark.parametrize("value", [None, "text", ["text"], {}, {"action": "sing"}, JOB | {"sped": 2}])
def test_bad_input_is_answered_with_an_error_string(api: FakeApi, worker: WorkerProcess, value: object) -> None:
    body = api.run(value, timeout_s=30)
    assert set(body) == {"error"}
    assert body["error"].split(":")[0] in ("INVALID_INPUT", "UNKNOWN_ACTION")


def test_two_jobs_overlap_and_do_not_disturb_each_other(api: FakeApi, worker: WorkerProcess) -> None:
    alone = api.run(JOB)["output"]
    long = api.submit(LONG | {"nfe_step": 4})
    short = api.submit(JOB)
    beside = api.wait(short)["output"]
    assert not api.has_result(long)  # the short job was taken, done and posted while the long one ran
    assert beside["audio"] == alone["audio"]
    assert len(api.wait(long)["output"]["segments"]) > 1


def test_a_cancelled_job_posts_nothing_and_the_next_one_works(api: FakeApi, worker: WorkerProcess) -> None:
    job_id = api.submit(LONG)
    worker.wait_for(f'"{job_id}", "message": "  ')  # its first line of progress
    api.cancel(job_id)
    worker.wait_for(f'"{job_id}", "message": "cancelled"')
    assert "audio" in api.run(JOB)["output"]
    assert not api.has_result(job_id)


def test_a_job_after_a_failed_job(api: FakeApi, worker: WorkerProcess) -> None:
    assert api.run(JOB | {"voice": "nobody"})["error"].startswith("UNKNOWN_VOICE: ")
    assert "audio" in api.run(JOB)["output"]


def test_the_log_holds_no_text_no_traceback_and_no_audio(api: FakeApi, worker: WorkerProcess) -> None:
    api.run(JOB | {"text": "Marmalade is a secret word."})
    api.run(JOB | {"text": "Marmalade", "speed": 17})
    for private in ("armalade", "Traceback", "UklGR", TEXT):
        assert private not in worker.log


def test_the_heartbeat_runs(api: FakeApi, worker: WorkerProcess) -> None:
    api.run(LONG | {"nfe_step": 4})
    assert any("job_id" in ping for ping in api.pings)
