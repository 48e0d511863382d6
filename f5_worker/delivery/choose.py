"""Where a result goes: into the reply while it fits, else to a bucket, else smaller into the reply, else nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from f5_worker.audio.encode import FORMATS
from f5_worker.delivery.artifacts import Artifact, Delivered
from f5_worker.delivery.inline import REPLY_BYTES_PER_S, embed, too_large
from f5_worker.delivery.s3 import store
from f5_worker.errors import InvalidInput
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket

Delivery = Literal["auto", "inline", "s3"]


@dataclass(frozen=True)
class Sound:
    """How a job's sound is encoded, and how long it is."""

    format: str
    sample_rate: int
    duration_s: float


@dataclass(frozen=True)
class Way:
    """What to do: deliver inside the reply (`s3` False) or in the bucket, encoded anew if `smaller` says how."""

    s3: bool
    smaller: Sound | None = None


def wanted(job: Delivery | None, settings: Settings, *, own_bucket: bool) -> Delivery:
    """Who decides: the job by `delivery`, then by bringing a bucket (`s3Config`), then F5_DELIVERY."""
    return job or ("s3" if own_bucket else settings.delivery)


def choose(
    delivery: Delivery,
    sound: Sound,
    *,
    reply_bytes: int,
    sound_bytes: int,
    max_reply_bytes: int,
    bucket: bool,
    allow_reencode: bool,
) -> Way:
    """Decide.

    Args:
        reply_bytes: the whole reply as JSON, with every file inside.
        sound_bytes: of these, what the sound takes; see `inline.embedded_bytes`.
        bucket: is there one, the operator's or the job's?

    Raises:
        InvalidInput: S3 is asked for, and there is no bucket.
        ResultTooLarge: nothing that is allowed fits.
    """
    if delivery == "s3" and not bucket:
        raise InvalidInput(
            "delivery is s3, but this worker has no bucket and the job brings none; "
            "send s3Config, ask for delivery inline, or have the operator set S3_BUCKET_NAME and its family"
        )
    if delivery == "s3":
        return Way(s3=True)
    if reply_bytes <= max_reply_bytes:
        return Way(s3=False)
    if delivery == "auto" and bucket:
        return Way(s3=True)
    smaller = _smaller(sound, max_reply_bytes - (reply_bytes - sound_bytes), sound_bytes) if allow_reencode else None
    if smaller is None:
        raise too_large(reply_bytes, max_reply_bytes, sound.duration_s, sound.format)
    return Way(s3=False, smaller=smaller)


def deliver(artifacts: Sequence[Artifact], bucket: Bucket | None, settings: Settings) -> list[Delivered]:
    """All files of a job into `bucket`, or where that is None, as chosen, into the reply; the same order comes out.

    Raises:
        StorageFailed, FetchRefused, FetchFailed: the bucket did not take a file; it goes nowhere else.
    """
    return embed(artifacts) if bucket is None else store(artifacts, bucket, settings)


def _smaller(sound: Sound, room_bytes: int, sound_bytes: int) -> Sound | None:
    """The best encoding that fits into what the rest of the reply leaves."""
    for format, rate in REPLY_BYTES_PER_S.items():
        estimate = sound.duration_s * rate
        if format != sound.format and estimate <= min(room_bytes, sound_bytes):
            return Sound(format, _rate(format, sound.sample_rate), sound.duration_s)
    return None


def _rate(format: str, sample_rate: int) -> int:
    """The rate itself, or the next one above that the format has."""
    return min(rate for rate in FORMATS[format].sample_rates if rate >= sample_rate)
