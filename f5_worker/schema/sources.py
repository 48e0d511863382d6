"""A recording as requests carry it: base64, a data URL, or the URL of a file."""

from __future__ import annotations

import base64
import re

from f5_worker.audio.decode import check_size
from f5_worker.errors import InvalidInput
from f5_worker.settings import Settings
from f5_worker.storage.fetch import fetch

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
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
    digits = "".join(text.split())
    check_size(len(digits) * 3 // 4 - digits[-2:].count("="), max_bytes)
    try:
        data = b"" if digits.endswith("===") else base64.b64decode(digits, validate=True)
    except ValueError:
        data = b""
    if not data:
        raise InvalidInput("audio is neither base64 nor a data URL nor an https URL; send one of these")
    return data
