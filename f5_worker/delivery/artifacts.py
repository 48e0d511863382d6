"""The files of one result, before and after they are delivered."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from f5_worker.audio.encode import FORMATS

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CAPTION_TYPES: Mapping[str, str] = {
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "ass": "text/x-ssa; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json; charset=utf-8",
}


@dataclass(frozen=True)
class Artifact:
    """A file to be delivered. `name` is its key in a bucket, without the operator's prefix."""

    name: str
    data: bytes
    content_type: str

    @property
    def is_text(self) -> bool:
        """Subtitles: inside a reply they are text, while sound is base64."""
        return not self.content_type.startswith("audio/")


@dataclass(frozen=True)
class Delivered:
    """A file where its receiver finds it: itself, as `base64` or `text`, or its `key` in the bucket.

    `url` is None beside a key where the bucket has neither public nor signed URLs. `expires_at` (ISO 8601, UTC) is
    when a signed URL ends.
    """

    name: str
    bytes: int
    base64: str | None = None
    text: str | None = None
    key: str | None = None
    url: str | None = None
    expires_at: str | None = None


def safe_id(job_id: str) -> str:
    """A job's id as part of a key. It comes from whoever sent the job: one that could be a path, or that a shortened
    other one could equal, is replaced by a random one, so that no two jobs write to one key. Ask once for each job.
    """
    return job_id if _SAFE_ID.fullmatch(job_id) else secrets.token_hex(16)


def audio_artifact(safe_id: str, format: str, data: bytes) -> Artifact:
    """`output/<id>.<extension>`; `format` is one of `audio.encode.FORMATS`."""
    return Artifact(f"output/{safe_id}.{FORMATS[format].extension}", data, FORMATS[format].mime)


def caption_artifact(safe_id: str, format: str, text: str) -> Artifact:
    """`timings/<id>.<format>`, UTF-8; `format` is one of CAPTION_TYPES."""
    return Artifact(f"timings/{safe_id}.{format}", text.encode(), CAPTION_TYPES[format])
