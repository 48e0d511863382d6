"""A recording as requests carry it: base64, a data URL, or the URL of a file."""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Iterator

from f5_worker.audio.decode import check_size
from f5_worker.errors import InvalidInput
from f5_worker.settings import Settings
from f5_worker.storage.fetch import fetch

SLICE_CHARS = 1 << 20
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}://", re.IGNORECASE)  # bounded: a recording may be 46 million letters
_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


def read_audio_source(source: str, settings: Settings) -> bytes:
    """Return the bytes of a recording given as base64, as a data URL, or as the URL of a file.

    Raises:
        InvalidInput: none of these.
        ReferenceTooLarge: more than `reference_max_bytes`; said before anything is decoded.
        FetchRefused, FetchFailed: see `fetch`.
    """
    text = source.strip()
    if data_url := _DATA_URL.match(text):
        return _from_base64(text[data_url.end() :], settings.reference_max_bytes)
    if _SCHEME.match(text):
        return fetch(text, settings, max_bytes=settings.reference_max_bytes)
    if text[:5].lower() == "data:":
        raise InvalidInput("the data URL is not of the form data:audio/...;base64,...; send it so")
    return _from_base64(text, settings.reference_max_bytes)


def _from_base64(text: str, max_bytes: int) -> bytes:
    body = text.rstrip(f"={string.whitespace}")
    n_padding = text.count("=", len(body))
    parts = ["".join(text[begin:end].split()) for begin, end in _slices(len(body))]
    check_size(sum(map(len, parts)) * 3 // 4, max_bytes)
    data, rest = bytearray(), ""
    try:
        for part in parts:
            digits, end = rest + part, (len(rest) + len(part)) // 4 * 4
            data += base64.b64decode(digits[:end], validate=True)
            rest = digits[end:]
        data += base64.b64decode(rest + "=" * n_padding, validate=True)
    except ValueError:
        data.clear()
    if not data or n_padding > 2:
        raise InvalidInput("audio is neither base64 nor a data URL nor an https URL; send one of these")
    return bytes(data)


def _slices(length: int) -> Iterator[tuple[int, int]]:
    """Yield where each slice begins and ends: one call for 46 MB would hold the interpreter, and all jobs, for long."""
    return ((begin, min(begin + SLICE_CHARS, length)) for begin in range(0, length, SLICE_CHARS))
