"""scripts/audiobook/sound.py, assembling.py and captions.py: pieces to an audiobook, as players read it."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
import srt
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4

from f5_worker.audio.encode import encode
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.audio.loudness import lufs
from scripts.audiobook.assembling import Output, PieceFile, SpokenChapter, assemble
from scripts.audiobook.model import Book, BookError
from scripts.audiobook.pieces import Piece
from scripts.audiobook.sound import Picture, decode, read_picture
from scripts.audiobook.store import SpokenPiece, SpokenWord
from tests.audiobook.endpoint import tone
from tests.audiobook.epubs import jpeg

BOOK = Book("Der Wald", "Ann Ä. Author", "de", ())


def png() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 30, 40, "rgb24"  # type: ignore[union-attr]
        frame = av.VideoFrame.from_ndarray(np.full((40, 30, 3), 9, np.uint8), format="rgb24")
        container.mux(stream.encode(frame))  # type: ignore[union-attr, arg-type]
        container.mux(stream.encode(None))  # type: ignore[union-attr]
    return out.getvalue()


def piece(directory: Path, text: str, gain: float, pause_s: float = 0.5) -> PieceFile:
    sound = tone(len(text)) * np.float32(gain)
    path = directory / f"{text[:5]}.flac"
    path.write_bytes(encode(sound, "flac", SAMPLE_RATE))
    words = tuple(
        SpokenWord(word, text.index(word) * 0.05, (text.index(word) + len(word)) * 0.05) for word in text.split()
    )
    return PieceFile(Piece(text, None, pause_s), SpokenPiece(len(sound), 1.0, "m", (), words, True), path)


@pytest.fixture
def chapters(tmp_path: Path) -> list[SpokenChapter]:
    """Of 40, 80 and 60 characters; the second is much quieter."""
    first = piece(tmp_path, "Heading number one, 20", 1.0), piece(tmp_path, "A paragraph of 18.", 1.0)
    return [
        SpokenChapter(3, "Erstes: Der Anfang?", first),
        SpokenChapter(4, "Zweites", (piece(tmp_path, "B" * 39 + " " + "C" * 40, 0.1),)),
        SpokenChapter(10, "Drittes", (piece(tmp_path, "D" * 60, 0.5, pause_s=2.0),)),
    ]


def output(tmp_path: Path) -> Output:
    return Output(tmp_path / "out" / "b.m4b", tmp_path / "parts", tmp_path / "out" / "b.srt", -19.0, 64)


BEGINS_S = (0.0, 3.0, 7.5)  # of `chapters`: 40 characters and two pauses, 80 and one, 60 and one
ENDS_S = (3.0, 7.5, 12.5)


@pytest.mark.parametrize("cover", [jpeg(), png(), None], ids=["jpeg", "png", "none"])
def test_the_audiobook_as_pyav_and_mutagen_read_it(
    tmp_path: Path, chapters: list[SpokenChapter], cover: bytes | None
) -> None:
    picture = read_picture(cover) if cover else None
    assert assemble(BOOK, chapters, picture, output(tmp_path)) == pytest.approx(12.5)
    path = tmp_path / "out" / "b.m4b"
    assert path.read_bytes()[4:12] == b"ftypM4B "
    assert sorted(file.name for file in path.parent.iterdir()) == ["b.m4b", "b.srt"]
    with av.open(str(path)) as container:
        marks = container.chapters()
        assert [mark["metadata"]["title"] for mark in marks] == ["Erstes: Der Anfang?", "Zweites", "Drittes"]
        assert [float(mark["start"] * mark["time_base"]) for mark in marks] == pytest.approx(BEGINS_S)
        assert [float(mark["end"] * mark["time_base"]) for mark in marks] == pytest.approx(ENDS_S)
        assert container.metadata["artist"] == "Ann Ä. Author"
        assert container.streams.audio[0].codec_context.name == "aac"
    mutagen = MP4(path)
    assert [(mark.start, mark.title) for mark in mutagen.chapters] == [
        (0.0, "Erstes: Der Anfang?"), (3.0, "Zweites"), (7.5, "Drittes")
    ]  # fmt: skip
    assert mutagen["\xa9nam"] == mutagen["\xa9alb"] == ["Der Wald"]
    assert mutagen["\xa9gen"] == ["Audiobook"]
    assert [bytes(found) for found in mutagen.get("covr", [])] == ([cover] if cover else [])
    assert mutagen.info.length == pytest.approx(12.5, abs=0.05)


def sounding(samples: Samples, begin_s: float, end_s: float) -> Samples:
    return samples[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]


def test_sound_is_at_its_chapter_and_as_loud_in_each(tmp_path: Path, chapters: list[SpokenChapter]) -> None:
    assemble(BOOK, chapters, None, output(tmp_path))
    samples = decode((tmp_path / "out" / "b.m4b").read_bytes())
    for begin_s, end_s in zip(BEGINS_S, ENDS_S, strict=True):
        assert lufs(sounding(samples, begin_s, end_s)) == pytest.approx(-19.0, abs=0.3)
    onset = np.flatnonzero(np.abs(sounding(samples, 2.6, 4.0)) > 0.05)[0] / SAMPLE_RATE + 2.6
    assert onset == pytest.approx(3.0, abs=0.005)


def test_an_mp3_of_each_chapter(tmp_path: Path, chapters: list[SpokenChapter]) -> None:
    cover = jpeg()
    assemble(BOOK, chapters, read_picture(cover), output(tmp_path))
    files = sorted((tmp_path / "parts").iterdir())
    assert [file.name for file in files] == ["03 Erstes- Der Anfang-.mp3", "04 Zweites.mp3", "10 Drittes.mp3"]
    second = MP3(files[1])
    assert second.info.length == pytest.approx(4.5, abs=0.06)
    assert [str(second.tags[name]) for name in ("TIT2", "TALB", "TPE1", "TRCK", "TCON")] == [
        "Zweites", "Der Wald", "Ann Ä. Author", "2/3", "Audiobook"
    ]  # fmt: skip
    assert second.tags["APIC:"].data == cover


def test_subtitles_of_the_whole(tmp_path: Path, chapters: list[SpokenChapter]) -> None:
    assemble(BOOK, chapters, None, output(tmp_path))
    cues = list(srt.parse((tmp_path / "out" / "b.srt").read_text()))
    assert " ".join(cue.content for cue in cues).replace("\n", " ").split() == [
        "Heading", "number", "one,", "20", "A", "paragraph", "of", "18.", "B" * 39, "C" * 40, "D" * 60
    ]  # fmt: skip
    starts = {cue.content.split()[0]: cue.start.total_seconds() for cue in cues}
    assert starts["Heading"] == pytest.approx(0.0)
    assert starts["A"] == pytest.approx(22 * 0.05 + 0.5)
    assert starts["B" * 39] == pytest.approx(3.0)
    assert starts["D" * 60] == pytest.approx(7.5)


def test_a_piece_that_changed_is_said(tmp_path: Path, chapters: list[SpokenChapter]) -> None:
    chapters[1].files[0].path.write_bytes(encode(tone(10), "flac", SAMPLE_RATE))
    with pytest.raises(BookError, match="changed"):
        assemble(BOOK, chapters, None, output(tmp_path))
    assert not (tmp_path / "out" / "b.m4b").exists()


@pytest.mark.parametrize("data", [b"GIF89a", b"", jpeg()[:20]])
def test_what_is_no_picture_is_said(data: bytes) -> None:
    with pytest.raises(BookError, match="cover"):
        read_picture(data)
    assert read_picture(jpeg(60, 90)) == Picture(jpeg(60, 90), "mjpeg", 60, 90)


def test_what_is_no_sound_is_said() -> None:
    with pytest.raises(BookError, match="decoded"):
        decode(b"no")
