"""Make an audiobook of an EPUB, a text, a Markdown or an HTML file, through the worker.

    RUNPOD_API_KEY=... python scripts/book.py BOOK.epub --voice ann --endpoint ENDPOINT_ID --out book.m4b
    python scripts/book.py BOOK.txt --voice joe --url http://localhost:8000 --out book.m4b --captions --chapters parts/

Stopped at any time, the same command goes on where it was: docs/books.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from f5_worker.audio.levels import SAMPLE_RATE
from scripts.audiobook.assembling import Output, PieceFile, SpokenChapter, assemble
from scripts.audiobook.estimating import Estimate, cost, estimate
from scripts.audiobook.files import read_book
from scripts.audiobook.model import Book, BookError, ReadOptions, primary_language
from scripts.audiobook.pieces import cut_chapter
from scripts.audiobook.sound import Picture, read_picture
from scripts.audiobook.speaking import Failure, SpeechJob, speak_all, speech_job
from scripts.audiobook.store import PieceStore, SpokenPiece
from scripts.audiobook.worker import JobFailedError, open_worker

LOUDNESS_LUFS = -19.0  # of mono: as loud as -16 LUFS of stereo, which podcasts have
KBIT_PER_S = 64
PIECE_CHARS = 1_500  # some 100 s: half of what fits a response of 10 MB as flac
IN_FLIGHT = 8
MEASURED_S = 60.0  # of speech, before the speed of the worker is told
_STOPPED = 130  # the exit code of a program that was interrupted
_SHOWN_WARNINGS = 10
_SECONDS_OF_UNIT = {"h": 3_600, "min": 60}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parse_arguments(argv)
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    try:
        return Run(arguments).run()
    except (BookError, JobFailedError) as error:
        print(f"book: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbook: stopped; the same command goes on from here", file=sys.stderr)
        return _STOPPED


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path, help=".epub, .txt, .md or .html")
    parser.add_argument("--out", type=Path, help="the audiobook (default: the book's name with .m4b)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--endpoint", help="a RunPod endpoint's id; the key comes from RUNPOD_API_KEY")
    target.add_argument("--url", help="the worker's HTTP server; its key, if it has one, comes from F5_API_KEY")
    parser.add_argument("--chapters", type=Path, metavar="DIR", help="an mp3 of each chapter, too")
    parser.add_argument("--captions", action="store_true", help="subtitles (SRT) beside the audiobook, too")

    reading = parser.add_argument_group("what is read")
    reading.add_argument("--only", metavar="2-5", help="these chapters, by their numbers in --dry-run")
    reading.add_argument(
        "--keep-matter", action="store_true", help="cover, title page, copyright, contents, index, too"
    )
    reading.add_argument("--images", action="store_true", help="the descriptions of images, too")
    reading.add_argument("--no-tables", action="store_true", help="leave tables out")
    reading.add_argument("--title", help="in place of the book's own")
    reading.add_argument("--author", help="in place of the book's own")
    reading.add_argument("--cover", type=Path, help="a JPEG or PNG file, in place of the book's own")

    speaking = parser.add_argument_group("how it is spoken")
    speaking.add_argument("--voice", help="a voice of the library, by name")
    speaking.add_argument("--language", help="such as en, in place of the book's own")
    speaking.add_argument("--quality", choices=("fast", "balanced", "best"))
    speaking.add_argument("--speed", type=float)
    speaking.add_argument("--seed", type=int, help="one for all pieces (default: each its own, always the same)")
    speaking.add_argument(
        "--fields", type=Path, help="a JSON file of further fields, such as pronunciations: docs/api.md"
    )
    speaking.add_argument("--loudness", type=float, default=LOUDNESS_LUFS, metavar="LUFS", help="of each chapter")
    speaking.add_argument("--kbps", type=int, default=KBIT_PER_S, help="bit rate of the files (%(default)s)")

    running = parser.add_argument_group("how the work is done")
    running.add_argument("--jobs", type=int, default=IN_FLIGHT, help="sent at a time (%(default)s)")
    running.add_argument("--piece-chars", type=int, default=PIECE_CHARS, help="longest text of a job (%(default)s)")
    running.add_argument("--work", type=Path, help="directory of finished pieces (default: --out with .work)")
    running.add_argument("--price-per-hour", type=float, help="of a worker: its cost is told")
    running.add_argument("--dry-run", action="store_true", help="only say what would be done")
    running.add_argument("--yes", action="store_true", help="do not ask before the start")
    arguments = parser.parse_args(argv)
    if arguments.voice is None and not arguments.dry_run:
        parser.error("--voice is needed to speak")
    if not (arguments.endpoint or arguments.url or arguments.dry_run):
        parser.error("--endpoint or --url is needed to speak")
    if not 1 <= arguments.jobs <= 200 or not 100 <= arguments.piece_chars <= 15_000:
        parser.error("--jobs is 1..200, --piece-chars 100..15000")
    return arguments


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
    """One run of the command: read, estimate, speak what is not spoken yet, assemble."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._out: Path = arguments.out or arguments.book.with_suffix(".m4b")
        self._store = PieceStore(arguments.work or self._out.with_name(f"{self._out.name}.work"))

    def run(self) -> int:
        """Do all of it; return the exit code."""
        book = self._read()
        cover = read_picture(book.cover) if book.cover else None
        chapters = self._plan(book)
        jobs = [job for chapter in chapters for job in chapter.jobs]
        missing = list({job.key: job for job in jobs if self._find(job) is None}.values())
        self._show_plan(book, chapters)
        if self._arguments.dry_run or missing:
            self._show_estimate(chapters, missing)
        if self._arguments.dry_run:
            return 0
        if missing:
            self._confirm()
            if failures := asyncio.run(self._speak(jobs, missing)):
                _show_failures(failures)
                return 1
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
        given = self._arguments
        if not (given.endpoint or given.url) or given.voice is None:
            return
        jobs = [job for chapter in chapters for job in chapter.jobs]
        found = asyncio.run(self._estimate(jobs))
        total_s = found.speech_s + sum(chapter.pauses_s for chapter in chapters)
        print(f"about {_duration(total_s)} of audio")
        if len(missing) < len(jobs):
            print(f"{len(jobs) - len(missing)} of {len(jobs)} pieces are spoken already")
        left_s = found.speech_s * sum(len(job.piece.text) for job in missing) / sum(len(job.piece.text) for job in jobs)
        self._show_cost([spoken for job in jobs if (spoken := self._find(job))], left_s)
        for warning, count in found.warnings[:_SHOWN_WARNINGS]:
            print(f"note: {warning}{f' ({count} times)' if count > 1 else ''}")

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

    def _key(self) -> str | None:
        key = os.environ.get("RUNPOD_API_KEY" if self._arguments.endpoint else "F5_API_KEY")
        if self._arguments.endpoint and not key:
            raise BookError("set RUNPOD_API_KEY to your RunPod API key")
        return key

    def _confirm(self) -> None:
        """Ask whether to start, where there is someone to ask."""
        if self._arguments.yes or not sys.stdin.isatty():
            return
        if input("Speak it? [Y/n] ").strip().lower() not in ("", "y", "yes"):
            raise BookError("not started")

    async def _speak(self, jobs: list[SpeechJob], missing: list[SpeechJob]) -> list[Failure]:
        n_chars = Counter({job.key: len(job.piece.text) for job in jobs})
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
        print(f"{self._store.directory} has the pieces; without it, another run speaks them again")

    def _required(self, job: SpeechJob) -> PieceFile:
        spoken = self._find(job)
        if spoken is None:
            raise BookError(f"a piece has vanished from {self._store.directory}; run the command again")
        return PieceFile(job.piece, spoken, self._store.audio_path(job.key))


def chapter_numbers(only: str | None, n_chapters: int) -> list[int]:
    """Return the numbers that a list such as `1,3-5` names; all without one.

    Raises:
        BookError: it names others than 1..n_chapters.
    """
    if only is None:
        return list(range(1, n_chapters + 1))
    found: set[int] = set()
    for part in only.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= n_chapters:
            raise BookError(f"--only {only}: use numbers from 1 to {n_chapters}, such as 1,3-5")
        found.update(range(first, last + 1))
    return sorted(found)


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
    print(
        f"book: {len(failures)} pieces failed; the others are kept, and the same command tries these again",
        file=sys.stderr,
    )


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
