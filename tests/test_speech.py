"""The small model speaks: its word error rate by a recogniser is the one that its README states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f5_worker.audio.decode import decode
from f5_worker.cancellation import JobControl
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.server.startup import load_worker
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak
from f5_worker.verification.similarity import similarity
from tests.listen import transcribe, word_error_rate, words
from tests.speakers import resemblyzer_weights, voices

pytestmark = pytest.mark.model

SENTENCES = (
    "The train to the city leaves early in the morning.",
    "Please put the blue cup on the kitchen table.",
    "She walked along the river until the sun went down.",
    "We have been waiting for the rain since early spring.",
    "My brother works in a small shop near the station.",
    "There is nothing better than a warm bed in winter.",
)
# Floating point differs a little between processors, and with it a word here and there.
TOLERANCE = 0.06


@pytest.fixture(scope="module")
def tiny_worker() -> Iterator[Worker]:
    speaker_model = str(resemblyzer_weights().parent)
    worker = load_worker(Settings(model="f5-tiny", device="cpu", precision="fp32", speaker_model=speaker_model))
    yield worker
    worker.engine.close()


def say(tiny_worker: Worker, text: str, **fields: Any) -> np.ndarray[Any, Any]:
    job = SynthesizeInput.model_validate({"text": text, "voice": "joe", "seed": 1} | fields)
    reply = speak(Job(job, tiny_worker, JobControl(300)))
    return decode(reply.audio.data or b"", max_bytes=10**9, max_s=600).samples


def published_wer(directory: Path) -> float:
    """The figure in the model's README, row `6 test sentences`."""
    row = re.search(r"\| 6 test sentences[^|]*\| 16 \| ([\d.]+) \|", (directory / "README.md").read_text())
    assert row, "models/f5-tiny/README.md must state the word error rate of the test sentences"
    return float(row[1])


def test_its_word_error_rate_is_as_published(tiny_worker: Worker, tiny: Path) -> None:
    recognised = [transcribe(say(tiny_worker, text, quality="balanced"), 24_000) for text in SENTENCES]
    assert word_error_rate(list(SENTENCES), recognised) <= published_wer(tiny) + TOLERANCE, recognised


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("THE MORNING LIGHT CAME SLOWLY OVER THE QUIET HILLS.", "morning light came slowly over the quiet hills"),
        ("Hi. How are you?", "how are you"),
        ("Hi. How are you?", "hi"),
        ("The BBC reported it.", "bbc"),
        ("The meeting is at 5 PM today.", "pm"),
    ],
)
def test_what_it_has_not_learned_to_read_is_written_for_it(tiny_worker: Worker, written: str, heard: str) -> None:
    recognised = [transcribe(say(tiny_worker, written, quality="fast", seed=seed), 24_000) for seed in (6, 7)]
    found = [" ".join(words(text.replace(".", ""))) for text in recognised]
    assert any(heard in text for text in found), found


def test_a_pause_and_a_second_voice_with_the_real_model(tiny_worker: Worker) -> None:
    job = SynthesizeInput.model_validate(
        {
            "text": "Hello there. [pause:1.5s] [voice:bella]My friend is here.",
            "voice": "joe",
            "seed": 5,
            "quality": "fast",
        }
    )
    response = speak(Job(job, tiny_worker, JobControl(300)))
    samples = decode(response.audio.data or b"", max_bytes=10**9, max_s=600).samples
    first, second = response.segments  # type: ignore[attr-defined]
    begin, end = round(first.end_s * 24_000), round(second.start_s * 24_000)
    assert end - begin == 36_000
    assert not samples[begin:end].any()
    assert "friend" in words(transcribe(samples, 24_000))


def test_speech_is_in_the_voice_of_its_reference(tiny_worker: Worker) -> None:
    encoder = tiny_worker.speaker_encoder
    assert encoder is not None
    references = {name: encoder.embed_reference(clip) for name, clip in voices().items()}
    for name in ("joe", "bella", "deep"):
        spoken = encoder.embed(say(tiny_worker, SENTENCES[0], voice=name))
        found = {other: similarity(spoken, embedding) for other, embedding in references.items()}
        assert max(found, key=found.__getitem__) == name, found


def test_same_seed_same_samples_with_the_real_model(tiny_worker: Worker) -> None:
    first, second = (say(tiny_worker, SENTENCES[0], nfe_step=4) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, say(tiny_worker, SENTENCES[0], nfe_step=4, seed=2))


def test_eight_jobs_at_once_give_what_each_gives_alone(tiny_worker: Worker) -> None:
    """Side by side on the device a sum may round otherwise than alone; no sample moves by more than one 16-bit step."""

    def quick(seed: int) -> np.ndarray[Any, Any]:
        return say(tiny_worker, "Good morning.", nfe_step=4, seed=seed)

    alone = [quick(seed) for seed in range(4)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(quick, [*range(4), *range(4)]))
    for ours, theirs in zip(together, alone * 2, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 2**-15
    assert not np.array_equal(alone[0], alone[1]), "another seed must sound otherwise, or nothing was compared"


def test_the_recogniser_understands_the_shipped_voices(tiny: Path) -> None:
    for clip in sorted(path for path in (tiny / "voices").iterdir() if path.suffix != ".txt"):
        recognised = transcribe(decode(clip.read_bytes(), max_bytes=10**9, max_s=600).samples, 24_000)
        assert word_error_rate([clip.with_suffix(".txt").read_text()], [recognised]) <= 0.2, clip.stem
