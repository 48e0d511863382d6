"""scripts/audiobook/speaking.py and estimating.py: many pieces at a time, each stored as it comes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scripts.audiobook.estimating import MAX_PREVIEW_CHARS, cost, estimate
from scripts.audiobook.pieces import Piece
from scripts.audiobook.speaking import MAX_FAILURES, Failure, SpeechJob, speak_all, speech_job
from scripts.audiobook.store import PieceStore
from scripts.audiobook.worker import JobFailedError, open_worker
from tests.audiobook.endpoint import Body, Endpoint, speech, tone

SHARED = {"voice": "ann", "language": "en"}


def jobs(*texts: str, **options: Any) -> list[SpeechJob]:
    options = {"seed": None, "with_words": False} | options
    return [speech_job(Piece(text, None, 0.6), SHARED, **options) for text in texts]


def speak(endpoint: Endpoint, store: PieceStore, pieces: list[SpeechJob], in_flight: int = 4) -> list[Failure]:
    async def run() -> list[Failure]:
        async with open_worker("ep", None, "k") as worker:
            return await speak_all(worker, pieces, store, in_flight=in_flight, on_spoken=lambda *_: None)

    return asyncio.run(run())


def test_the_fields_of_a_job() -> None:
    [job] = jobs("Hello.", with_words=True)
    seed = job.fields["seed"]
    assert job.fields == {
        **SHARED, "text": "Hello.", "format": "flac", "markup": "plain", "seed": seed, "timings": "words"
    }  # fmt: skip
    assert jobs("Hello.", seed=7)[0].fields["seed"] == 7
    assert jobs("Hello.")[0].fields["seed"] == seed != jobs("Bye.")[0].fields["seed"]
    assert 0 <= seed < 2**32
    assert speech_job(Piece("Ja.", "de", 0.6), SHARED, seed=None, with_words=False).fields["language"] == "de"


def test_pieces_are_stored_with_what_is_told_of_them(endpoint: Endpoint, tmp_path: Path) -> None:
    store, [job] = PieceStore(tmp_path), jobs("Hello, you.", with_words=True)
    assert speak(endpoint, store, [job]) == []
    found = store.find(job.key, with_words=True)
    assert found is not None
    assert found.n_samples == len(tone(len("Hello, you.")))
    assert (found.engine_s, found.model, found.aligned) == (pytest.approx(0.055), "tones", True)
    assert found.words is not None
    assert [word.text for word in found.words] == ["Hello,", "you."]


def test_no_more_are_in_flight_than_asked_for(endpoint: Endpoint, tmp_path: Path) -> None:
    texts = [f"Text {n}." for n in range(20)]
    speak(endpoint, PieceStore(tmp_path), jobs(*texts), in_flight=3)
    assert sorted(endpoint.spoken) == sorted(texts)
    assert endpoint.most_in_flight == 3


def test_a_piece_that_fails_holds_up_no_other(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.work = lambda fields: {"error": "TEXT_UNSPEAKABLE: no"} if "bad" in fields["text"] else speech(fields)
    store, pieces = PieceStore(tmp_path), jobs("One.", "bad", "Two.")
    [failure] = speak(endpoint, store, pieces)
    assert (failure.job.piece.text, failure.reason) == ("bad", "TEXT_UNSPEAKABLE: no")
    assert [store.find(job.key, with_words=False) is not None for job in pieces] == [True, False, True]


def test_it_ends_where_all_fail(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.work = lambda fields: {"error": "UNKNOWN_VOICE: no"}
    failures = speak(endpoint, PieceStore(tmp_path), jobs(*map(str, range(50))), in_flight=1)
    assert len(failures) == len(endpoint.jobs) == MAX_FAILURES


def test_sound_that_cannot_be_decoded_is_asked_for_again(endpoint: Endpoint, tmp_path: Path) -> None:
    broken: list[Body] = [{"audio": {"base64": "bm8="}}, {"audio": {"base64": ""}}]
    endpoint.work = lambda fields: broken.pop() if broken else speech(fields)
    assert speak(endpoint, PieceStore(tmp_path), jobs("One.")) == []
    assert len(endpoint.jobs) == 3


def test_stopped_it_keeps_what_is_done_and_cancels_the_rest(endpoint: Endpoint, tmp_path: Path) -> None:
    store, pieces = PieceStore(tmp_path), jobs("One.", "Two.", "Three.")
    endpoint.may_finish = 1

    async def run() -> None:
        async with open_worker("ep", None, "k") as worker:
            task = asyncio.create_task(speak_all(worker, pieces, store, in_flight=2, on_spoken=lambda *_: None))
            while len(endpoint.jobs) < 3:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    left = [job for job in pieces if store.find(job.key, with_words=False) is None]
    assert len(left) == len(endpoint.cancelled) == 2
    endpoint.may_finish = 10
    assert speak(endpoint, store, left) == []
    assert len(endpoint.jobs) == 5


def test_the_estimate_sends_long_texts_and_counts_warnings(endpoint: Endpoint) -> None:
    texts = ["x" * 9_000, "y" * 8_000, "z" * 3_000]
    foreign = speech_job(Piece("Ja.", "de", 0.6), SHARED, seed=None, with_words=True)

    async def run() -> Any:
        async with open_worker("ep", None, "k") as worker:
            return await estimate(worker, [*jobs(*texts), foreign], 2)

    found = asyncio.run(run())
    assert sorted(len(job["text"]) for job in endpoint.jobs) == [3, 3_000, 17_002]
    assert all(len(job["text"]) <= MAX_PREVIEW_CHARS and job["action"] == "preview" for job in endpoint.jobs)
    assert not any({"seed", "timings"} & job.keys() for job in endpoint.jobs)
    assert found.speech_s == pytest.approx(20_005 * 0.05)
    assert found.warnings == (("a warning", 3),)


def test_the_estimate_says_what_the_worker_refuses(endpoint: Endpoint) -> None:
    endpoint.work = lambda fields: {"error": "UNKNOWN_VOICE: no voice ann"}

    async def run() -> Any:
        async with open_worker("ep", None, "k") as worker:
            return await estimate(worker, jobs("One."), 2)

    with pytest.raises(JobFailedError, match="UNKNOWN_VOICE"):
        asyncio.run(run())


def test_cost() -> None:
    assert cost(36_000, 0.1, 2.0) == pytest.approx(2.0)
