"""A recording is found behind tags and junk, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from f5_worker.audio.decode import decode
from f5_worker.audio.formats import INPUT_CONTAINERS
from f5_worker.audio.sniff import MAX_JUNK_BYTES, locate, skip_tags
from f5_worker.errors import ReferenceUnreadable
from tests.audio.signals import amr_wb, file, muxed, tone

LIMITS = {"max_bytes": 25_000_000, "max_s": 600.0}
SOUND = tone(1.0, rate=48_000)
MP3 = muxed(SOUND, "mp3", "libmp3lame")
MP3 = MP3[skip_tags(MP3) :]
AAC = muxed(SOUND, "adts", "aac")
FILES = {
    "wav": file(tone(1.0)),
    "flac": file(tone(1.0), format="FLAC"),
    "aiff": file(tone(1.0), format="AIFF"),
    "mov": muxed(SOUND, "mp4", "aac"),
    "ogg": muxed(SOUND, "ogg", "libopus"),
    "matroska": muxed(SOUND, "webm", "libopus"),
    "mp3": MP3,
    "aac": AAC,
    "amr": amr_wb(1.0),
}
TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n"


def id3(n_bytes: int = 128) -> bytes:
    return b"ID3\x04\x00\x00\x00\x00" + bytes([n_bytes >> 7, n_bytes & 127]) + bytes(n_bytes)


def ape(n_bytes: int = 200, *, footer: bool = True, size: int | None = None) -> bytes:
    """Return an APEv2 tag with a header; its size counts the items and the footer."""
    size = n_bytes + 32 * footer if size is None else size
    flags = 1 << 31 | (0 if footer else 1 << 30)

    def part(is_header: int) -> bytes:
        numbers = (2_000, size, 1, flags | is_header << 29)
        return b"APETAGEX" + b"".join(number.to_bytes(4, "little") for number in numbers) + bytes(8)

    return part(1) + b"\xff\xfb\x90\x64" * (n_bytes // 4) + (part(0) if footer else b"")


def test_every_format_is_here() -> None:
    assert list(FILES) == list(INPUT_CONTAINERS)


@pytest.mark.parametrize("demuxer", FILES)
@pytest.mark.parametrize("tag", [b"", id3(), ape(), ape(footer=False), id3() + ape() + id3(0)], ids=len)
def test_tags_may_precede_every_format(tag: bytes, demuxer: str) -> None:
    assert locate(tag + FILES[demuxer]) == (demuxer, len(tag))


def test_a_tag_of_a_wrong_size_costs_no_sound() -> None:
    for tag in (ape(0, size=32)[:32], ape(0, size=2**31)[:32]):
        assert locate(tag + MP3) == ("mp3", 32)


@pytest.mark.parametrize("demuxer", ["mp3", "aac"])
@pytest.mark.parametrize(
    "junk",
    [b"A", TEXT, bytes(1_000), b"\xff" * 999, b"\xff\xfb" * 500, bytes(MAX_JUNK_BYTES - 1), MP3[300:400], id3() + TEXT],
    ids=range(8),
)
def test_junk_may_precede_frames(junk: bytes, demuxer: str) -> None:
    assert locate(junk + FILES[demuxer]) == (demuxer, len(junk))
    clean, found = decode(FILES[demuxer], **LIMITS), decode(junk + FILES[demuxer], **LIMITS)
    assert np.array_equal(found.samples, clean.samples)


@pytest.mark.parametrize("rate", [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000])
def test_frames_of_every_rate_are_found(rate: int) -> None:
    data = muxed(tone(0.5, rate=rate), "mp3", "libmp3lame", rate=rate)
    data = data[skip_tags(data) :]
    assert locate(TEXT + data) == ("mp3", len(TEXT))


def test_layer_two_is_found() -> None:
    data = muxed(tone(0.5, rate=48_000), "mp2", "mp2")
    assert locate(TEXT + data) == ("mp3", len(TEXT))
    assert decode(TEXT + data, **LIMITS).duration_s == pytest.approx(0.5, abs=0.06)


def test_a_few_frames_that_end_with_the_file_are_enough() -> None:
    frame_bytes = 192  # 64 kbit/s at 48 kHz
    assert locate(b"x" + MP3[: 2 * frame_bytes]) == ("mp3", 1)


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_no_frames(seed: int) -> None:
    with pytest.raises(ReferenceUnreadable, match="not one that this worker reads"):
        locate(b"x" + np.random.default_rng(seed).bytes(2 * MAX_JUNK_BYTES))


@pytest.mark.parametrize(
    "data", [TEXT * 100, bytes(MAX_JUNK_BYTES) + MP3, TEXT + MP3[:400], b"x" + FILES["wav"], b"#!AMR", b"APETAGEX"]
)
def test_what_holds_no_recording_at_its_beginning_is_refused(data: bytes) -> None:
    with pytest.raises(ReferenceUnreadable):
        locate(data)
