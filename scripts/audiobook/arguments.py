"""Make an audiobook of an EPUB, a text, a Markdown or an HTML file, through the worker.

    RUNPOD_API_KEY=... python scripts/book.py BOOK.epub --voice ann --endpoint ENDPOINT_ID --out book.m4b
    python scripts/book.py BOOK.txt --voice joe --url http://localhost:8000 --out book.m4b --captions --chapters parts/

Stopped at any time, the same command goes on where it was: docs/books.md.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from scripts.audiobook.model import BookError

LOUDNESS_LUFS = -19.0  # of mono: as loud as -16 LUFS of stereo, which podcasts have
KBIT_PER_S = 64
PIECE_CHARS = 1_500  # some 100 s: half of what fits a response of 10 MB as flac
QUEUED_JOBS = 64  # on two GPUs: a worker speaks 32 together
HTTP_JOBS = 8
MAX_JOBS = 500
AUDIOBOOKS = (".m4b", ".m4a", ".mp4")


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
    running.add_argument("--jobs", type=int, help=f"sent at a time ({QUEUED_JOBS}; with --url {HTTP_JOBS})")
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
    if arguments.out is not None and arguments.out.suffix.lower() not in AUDIOBOOKS:
        parser.error(f"--out must end in one of {', '.join(AUDIOBOOKS)}; --chapters writes mp3")
    if arguments.jobs is None:
        arguments.jobs = QUEUED_JOBS if arguments.endpoint else HTTP_JOBS
    if not 1 <= arguments.jobs <= MAX_JOBS or not 100 <= arguments.piece_chars <= 15_000:
        parser.error(f"--jobs is 1..{MAX_JOBS}, --piece-chars 100..15000")
    return arguments


def chapter_numbers(only: str | None, n_chapters: int) -> list[int]:
    """Return the numbers that a list such as `1,3-5` names; all without one.

    Raises:
        BookError: it names others than 1..n_chapters.
    """
    if only is None:
        return list(range(1, n_chapters + 1))
    found: set[int] = set()
    for part in only.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= n_chapters:
            raise BookError(f"--only {only}: use numbers from 1 to {n_chapters}, such as 1,3-5")
        found.update(range(first, last + 1))
    return sorted(found)
