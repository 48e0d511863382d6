"""A worker with a bucket under the real SDK: results and voices in it, and what happens when it fails."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests
import soundfile

from tests.conftest import TINY, TINY_VOICES
from tests.e2e.conftest import Rig, StartRig
from tests.e2e.fake_api import Body
from tests.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, gate, refuse, s3_server, stall

pytestmark = pytest.mark.e2e

JOB: Body = {"text": "Seven quiet gardeners painted the harbour wall.", "voice": "joe", "nfe_step": 4, "seed": 11}
CAPTIONS: Body = {"timings": "words", "captions": {"formats": ["srt", "csv"]}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        server.create()
        yield server


@pytest.fixture(scope="module")
def overrides(s3: S3Server) -> Mapping[str, str]:
    # Room for the sentence at 24 kHz (0.15 MB), not at 48 kHz.
    return s3.environ() | {"F5_MAX_REPLY_BYTES": "200000", "F5_VOICES_S3_PREFIX": "voices/"}


def fetch(url: str) -> requests.Response:
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    return answer


def test_small_results_stay_inline_and_large_ones_go_to_the_bucket(rig: Rig) -> None:
    inline = rig.run(JOB)["output"]["audio"]
    assert "base64" in inline
    stored = rig.run(JOB | {"sample_rate": 48_000})["output"]["audio"]
    assert "base64" not in stored
    answer = fetch(stored["url"])
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert (rate, len(answer.content)) == (48_000, stored["bytes"])
    assert len(samples) / rate == pytest.approx(stored["duration_s"], abs=0.001)
    assert answer.headers["Content-Type"] == "audio/wav"


def test_subtitles_lie_beside_the_sound(rig: Rig, s3: S3Server) -> None:
    job_id = rig.api.submit(JOB | CAPTIONS | {"delivery": "s3"})
    output = rig.api.wait(job_id)["output"]
    keys = {item["Key"] for item in s3.client().list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {f"output/{job_id}.wav", f"timings/{job_id}.srt", f"timings/{job_id}.csv"} <= keys
    srt = fetch(output["captions"]["srt"]["url"])
    assert "-->" in srt.text
    assert srt.headers["Content-Type"].startswith("application/x-subrip")
    assert output["timings"]["source"] == "estimated"  # this worker has no recogniser


def test_voices_live_in_the_bucket(rig: Rig) -> None:
    clip = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
    words = (TINY / "voices" / "joe.txt").read_text()
    added = rig.run(
        {"action": "voices.add", "name": "ann", "audio": clip, "transcript": words, "consent": "Ann agreed, 3 May."}
    )["output"]
    assert added["voice"]["source"] == "bucket"
    assert "audio" in rig.run(JOB | {"voice": "ann"})["output"]
    listed = rig.run({"action": "voices.list"})["output"]["voices"]
    assert [voice["name"] for voice in listed] == sorted(["ann", *TINY_VOICES])
    assert rig.run({"action": "voices.delete", "name": "ann"})["output"] == {"deleted": "ann"}
    assert rig.run(JOB | {"voice": "ann"})["error"].startswith("UNKNOWN_VOICE: ")


def test_the_earlier_contract_gets_links(rig: Rig) -> None:
    job_id = rig.api.submit({"text": JOB["text"], "local_voice": "joe.wav", "return_word_timings": True})
    output = rig.api.wait(job_id)["output"]
    assert output["status"] == "completed"
    stored = rig.api.submit(JOB | {"delivery": "s3"})
    rig.api.wait(stored)
    file = rig.run({"endpoint": "download", "job_id": stored})["output"]
    assert base64.b64decode(file["audio_data"])[:4] == b"RIFF"


def test_no_key_is_ever_logged(rig: Rig) -> None:
    rig.run(JOB | {"delivery": "s3"})
    assert SECRET_KEY not in rig.worker.log
    assert ACCESS_KEY not in rig.worker.log
    assert "X-Amz-Signature" not in rig.worker.log


@pytest.mark.parametrize(
    ("fault", "words"), [(refuse(403, "AccessDenied"), "does not allow it to write"), (stall, "F5_S3_TIMEOUT_S")]
)
def test_a_bucket_that_fails_is_said_and_what_fits_is_served(
    start_rig: StartRig, s3: S3Server, tmp_path: Path, fault: object, words: str
) -> None:
    with gate(fault) as broken:  # type: ignore[arg-type]
        rig = start_rig(**broken.environ(), F5_S3_TIMEOUT_S="3")
        rig.worker.ready()
        state = rig.run({"action": "health"})["output"]["bucket"]
        assert state.startswith("STORAGE_FAILED: ")
        assert "base64" in rig.run(JOB)["output"]["audio"]
        error = rig.run(JOB | {"delivery": "s3"})["error"]
        assert error.startswith("STORAGE_FAILED: ")
        assert words in error
        assert SECRET_KEY not in error + rig.worker.log
