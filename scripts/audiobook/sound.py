"""Decode pieces, join them to chapters of equal loudness, and write audiobooks: m4b with chapter marks, mp3."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, cast

import av
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.audio.loudness import level
from f5_worker.storage.files import replacing
from scripts.audiobook.model import BookError

_MS = 1_000
_BLOCK_SAMPLES = 10 * SAMPLE_RATE
_COVER_CODECS = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG": "png"}


@dataclass(frozen=True)
class ChapterMark:
    """A chapter of the audiobook and where it begins and ends, in samples at 24 kHz."""

    title: str
    begin: int
    end: int


@dataclass(frozen=True)
class Picture:
    """A JPEG or PNG file."""

    data: bytes
    codec: str
    width: int
    height: int


def read_picture(data: bytes) -> Picture:
    """Read the size of a picture.

    Raises:
        BookError: it is no JPEG or PNG file, or is broken.
    """
    codec = next((codec for mark, codec in _COVER_CODECS.items() if data.startswith(mark)), None)
    if codec is None:
        raise BookError("the cover is neither JPEG nor PNG; give another one by --cover")
    try:
        with av.open(io.BytesIO(data)) as picture:
            stream = picture.streams.video[0]
            width, height = stream.width, stream.height
    except (av.FFmpegError, IndexError):
        width = height = 0
    if not width or not height:
        raise BookError("the cover cannot be read; give another one by --cover")
    return Picture(data, codec, width, height)


def decode(file: IO[bytes] | bytes) -> Samples:
    """Return the samples of an audio file, float32 `[nw]`, mono, at 24 kHz.

    Raises:
        BookError: it is not audio.
    """
    parts = []
    try:
        with av.open(io.BytesIO(file) if isinstance(file, bytes) else file) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            for frame in (*container.decode(audio=0), None):
                parts += [resampled.to_ndarray()[0] for resampled in resampler.resample(frame)]
    except (av.FFmpegError, IndexError) as error:
        raise BookError(f"the audio of a piece cannot be decoded: {error}") from None
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def join_chapter(pieces: Iterable[tuple[Path, int, int]], target_lufs: float) -> Samples:
    """Return a chapter at a loudness: pieces, each a path, its length, and the silence after it in samples.

    Raises:
        BookError: a piece is not as long as when it was stored.
    """
    parts: list[Samples] = []
    for path, n_samples, n_silence in pieces:
        with path.open("rb") as file:
            samples = decode(file)
        if len(samples) != n_samples:
            raise BookError(f"{path} has changed since it was spoken; delete it, and run the command again")
        parts += [samples, np.zeros(n_silence, np.float32)]
    return level(np.concatenate(parts), target_lufs).samples


def write_m4b(
    path: Path,
    chapters: Iterable[Samples],
    marks: Sequence[ChapterMark],
    *,
    tags: Mapping[str, str],
    cover: Picture | None,
    kbit_per_s: int,
) -> None:
    """Write chapters as AAC in MP4, with marks that Apple's and all other players read, a cover and tags."""
    options = {"movflags": "+faststart", "brand": "M4B "}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        writer = _Writer(beside, "mp4", "aac", options, tags, cover, kbit_per_s)
        writer.set_chapters(marks)
        writer.write(chapters)


def write_mp3(path: Path, chapter: Samples, *, tags: Mapping[str, str], cover: Picture | None, kbit_per_s: int) -> None:
    """Write a chapter as MP3, with a cover and tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        _Writer(beside, "mp3", "libmp3lame", {"id3v2_version": "3"}, tags, cover, kbit_per_s).write([chapter])


class _Writer:
    """An audio file that is written."""

    def __init__(
        self,
        path: Path,
        format: str,
        codec: str,
        options: dict[str, str],
        tags: Mapping[str, str],
        cover: Picture | None,
        kbit_per_s: int,
    ) -> None:
        self._container: OutputContainer = av.open(str(path), "w", format=format, options=options)
        self._stream = cast(av.AudioStream, self._container.add_stream(codec, rate=SAMPLE_RATE, layout="mono"))
        self._stream.bit_rate = kbit_per_s * 1_000
        self._container.metadata.update({name: value for name, value in tags.items() if value})
        self._cover = self._add_cover(cover) if cover else None
        self._n_samples = 0

    def set_chapters(self, marks: Sequence[ChapterMark]) -> None:
        """Set the marks, to the millisecond; they are part of the header."""
        self._container.set_chapters(
            [
                {
                    "id": index,
                    "start": round(mark.begin * _MS / SAMPLE_RATE),
                    "end": round(mark.end * _MS / SAMPLE_RATE),
                    "time_base": Fraction(1, _MS),
                    "metadata": {"title": mark.title},
                }
                for index, mark in enumerate(marks)
            ]
        )

    def write(self, chapters: Iterable[Samples]) -> None:
        """Encode chapters one behind the other, and close the file."""
        try:
            self._container.start_encoding()
            if self._cover is not None:
                self._container.mux(self._cover)
            for block in _blocks(chapters):
                frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self._n_samples, Fraction(1, SAMPLE_RATE)
                self._n_samples += len(block)
                self._container.mux(self._stream.encode(frame))
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _add_cover(self, picture: Picture) -> av.Packet:
        stream: Any = self._container.add_mux_stream(picture.codec, width=picture.width, height=picture.height)
        stream.disposition = Disposition.attached_pic
        packet = av.Packet(picture.data)
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, 0, 0, True
        return packet


def _blocks(chapters: Iterable[Samples]) -> Iterator[Samples]:
    for chapter in chapters:
        for begin in range(0, len(chapter), _BLOCK_SAMPLES):
            yield np.ascontiguousarray(chapter[begin : begin + _BLOCK_SAMPLES])
