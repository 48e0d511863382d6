"""Hostile recordings are refused quickly, in little memory, and no other file or address is opened."""

from __future__ import annotations

import socket
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from f5_worker.audio import decode as module
from f5_worker.audio.decode import decode
from f5_worker.errors import ReferenceProblem, ReferenceTooLarge, ReferenceUnreadable
from tests.audio.signals import file, muxed, silence, tone

LIMITS = {"max_bytes": 25_000_000, "max_s": 600.0}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that nothing may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


def playlists(target: str) -> list[bytes]:
    """Texts and containers that make a player open `target`."""
    return [
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode(),
        f"ffconcat version 1.0\nfile '{target}'\n".encode(),
        f"# comment\nfile '{target}'\n".encode(),
        f"[playlist]\nFile1={target}\nLength1=1\n".encode(),
        f'<?xml version="1.0"?><MPD><BaseURL>{target}</BaseURL></MPD>'.encode(),
        f"<ASX version='3'><entry><ref href='{target}'/></entry></ASX>".encode(),
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        f"{target}\n".encode(),
        b"ID3\x04\x00\x00\x00\x00\x00\x00" + f"#EXTM3U\n{target}\n".encode(),
        b"RIFF\x00\x00\x00\x00WAVE" + f"#EXTM3U\n{target}\n".encode(),
        b"\x00\x00\x00\x10ftypqt  rmra" + target.encode(),
    ]


@pytest.mark.parametrize("kind", range(len(playlists(""))))
def test_playlists_open_nothing(kind: int, listener: socket.socket, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(file(tone(1.0)))
    for target in (f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav", str(other), f"file://{other}"):
        with pytest.raises(ReferenceUnreadable):
            decode(playlists(target)[kind], **LIMITS)


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF" + bytes(100),
        b"MZ" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"%PDF-1.7\n" + bytes(100),
        b"GIF89a" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF\x24\x00\x00\x00AVI " + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x80\x04\x95" + bytes(100),  # a pickle
        b"\x93NUMPY" + bytes(100),
        b"\xff\xff\xff\xff" * 30,
        b"RIFF",
        b"ID3",
        b"ID3\x04\x00\x10\x7f\x7f\x7f\x7f",
        b"\x1aE\xdf\xa3",
        b"\x1aE\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff" * 10,
        b"\x00\x00\x00\x00ftyp",
        b"\x00\x00\x00\x01ftyp" + b"\xff" * 64,
        b"OggS" + b"\xff" * 300,
        b"fLaC" + b"\xff" * 300,
        b"FORM\xff\xff\xff\xffAIFF" + b"\xff" * 300,
    ],
)
def test_other_files_are_unreadable(data: bytes) -> None:
    with pytest.raises(ReferenceUnreadable):
        decode(data, **LIMITS)


def wav(
    rate: int = 24_000,
    channels: int = 1,
    bits: int = 16,
    kind: int = 1,
    data_bytes: int = 4_800,
    payload: int = 4_800,
) -> bytes:
    """Return a WAV file with any header."""
    block = max(1, channels * bits // 8)
    header = struct.pack("<HHIIHH", kind, channels, rate, min(rate * block, 2**32 - 1), min(block, 65_535), bits)
    chunks = b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE" + chunks + bytes(payload)


@pytest.mark.parametrize(
    "forged",
    [
        {"rate": 0},
        {"rate": 1},
        {"rate": 655_350, "channels": 8},  # vLLM #49948
        {"rate": 2**32 - 1},
        {"channels": 0},
        {"channels": 9},
        {"channels": 65_535},
        {"bits": 0},
        {"bits": 65_535},
        {"kind": 0},
        {"kind": 0xFFFF},
        {"kind": 0x55, "bits": 0},  # says MP3
        {"payload": 0},
    ],
)
def test_forged_headers_are_a_problem_of_the_reference(forged: dict[str, int]) -> None:
    with pytest.raises(ReferenceProblem):
        decode(wav(**forged), **LIMITS)


@pytest.mark.parametrize("data_bytes", [0, 1, 2**31, 2**32 - 1])
def test_a_forged_length_reserves_no_memory(data_bytes: int) -> None:
    tracemalloc.start()
    try:
        samples = decode(wav(data_bytes=data_bytes), **LIMITS).samples
    except ReferenceUnreadable:
        samples = np.zeros(0, np.float32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(samples) <= 2_400
    assert peak < 2**20


def _ogg_page(packets: list[bytes], position: int, number: int, flags: int = 0) -> bytes:
    """One page by RFC 3533; packets shorter than 255 bytes."""
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 1, number, 0, len(packets))
    page = bytearray(head + bytes(map(len, packets)) + b"".join(packets))
    page[22:26] = struct.pack("<I", _ogg_crc(page))
    return bytes(page)


def _ogg_crc(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def opus_bomb(seconds: int) -> bytes:
    """Digital silence: 30 s of 48 kHz sound in each page of 0.8 KB."""
    head = b"OpusHead\x01\x02\x00\x00" + struct.pack("<I", 48_000) + b"\x00\x00\x00"
    tags = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0)
    # Code 3 packs six CELT frames of 20 ms, each of one byte, into one packet of 120 ms.
    packet = bytes([0xFC | 3, 6]) + b"\xff" * 6
    pages = [_ogg_page([head], 0, 0, 2), _ogg_page([tags], 0, 1)]
    per_page = 250
    for number in range(seconds * 48_000 // (per_page * 5_760)):
        pages.append(_ogg_page([packet] * per_page, (number + 1) * per_page * 5_760, number + 2))
    return b"".join(pages)


def test_an_opus_bomb_is_stopped_by_seconds() -> None:
    """vLLM #44970: 25 MB became 5.7 GB."""
    bomb = opus_bomb(240)
    assert len(bomb) < 24_000  # for 92 MB of float32 stereo
    tracemalloc.start()
    with pytest.raises(ReferenceTooLarge, match=r"longer than 5 s .*stopped at 5\.\d s"):
        decode(bomb, max_bytes=25_000_000, max_s=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 48_000 * 4 * 4


def test_a_flac_bomb_is_stopped_by_seconds() -> None:
    bomb = file(silence(300.0, 8_000), 8_000, "FLAC")
    assert len(bomb) < 20_000
    with pytest.raises(ReferenceTooLarge, match=r"longer than 10 s .*stopped at 10\.\d s"):
        decode(bomb, max_bytes=25_000_000, max_s=10)


def test_many_channels_at_a_high_rate_are_stopped_by_decoded_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM #49948: few seconds, but 8 channels at 192 kHz."""
    monkeypatch.setattr(module, "MAX_DECODED_BYTES", 2**20)
    bomb = file(np.zeros((192_000, 8), np.int16), 192_000, "FLAC")
    assert len(bomb) < 2_000
    with pytest.raises(ReferenceTooLarge, match=r"more than 1048576 bytes .* 8 channels at 192000 Hz"):
        decode(bomb, **LIMITS)


def test_the_bound_on_decoded_bytes_is_the_usual_one() -> None:
    assert module.MAX_DECODED_BYTES == 256 * 2**20


def test_the_samples_of_one_frame_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file(tone(1.0), format="FLAC")  # frames of 4,096 samples
    monkeypatch.setattr(module, "MAX_FRAME_SAMPLES", 4_096)
    assert decode(data, **LIMITS).duration_s == 1.0
    monkeypatch.setattr(module, "MAX_FRAME_SAMPLES", 4_095)
    with pytest.raises(ReferenceUnreadable):
        decode(data, **LIMITS)


def test_a_packet_that_announces_millions_of_samples_is_refused() -> None:
    """ALAC's header states the length of its frames, here 16 M samples; then every frame is a short one."""
    data = bytearray(muxed(tone(1.0, rate=48_000), "mov", "alac"))
    at = data.index(struct.pack(">4sII", b"alac", 0, 4_096)) + 8
    data[at : at + 4] = struct.pack(">I", 4_096 * 4_096)
    tracemalloc.start()
    with suppress(ReferenceProblem):
        decode(bytes(data), **LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
