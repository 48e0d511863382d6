"""Recordings that are small, well-formed enough to be opened, and take FFmpeg's memory or the processor."""

from __future__ import annotations

import struct

from f5_worker.audio.sniff import skip_tags
from tests.audio.signals import file, muxed, tone


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full_box(kind: bytes, flags: int, *content: bytes) -> bytes:
    return box(kind, struct.pack(">I", flags), *content)


def boxes(data: bytes) -> dict[bytes, bytes]:
    """Return the outermost boxes of an MP4 file."""
    found, begin = {}, 0
    while begin < len(data):
        (size,) = struct.unpack_from(">I", data, begin)
        found.setdefault(data[begin + 4 : begin + 8], data[begin : begin + size])
        begin += size
    return found


def m4a_of_many_samples(n_samples: int) -> bytes:
    """Return an MP4 file of some hundred bytes with a fragment that says it has so many samples."""
    parts = boxes(muxed(tone(0.2, rate=48_000), "mp4", "aac"))
    movie = parts[b"moov"]
    extends = box(b"mvex", full_box(b"trex", 0, struct.pack(">5I", 1, 1, 1024, 4, 0)))
    movie = box(b"moov", movie[8:], extends)
    header = full_box(b"tfhd", 0x020018, struct.pack(">3I", 1, 1024, 4))
    run = full_box(b"trun", 0x000001, struct.pack(">Ii", n_samples, 0))
    fragment = box(b"moof", full_box(b"mfhd", 0, struct.pack(">I", 1)), box(b"traf", header, run))
    return parts[b"ftyp"] + movie + fragment + box(b"mdat", bytes(64))


def flac_with_comments(n: int) -> bytes:
    comments = b"".join(struct.pack("<I", len(text)) + text for text in (f"K{i}={i}".encode() for i in range(n)))
    block = struct.pack("<I", 0) + struct.pack("<I", n) + comments
    flac = file(tone(1.0), format="FLAC", subtype="PCM_16")
    return flac[:42] + b"\x04" + len(block).to_bytes(3, "big") + block + flac[42:]


def mp3_with_id3(n: int) -> bytes:
    text = [b"\x00" + f"k{i}\x00{i}".encode() for i in range(n)]
    frames = b"".join(b"TXXX" + struct.pack(">I", len(body)) + bytes(2) + body for body in text)
    size = len(frames)
    tag = b"ID3\x03\x00\x00" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + frames
    mp3 = muxed(tone(1.0, rate=48_000), "mp3", "libmp3lame")
    return tag + mp3[skip_tags(mp3) :]


def wav_with_id3(n: int) -> bytes:
    tag = mp3_with_id3(n)
    tag = tag[: skip_tags(tag)]
    wav = file(tone(1.0))
    chunk = b"id3 " + struct.pack("<I", len(tag)) + tag + bytes(len(tag) % 2)
    return wav[:4] + struct.pack("<I", len(wav) - 8 + len(chunk)) + wav[8:12] + chunk + wav[12:]
