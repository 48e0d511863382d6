"""Where a result goes: into the response while it fits, else to a bucket, else re-encoded into the response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.delivery.artifacts import Artifact, Delivered
from f5_worker.delivery.bucket import store
from f5_worker.delivery.inline import ResponseLimit, embed, too_large
from f5_worker.errors import InvalidInput
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket

DeliveryMode = Literal["auto", "inline", "s3"]


@dataclass(frozen=True)
class AudioEncoding:
    """How a job's audio is encoded, and its length."""

    format: str
    sample_rate: int
    duration_s: float


@dataclass(frozen=True)
class DeliveryChoice:
    """Deliver to the bucket or in the response; `reencode` is set where the audio has to be smaller for it."""

    to_bucket: bool
    reencode: AudioEncoding | None = None


def delivery_mode(requested: DeliveryMode | None, settings: Settings, *, own_bucket: bool) -> DeliveryMode:
    """Return the job's `delivery`, else `s3` if the job brings a bucket, else F5_DELIVERY."""
    return requested or ("s3" if own_bucket else settings.delivery)


def check_bucket(mode: DeliveryMode, *, has_bucket: bool) -> None:
    """Raise InvalidInput if `s3` is asked for and there is no bucket."""
    if mode == "s3" and not has_bucket:
        raise InvalidInput(
            "delivery is s3, but this worker has no bucket and the job brings none; send a bucket with the job, "
            "ask for delivery inline, or have the operator set S3_BUCKET_NAME and the variables that go with it"
        )


def choose(
    mode: DeliveryMode,
    audio: AudioEncoding,
    limit: ResponseLimit,
    *,
    response_bytes: int,
    audio_bytes: int,
    has_bucket: bool,
    allow_reencode: bool,
) -> DeliveryChoice:
    """Choose where a result goes.

    Args:
        response_bytes: size of the whole response with every file inside.
        audio_bytes: the part of it that the audio takes; see `ResponseLimit.file_bytes`.
        has_bucket: whether there is a bucket, the operator's or the job's.

    Raises:
        ResultTooLarge: nothing that is allowed fits.
    """
    if mode == "s3":
        return DeliveryChoice(to_bucket=True)
    if response_bytes <= limit.max_bytes:
        return DeliveryChoice(to_bucket=False)
    if mode == "auto" and has_bucket:
        return DeliveryChoice(to_bucket=True)
    room_bytes = limit.max_bytes - (response_bytes - audio_bytes)
    smaller = _smaller(audio, limit, min(room_bytes, audio_bytes)) if allow_reencode else None
    if smaller is None:
        raise too_large(response_bytes, limit, audio.duration_s, audio.format)
    return DeliveryChoice(to_bucket=False, reencode=smaller)


def deliver(artifacts: Sequence[Artifact], bucket: Bucket | None, settings: Settings) -> list[Delivered]:
    """Write all files of a job to `bucket`, or embed them in the response if it is None; keep their order.

    Raises:
        StorageFailed, FetchRefused, FetchFailed: the bucket did not take a file; there is no fallback.
    """
    return embed(artifacts) if bucket is None else store(artifacts, bucket, settings)


def _smaller(audio: AudioEncoding, limit: ResponseLimit, max_bytes: int) -> AudioEncoding | None:
    """Return the best encoding of at most `max_bytes` inside a response."""
    for format, bytes_per_s in limit.bytes_per_s.items():
        if format != audio.format and audio.duration_s * bytes_per_s <= max_bytes:
            return AudioEncoding(format, _sample_rate(format, audio.sample_rate), audio.duration_s)
    return None


def _sample_rate(format: str, sample_rate: int) -> int:
    """Return the rate itself, or the next higher one that the format has."""
    return min(rate for rate in AUDIO_FORMATS[format].sample_rates if rate >= sample_rate)
