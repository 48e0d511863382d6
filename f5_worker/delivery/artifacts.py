"""The files of one result, before and after they are delivered."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.subtitles.formats import SUBTITLE_FORMATS

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SAFE_PART = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Artifact:
    """A file to deliver. `name` is its key in a bucket, without the operator's prefix."""

    name: str
    data: bytes
    content_type: str

    @property
    def is_text(self) -> bool:
        """Return whether it is a caption file, which a response carries as text; audio is binary."""
        return not self.content_type.startswith("audio/")


@dataclass(frozen=True)
class Delivered:
    """A file as its receiver gets it: the content itself (`data` or `text`), or its `key` in the bucket.

    Attributes:
        n_bytes: size of the file.
        url: None beside a key where the bucket has neither public nor presigned URLs.
        expires_at: when a presigned URL ends, ISO 8601 in UTC.
    """

    name: str
    n_bytes: int
    data: bytes | None = None
    text: str | None = None
    key: str | None = None
    url: str | None = None
    expires_at: str | None = None


def safe_id(job_id: str) -> str:
    """Return a job's id as part of a file's name; call it once for each job.

    The id comes from the caller. One that could be a path, or that could equal another one once shortened, is
    replaced by a random id, so that no two jobs write to one file.
    """
    return job_id if _SAFE_ID.fullmatch(job_id) else secrets.token_hex(16)


def safe_part(safe_id: str, part: str) -> str:
    """Return the name of a part of a job: a part's own name, or a hash of it if that could be a path, after the job's.

    Args:
        part: from the caller; different parts of a job have different names.
    """
    own = part if _SAFE_PART.fullmatch(part) else hashlib.blake2b(part.encode(), digest_size=18).hexdigest()
    return f"{safe_id}-{own}"


def audio_artifact(safe_id: str, format: str, data: bytes) -> Artifact:
    """Return `output/<id>.<extension>`; `format` is one of AUDIO_FORMATS."""
    return Artifact(f"output/{safe_id}.{AUDIO_FORMATS[format].extension}", data, AUDIO_FORMATS[format].mime)


def line_artifact(safe_id: str, index: int, format: str, data: bytes) -> Artifact:
    """Return `output/<id>-<index>.<extension>`: one line of a dubbed track."""
    return audio_artifact(f"{safe_id}-{index:04}", format, data)


def caption_artifact(safe_id: str, format: str, text: str) -> Artifact:
    """Return `timings/<id>.<extension>` in UTF-8; `format` is one of SUBTITLE_FORMATS."""
    written = SUBTITLE_FORMATS[format]
    return Artifact(f"timings/{safe_id}.{written.extension}", text.encode(), written.content_type)
