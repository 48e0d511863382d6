"""Speak the pieces of a book, many at a time, and store each as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from scripts.audiobook.model import BookError
from scripts.audiobook.pieces import Piece
from scripts.audiobook.sound import decode
from scripts.audiobook.store import PieceStore, SpokenPiece, SpokenWord, piece_key
from scripts.audiobook.worker import JobFailedError, Json, LostRunError, Worker, audio_of, with_retries

FORMAT = "flac"  # without loss, so that the audiobook is encoded once
MAX_FAILURES = 5  # before anything was spoken: it is then no single piece's fault
_SEED_BYTES = 4


@dataclass(frozen=True)
class SpeechJob:
    """A piece as a job: the worker's fields, and the name that the result is stored under."""

    piece: Piece
    fields: Json
    key: str


@dataclass(frozen=True)
class Failure:
    """A piece that could not be spoken, and why."""

    job: SpeechJob
    reason: str


def speech_job(piece: Piece, shared: Mapping[str, Any], *, seed: int | None, with_words: bool) -> SpeechJob:
    """Return the job of a piece. `shared` are the fields of all jobs; `seed` None draws each from the piece's text.

    A piece has the same seed each time, and keeps it where pieces before it change.
    """
    fields = {**shared, "text": piece.text, "format": FORMAT, "markup": "plain"}
    if piece.language is not None:
        fields["language"] = piece.language
    fields["seed"] = int.from_bytes(bytes.fromhex(piece_key(fields))[:_SEED_BYTES], "big") if seed is None else seed
    if with_words:
        fields["timings"] = "words"
    return SpeechJob(piece, fields, piece_key(fields))


async def speak_all(
    worker: Worker,
    jobs: Iterable[SpeechJob],
    store: PieceStore,
    *,
    in_flight: int,
    on_spoken: Callable[[SpeechJob, SpokenPiece], None],
) -> list[Failure]:
    """Speak jobs, `in_flight` at a time, and store them; return those that failed.

    Cancelled, it cancels the jobs that run; those that ended are stored. Where the first MAX_FAILURES fail, it stops.

    Raises:
        OSError: one cannot be stored.
    """
    waiting = iter(jobs)
    failures: list[Failure] = []
    n_spoken = 0

    async def work() -> None:
        nonlocal n_spoken
        for job in waiting:
            try:
                spoken = await with_retries(partial(_speak, worker, job))
            except JobFailedError as error:
                failures.append(Failure(job, str(error)))
                if not n_spoken and len(failures) >= MAX_FAILURES:
                    return
            else:
                store.save(job.key, *spoken)
                n_spoken += 1
                on_spoken(job, spoken[1])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work())
    except* OSError as errors:
        raise errors.exceptions[0] from None
    return failures


async def _speak(worker: Worker, job: SpeechJob) -> tuple[bytes, SpokenPiece]:
    """Return the audio of a job, and what is known of it.

    Raises:
        JobFailedError, TransientError: it failed, or its audio cannot be decoded.
    """
    output = await worker.run(job.fields)
    audio = await audio_of(worker, output)
    try:
        samples = await asyncio.to_thread(decode, audio)
    except BookError as error:
        raise LostRunError(str(error)) from None
    timings = output.get("timings", {}) if "timings" in job.fields else {}
    words = [SpokenWord(word["text"], word["start_s"], word["end_s"]) for word in timings.get("words", ())]
    return audio, SpokenPiece(
        n_samples=len(samples),
        engine_s=output["metrics"]["engine_ms"] / 1_000,
        model=output["model"],
        warnings=tuple(output.get("warnings", ())),
        words=tuple(words) if "words" in timings else None,
        aligned=timings.get("source") == "aligned",
    )
