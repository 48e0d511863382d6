"""One run of scripts/book.py: read, estimate, speak what is not spoken yet, assemble."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from f5_worker.audio.levels import SAMPLE_RATE
from scripts.audiobook.arguments import chapter_numbers, parse_arguments
from scripts.audiobook.assembling import Output, PieceFile, SpokenChapter, assemble
from scripts.audiobook.estimating import Estimate, cost, describe_voices, estimate
from scripts.audiobook.files import read_book
from scripts.audiobook.model import Book, BookError, ReadOptions, primary_language
from scripts.audiobook.pieces import cut_chapter
from scripts.audiobook.sound import Picture, read_picture
from scripts.audiobook.speaking import Failure, SpeechJob, speak_all, speech_job
from scripts.audiobook.store import PieceStore, SpokenPiece
from scripts.audiobook.worker import JobFailedError, open_worker
from scripts.terminal import exit_code

MEASURED_S = 60.0  # of speech, before the speed of the worker is told
_SHOWN_WARNINGS = 10
_SECONDS_OF_UNIT = {"h": 3_600, "min": 60}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parse_arguments(argv)
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    stopped = "stopped; the same command goes on from here"
    return exit_code("book", lambda: Run(arguments).run(), (BookError, JobFailedError), stopped=stopped)


@dataclass(frozen=True)
class PlannedChapter:
    """A chapter, its number in the book, and its jobs."""

    number: int
    title: str
    jobs: tuple[SpeechJob, ...]

    @property
    def n_chars(self) -> int:
        """Return how long its text is."""
        return sum(len(job.piece.text) for job in self.jobs)

    @property
    def pauses_s(self) -> float:
        """Return the silence between its pieces and after it."""
        return sum(job.piece.pause_s for job in self.jobs)


class Run:
    """One run of the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._out: Path = arguments.out or arguments.book.with_suffix(".m4b")
        self._store = PieceStore(arguments.work or self._out.with_name(f"{self._out.name}.work"))

    @property
    def _can_ask(self) -> bool:
        """Return whether there is a worker, and a voice to ask it about."""
        return bool(self._arguments.endpoint or self._arguments.url) and self._arguments.voice is not None

    def run(self) -> int:
        """Do all of it; return the exit code."""
        book = self._read()
        cover = read_picture(book.cover) if book.cover else None
        chapters = self._plan(book)
        jobs = [job for chapter in chapters for job in chapter.jobs]
        missing = self._missing(jobs)
        self._show_plan(book, chapters)
        if self._can_ask and (missing or self._is_mixed(jobs)):
            missing = self._missing_of_voices(jobs, missing)
        if self._can_ask and (self._arguments.dry_run or missing):
            self._show_estimate(chapters, missing)
        if self._arguments.dry_run:
            return 0
        if missing:
            self._confirm()
            if failures := asyncio.run(self._speak(jobs, missing)):
                _show_failures(failures)
                return 1
            self._check_voices(jobs, missing)
        self._assemble(book, chapters, cover)
        return 0

    def _read(self) -> Book:
        given = self._arguments
        options = ReadOptions(matter=given.keep_matter, images=given.images, tables=not given.no_tables)
        book = read_book(given.book, options)
        return replace(
            book,
            title=given.title or book.title,
            author=given.author or book.author,
            language=primary_language(given.language) or book.language,
            cover=_file(given.cover) if given.cover else book.cover,
        )

    def _plan(self, book: Book) -> list[PlannedChapter]:
        given = self._arguments
        shared: dict[str, Any] = json_object(given.fields) if given.fields else {}
        own = {"voice": given.voice, "language": book.language, "quality": given.quality, "speed": given.speed}
        shared |= {name: value for name, value in own.items() if value is not None}
        numbers = chapter_numbers(given.only, len(book.chapters))
        return [
            PlannedChapter(
                number,
                book.chapters[number - 1].title,
                tuple(
                    speech_job(piece, shared, seed=given.seed, with_words=given.captions)
                    for piece in cut_chapter(book.chapters[number - 1], given.piece_chars)
                ),
            )
            for number in numbers
        ]

    def _missing(self, jobs: list[SpeechJob]) -> list[SpeechJob]:
        return list({job.key: job for job in jobs if self._find(job) is None}.values())

    def _missing_of_voices(self, jobs: list[SpeechJob], missing: list[SpeechJob]) -> list[SpeechJob]:
        """Return the jobs that are not spoken by the voices as they are now."""
        self._store.voices = asyncio.run(self._describe_voices(jobs))
        now = self._missing(jobs)
        if len(now) > len(missing):
            print(f"note: the voice was replaced since; pieces to be spoken again: {len(now) - len(missing)}")
        return now

    def _is_mixed(self, jobs: list[SpeechJob]) -> bool:
        """Return whether pieces were spoken by different recordings of a voice, each in a run of its own chapters."""
        return len({spoken.voices for job in jobs if (spoken := self._find(job))}) > 1

    def _check_voices(self, jobs: list[SpeechJob], spoken: list[SpeechJob]) -> None:
        """Raise BookError if a voice was replaced meanwhile: it is not known which recording spoke which piece."""
        if asyncio.run(self._describe_voices(jobs)) != self._store.voices:
            for job in spoken:
                self._store.remove(job.key)
            raise BookError("the voice was replaced while it spoke; the same command has the new one speak all of it")

    def _find(self, job: SpeechJob) -> SpokenPiece | None:
        return self._store.find(job.key, with_words="timings" in job.fields)

    def _show_plan(self, book: Book, chapters: list[PlannedChapter]) -> None:
        print(f"{book.title}{f', by {book.author}' if book.author else ''}")
        for chapter in chapters:
            print(f"{chapter.number:4}  {chapter.n_chars:8,}  {chapter.title}")
        n_pieces = sum(len(chapter.jobs) for chapter in chapters)
        print(f"{sum(chapter.n_chars for chapter in chapters):14,}  characters in {n_pieces} pieces")
        for warning in book.warnings:
            print(f"note: {warning}")

    def _show_estimate(self, chapters: list[PlannedChapter], missing: list[SpeechJob]) -> None:
        jobs = [job for chapter in chapters for job in chapter.jobs]
        found = asyncio.run(self._estimate(jobs))
        total_s = found.speech_s + sum(chapter.pauses_s for chapter in chapters)
        print(f"about {_duration(total_s)} of audio")
        if len(missing) < len(jobs):
            print(f"{len(jobs) - len(missing)} of {len(jobs)} pieces are spoken already")
        left_s = found.speech_s * sum(len(job.piece.text) for job in missing) / sum(len(job.piece.text) for job in jobs)
        self._show_cost([spoken for job in jobs if (spoken := self._find(job))], left_s)
        _show_warnings(found.warnings)

    def _show_cost(self, spoken: list[SpokenPiece], left_s: float) -> None:
        """Say what the rest will take, if enough was measured."""
        measured_s = _speech_s(spoken)
        if measured_s < MEASURED_S:
            return
        speed = sum(piece.engine_s for piece in spoken) / measured_s
        price = self._arguments.price_per_hour
        money = f", about {cost(left_s, speed, price):.2f} at {price:g} an hour" if price else ""
        line = (
            f"measured: {speed:.3f} s of a worker's device for 1 s of audio; {_duration(left_s * speed)} to go{money}"
        )
        tqdm.write(line, file=sys.stdout)

    async def _estimate(self, jobs: list[SpeechJob]) -> Estimate:
        async with open_worker(self._arguments.endpoint, self._arguments.url, self._key()) as worker:
            return await estimate(worker, jobs, self._arguments.jobs)

    async def _describe_voices(self, jobs: list[SpeechJob]) -> str:
        async with open_worker(self._arguments.endpoint, self._arguments.url, self._key()) as worker:
            return await describe_voices(worker, jobs)

    def _key(self) -> str | None:
        key = os.environ.get("RUNPOD_API_KEY" if self._arguments.endpoint else "F5_API_KEY")
        if self._arguments.endpoint and not key:
            raise BookError("set RUNPOD_API_KEY to your RunPod API key")
        return key

    def _confirm(self) -> None:
        """Ask whether to start, where there is someone to ask."""
        if self._arguments.yes or not sys.stdin.isatty():
            return
        try:
            answer = input("Speak it? [Y/n] ")
        except EOFError:
            answer = "n"
        if answer.strip().lower() not in ("", "y", "yes"):
            raise BookError("not started")

    async def _speak(self, jobs: list[SpeechJob], missing: list[SpeechJob]) -> list[Failure]:
        n_chars = {job.key: len(job.piece.text) for job in jobs}
        spoken: list[SpokenPiece] = []
        left = sum(len(job.piece.text) for job in missing)
        done = sum(n_chars.values()) - left
        with (
            logging_redirect_tqdm(),
            tqdm(total=done + left, initial=done, unit=" chars", unit_scale=True, smoothing=0.1) as bar,
        ):

            def advance(job: SpeechJob, piece: SpokenPiece) -> None:
                bar.update(len(job.piece.text))
                was_measured = _speech_s(spoken) >= MEASURED_S
                spoken.append(piece)
                if not was_measured:
                    n_spoken = bar.n - done
                    self._show_cost(spoken, _speech_s(spoken) * (left - n_spoken) / n_spoken)

            async with open_worker(self._arguments.endpoint, self._arguments.url, self._key()) as worker:
                return await speak_all(worker, missing, self._store, in_flight=self._arguments.jobs, on_spoken=advance)

    def _assemble(self, book: Book, chapters: list[PlannedChapter], cover: Picture | None) -> None:
        given = self._arguments
        spoken = [
            SpokenChapter(chapter.number, chapter.title, tuple(map(self._required, chapter.jobs)))
            for chapter in chapters
        ]
        captions = self._out.with_suffix(".srt") if given.captions else None
        output = Output(self._out, given.chapters, captions, given.loudness, given.kbps)
        length_s = assemble(book, spoken, cover, output)
        print(f"{self._out}: {_duration(length_s)}, {len(spoken)} chapters")
        pieces = [file.spoken for chapter in spoken for file in chapter.files]
        _show_warnings(Counter(warning for piece in pieces for warning in piece.warnings).most_common())
        models = sorted({piece.model for piece in pieces})
        if len(models) > 1:
            print(f"note: spoken by {' and '.join(models)}; delete {self._store.directory} to have one speak all of it")
        print(f"{self._store.directory} has the pieces; without it, another run speaks them again")

    def _required(self, job: SpeechJob) -> PieceFile:
        spoken = self._find(job)
        if spoken is None:
            raise BookError(f"a piece has vanished from {self._store.directory}; run the command again")
        return PieceFile(job.piece, spoken, self._store.audio_path(job.key))


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        BookError: it cannot be read, or is something else.
    """
    try:
        value = json.loads(_file(path))
    except ValueError as error:
        raise BookError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BookError(f'{path} has no JSON object, such as {{"pronunciations": []}}')
    return value


def _show_failures(failures: list[Failure]) -> None:
    for failure in failures:
        print(f"book: failed: {failure.reason}\n      {failure.job.piece.text[:100]!r}", file=sys.stderr)
    if any("RESULT_TOO_LARGE" in failure.reason for failure in failures):
        print("book: a smaller --piece-chars makes smaller results", file=sys.stderr)
    print(
        f"book: {len(failures)} pieces failed; the others are kept, and the same command tries these again",
        file=sys.stderr,
    )


def _show_warnings(warnings: Sequence[tuple[str, int]]) -> None:
    for warning, count in warnings[:_SHOWN_WARNINGS]:
        print(f"note: {warning}{f' ({count} times)' if count > 1 else ''}")


def _speech_s(pieces: list[SpokenPiece]) -> float:
    return sum(piece.n_samples for piece in pieces) / SAMPLE_RATE


def _duration(seconds: float) -> str:
    for unit, length_s in _SECONDS_OF_UNIT.items():
        if seconds >= length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.0f} s"


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BookError(f"{path}: {error.strerror}") from None
