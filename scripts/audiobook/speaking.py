"""Speak the pieces of a book, many at a time, and store each as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.audiobook.model import BookError
from scripts.audiobook.pieces import Piece
from scripts.audiobook.sound import decode
from scripts.audiobook.store import PieceStore, SpokenPiece, SpokenWord, piece_key
from scripts.audiobook.worker import JobFailedError, Json, LostRunError, Worker, audio_of, run_job

FORMAT = "flac"  # without loss, so that the audiobook is encoded once
MAX_FAILURES = 5  # in a row, before anything was spoken: what then fails is no single piece
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

    Cancelled, it cancels the jobs that run; those that ended are stored.

    Raises:
        BookError: the first MAX_FAILURES jobs failed.
    """
    waiting = iter(jobs)
    failures: list[Failure] = []
    n_spoken = 0

    async def work() -> None:
        nonlocal n_spoken
        for job in waiting:
            try:
                spoken = await _speak(worker, job, store)
            except JobFailedError as error:
                failures.append(Failure(job, str(error)))
                if not n_spoken and len(failures) >= MAX_FAILURES:
                    raise BookError(f"the first {len(failures)} pieces failed: {error}") from None
            else:
                n_spoken += 1
                on_spoken(job, spoken)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work())
    except* BookError as errors:
        raise errors.exceptions[0] from None
    return failures


async def _speak(worker: Worker, job: SpeechJob, store: PieceStore) -> SpokenPiece:
    output = await run_job(_Decoding(worker), job.fields)
    words = output.get("timings", {}).get("words") if "timings" in job.fields else None
    spoken = SpokenPiece(
        n_samples=output["n_samples"],
        engine_s=output["metrics"]["engine_ms"] / 1_000,
        model=output["model"],
        warnings=tuple(output.get("warnings", ())),
        words=None
        if words is None
        else tuple(SpokenWord(word["text"], word["start_s"], word["end_s"]) for word in words),
        aligned=output.get("timings", {}).get("source") == "aligned",
    )
    store.save(job.key, output["file"], spoken)
    return spoken


class _Decoding:
    """A worker whose results have the audio's file and length: one that cannot be decoded is asked for again."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def run(self, job: Json) -> Json:
        output = await self._worker.run(job)
        file = await audio_of(self._worker, output)
        try:
            samples = await asyncio.to_thread(decode, file)
        except BookError as error:
            raise LostRunError(str(error)) from None
        return {**output, "file": file, "n_samples": len(samples)}

    async def download(self, url: str) -> bytes:
        return await self._worker.download(url)
