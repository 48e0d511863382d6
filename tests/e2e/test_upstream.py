"""A worker whose model f5-tts runs: the same contract, timings, captions, pieces and errors."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
import pytest

from f5_worker.transcripts.parse import parse_transcript
from tests.e2e.conftest import Rig
from tests.e2e.fake_api import Body
from tests.models.upstream.checkpoints import CONFIGS, write_checkpoint

pytest.importorskip("f5_tts")
pytestmark = pytest.mark.e2e

TEXT = "Seven quiet gardeners painted the harbour wall. Then they went home, and it began to rain."
JOB: Body = {"text": TEXT, "voice": "joe", "nfe_step": 4, "seed": 11, "format": "pcm_s16le", "fix_duration_s": 5.0}


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    directory = write_checkpoint(tmp_path_factory.mktemp("models") / "e2", CONFIGS["E2-TTS"])
    return {"F5_MODEL": str(directory), "F5_STREAMING": "true"}


def samples_of(output: list[Body]) -> np.ndarray:
    return np.frombuffer(b"".join(base64.b64decode(chunk["audio"]["base64"]) for chunk in output[:-1]), "<i2")


def test_health_names_the_engine(rig: Rig) -> None:
    (output,) = rig.run({"action": "health"})["output"]
    assert (output["status"], output["model"], output["engine"], output["attention"]) == ("ok", "e2", "upstream", {})


def test_a_job_has_sound_of_the_right_length_with_times_and_captions(rig: Rig) -> None:
    output = rig.run(JOB | {"timings": "words", "captions": {"formats": ["srt"]}})["output"]
    *chunks, last = output
    samples = samples_of(output)
    assert len(samples) == 5 * 24_000
    assert np.abs(samples).max() > 1_000
    assert len(chunks) >= 2  # one for each segment
    assert [word["text"] for chunk in chunks for word in chunk["words"]] == TEXT.split()
    cues = parse_transcript(last["captions"]["srt"]["content"]).cues
    assert " ".join(cue.text for cue in cues).split() == TEXT.split()
    assert np.array_equal(samples_of(rig.run(JOB)["output"]), samples)
    assert not np.array_equal(samples_of(rig.run(JOB | {"seed": 12})["output"]), samples)


def test_errors_are_the_same(rig: Rig) -> None:
    assert rig.run(JOB | {"voice": "nobody"})["error"].startswith("UNKNOWN_VOICE: ")
