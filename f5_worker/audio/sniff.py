"""Find what kind of recording a file is and where it begins, by its bytes: tags and junk are skipped here.

FFmpeg's own detection is never used: it also knows playlists (HLS, concat, SDP), which make it open other files and
addresses. Nor does it read the tags in front: its dictionary of them takes quadratic time, 21 s for a tag of 0.9 MB.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from f5_worker.audio.formats import input_labels
from f5_worker.errors import ReferenceUnreadable

MAX_TAGS = 16  # a tagger that appends instead of replacing leaves two
MAX_JUNK_BYTES = 1 << 16  # before the first frame of MP3 or AAC, as in FFmpeg's MP3 demuxer
MIN_FRAMES = 4  # in a row, each where the one before ends: no other file has them by chance

_ID3_HEADER, _ID3_FOOTER_FLAG = 10, 0x10
_APE_HEADER, _APE_NO_FOOTER_FLAG = 32, 1 << 30
_AMR = (b"#!AMR\n", b"#!AMR-WB\n")
_SYNC = re.compile(rb"\xff(?=[\xe0-\xff])")
# ISO 11172-3 and 13818-3, by version (0: MPEG 2.5, 2: MPEG 2, 3: MPEG 1) and layer (1: III, 2: II, 3: I).
_BIT_RATES_1 = {
    3: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_BIT_RATES_2 = {
    3: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Located(NamedTuple):
    """A recording in a file. `demuxer`: a key of INPUT_CONTAINERS. `begin`: of its first byte."""

    demuxer: str
    begin: int


class _Frame(NamedTuple):
    """The header of a frame without a container; all of a stream have the same `kind`."""

    demuxer: str
    kind: tuple[int, ...]
    n_bytes: int


def locate(data: bytes) -> Located:
    """Return the format of a file and where it begins.

    Raises:
        ReferenceUnreadable: none of the accepted formats.
    """
    begin = skip_tags(data)
    demuxer = _container(data[begin : begin + 12]) or _frame_format(data[begin : begin + 4])
    if demuxer is not None:
        return Located(demuxer, begin)
    found = _find_frames(data, begin)
    if found is not None:
        return found
    if begin and len(data) > begin:
        return Located("mp3", begin)  # long padding often follows a tag: the demuxer goes on with the search
    raise _unreadable("the file's format is not one that this worker reads" if data else "the file is empty")


def skip_tags(data: bytes) -> int:
    """Return the length of the ID3v2 and APEv2 tags in front of a file.

    Raises:
        ReferenceUnreadable: the file ends within the header of a tag, or has more than MAX_TAGS.
    """
    begin, n_tags = 0, 0
    while n_bytes := _tag_bytes(data, begin):
        n_tags += 1
        if n_tags > MAX_TAGS:
            raise _unreadable(f"the file begins with more than {MAX_TAGS} tags")
        begin += n_bytes
    return begin


def _tag_bytes(data: bytes, begin: int) -> int:
    """Return the length of the tag that begins there, 0 if none does."""
    if data[begin : begin + 3] == b"ID3":
        head = data[begin : begin + _ID3_HEADER]
        if len(head) < _ID3_HEADER:
            raise _unreadable("the file ends within its first tag")
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | (head[9] & 127)
        return _ID3_HEADER + size + (_ID3_HEADER if head[5] & _ID3_FOOTER_FLAG else 0)
    if data[begin : begin + 8] == b"APETAGEX":
        head = data[begin : begin + _APE_HEADER]
        size, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:24], "little")
        # `size` counts the items and the footer. Where that is not, the size is wrong: what follows is searched.
        has_items = flags & _APE_NO_FOOTER_FLAG or data[begin + size : begin + size + 8] == b"APETAGEX"
        return _APE_HEADER + (size if has_items else 0)
    return 0


def _container(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(_AMR):
        return "amr"
    for magic, demuxer in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "matroska")):
        if head.startswith(magic):
            return demuxer
    return None


def _frame_format(head: bytes) -> str | None:
    """Return the demuxer for MP3 or AAC without a container, by one header; both begin with 11 set bits."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "aac"
    version, layer, bit_rate, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    # The reserved values.
    return "mp3" if version != 1 and layer != 0 and bit_rate != 15 and rate != 3 else None


def _find_frames(data: bytes, begin: int) -> Located | None:
    """Return the first of MIN_FRAMES frames in a row, or of fewer that end with the file."""
    for match in _SYNC.finditer(data, begin, begin + MAX_JUNK_BYTES + 1):
        first = frame = _frame(data, match.start())
        n_frames, end = 0, match.start()
        while frame is not None and first is not None and frame[:2] == first[:2] and n_frames < MIN_FRAMES:
            n_frames, end = n_frames + 1, end + frame.n_bytes
            frame = _frame(data, end)
        if first is not None and (n_frames == MIN_FRAMES or (n_frames > 1 and end == len(data))):
            return Located(first.demuxer, match.start())
    return None


def _frame(data: bytes, at: int) -> _Frame | None:
    """Return the frame whose header is there."""
    head = data[at : at + 7]
    demuxer = _frame_format(head[:4])
    if demuxer is None or len(head) < 7:
        return None
    if demuxer == "aac":  # ADTS, ISO 13818-7: profile, rate and channels stay
        n_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return _Frame(demuxer, (head[1], head[2] & 0xFD), n_bytes) if n_bytes > 7 else None
    version, layer, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, _SAMPLE_RATES[head[1] >> 3 & 3][head[2] >> 2 & 3]
    bit_rate = (_BIT_RATES_1 if version == 3 else _BIT_RATES_2)[layer][head[2] >> 4] * 1_000
    if not bit_rate:
        return None
    padding = head[2] >> 1 & 1
    if layer == 3:
        n_bytes = (12 * bit_rate // rate + padding) * 4
    else:
        n_bytes = (72 if layer == 1 and version != 3 else 144) * bit_rate // rate + padding
    return _Frame(demuxer, (version, layer, rate), n_bytes)


def _unreadable(what: str) -> ReferenceUnreadable:
    return ReferenceUnreadable(f"{what}; send {input_labels()}")
