"""Put spoken pieces together: the audiobook, an mp3 of each chapter, subtitles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.storage import files
from scripts.audiobook.captions import PlacedPiece, write_srt
from scripts.audiobook.model import Book
from scripts.audiobook.pieces import Piece
from scripts.audiobook.sound import ChapterMark, Picture, join_chapter, write_m4b, write_mp3
from scripts.audiobook.store import SpokenPiece

_UNFIT = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')  # for the name of a file
_MAX_NAME_CHARS = 80


@dataclass(frozen=True)
class PieceFile:
    """A piece, what is known of its sound, and the file that it is in."""

    piece: Piece
    spoken: SpokenPiece
    path: Path

    @property
    def n_silence(self) -> int:
        """Return the silence after it, in samples."""
        return round(self.piece.pause_s * SAMPLE_RATE)

    @property
    def n_samples(self) -> int:
        """Return its length with that silence."""
        return self.spoken.n_samples + self.n_silence


@dataclass(frozen=True)
class SpokenChapter:
    """A chapter whose pieces are all spoken; `number` is that in the book."""

    number: int
    title: str
    files: tuple[PieceFile, ...]

    @property
    def n_samples(self) -> int:
        """Return its length."""
        return sum(file.n_samples for file in self.files)


@dataclass(frozen=True)
class Output:
    """The files to write; `chapters` is a directory, `captions` a file, None for none."""

    audiobook: Path
    chapters: Path | None
    captions: Path | None
    lufs: float
    kbit_per_s: int


def assemble(book: Book, chapters: Sequence[SpokenChapter], cover: Picture | None, output: Output) -> float:
    """Write the files; return the length of the audiobook in seconds. One chapter is in memory at a time.

    Raises:
        BookError: a piece has changed since it was spoken.
    """
    tags = {
        "title": book.title,
        "album": book.title,
        "artist": book.author,
        "album_artist": book.author,
        "genre": "Audiobook",
    }
    marks = list(_marks(chapters))
    sounds = _sounds(chapters, tags, cover, output)
    write_m4b(output.audiobook, sounds, marks, tags=tags, cover=cover, kbit_per_s=output.kbit_per_s)
    if output.captions is not None:
        files.write(output.captions, write_srt(_placed(chapters), marks[-1].end).encode())
    return marks[-1].end / SAMPLE_RATE


def _marks(chapters: Sequence[SpokenChapter]) -> Iterator[ChapterMark]:
    begin = 0
    for chapter in chapters:
        yield ChapterMark(chapter.title, begin, begin + chapter.n_samples)
        begin += chapter.n_samples


def _sounds(
    chapters: Sequence[SpokenChapter], tags: dict[str, str], cover: Picture | None, output: Output
) -> Iterator[Samples]:
    """Yield the sound of each chapter; write it as mp3, too, where that is wanted."""
    for index, chapter in enumerate(tqdm(chapters, desc="assembling", unit=" chapters"), 1):
        pieces = ((file.path, file.spoken.n_samples, file.n_silence) for file in chapter.files)
        sound = join_chapter(pieces, output.lufs)
        if output.chapters is not None:
            digits = len(str(chapters[-1].number))
            name = _UNFIT.sub("-", f"{chapter.number:0{digits}} {chapter.title}")[:_MAX_NAME_CHARS].strip(" .")
            own = {**tags, "title": chapter.title, "track": f"{index}/{len(chapters)}"}
            path = output.chapters / f"{name}.mp3"
            write_mp3(path, sound, tags=own, cover=cover, kbit_per_s=output.kbit_per_s)
        yield sound


def _placed(chapters: Sequence[SpokenChapter]) -> Iterator[PlacedPiece]:
    begin = 0
    for file in (file for chapter in chapters for file in chapter.files):
        yield PlacedPiece(file.piece, file.spoken, begin)
        begin += file.n_samples
