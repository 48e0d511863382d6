"""Results in a bucket. There is no other place that they could silently go to."""

from __future__ import annotations

import time
from collections.abc import Sequence

from f5_worker.delivery.artifacts import Artifact, Delivered
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket


def store(artifacts: Sequence[Artifact], bucket: Bucket, settings: Settings) -> list[Delivered]:
    """Write the files and say where they are, in the same order; under `s3_prefix`, unless the bucket is the job's.

    Raises:
        StorageFailed, FetchRefused, FetchFailed: see `Bucket`; files before the one that failed may be there already.
    """
    prefix = "" if bucket.config.untrusted else folder(settings.s3_prefix)
    return [_stored(artifact, prefix + artifact.name, bucket, settings.s3_url_ttl_s) for artifact in artifacts]


def folder(prefix: str) -> str:
    """A prefix as people write it, `results`, `/results/`, as the beginning of a key: `results/`."""
    return f"{prefix.strip('/')}/".lstrip("/")


def _stored(artifact: Artifact, key: str, bucket: Bucket, ttl_s: int) -> Delivered:
    bucket.put(key, artifact.data, artifact.content_type)
    signed_at = time.time()  # before it is signed: the URL is never over sooner than is said
    url = bucket.url(key)
    expires = url is not None and not bucket.public
    return Delivered(
        name=artifact.name,
        bytes=len(artifact.data),
        key=key,
        url=url,
        expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(signed_at + ttl_s)) if expires else None,
    )
