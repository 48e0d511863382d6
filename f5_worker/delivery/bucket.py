"""Results in a bucket. There is no fallback to another place."""

from __future__ import annotations

import time
from collections.abc import Sequence

from f5_worker.delivery.artifacts import Artifact, Delivered
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket, key_prefix


def store(artifacts: Sequence[Artifact], bucket: Bucket, settings: Settings) -> list[Delivered]:
    """Write the files and return where they are, in the same order; under `s3_prefix`, except in a job's own bucket.

    Raises:
        StorageFailed, FetchRefused, FetchFailed: see `Bucket`; files before the one that failed may be there already.
    """
    prefix = "" if bucket.config.untrusted else key_prefix(settings.s3_prefix)
    return [_store(artifact, prefix + artifact.name, bucket, settings.s3_url_ttl_s) for artifact in artifacts]


def _store(artifact: Artifact, key: str, bucket: Bucket, ttl_s: int) -> Delivered:
    bucket.put(key, artifact.data, artifact.content_type)
    signed_at = time.time()  # before signing: the URL never ends before the time that is returned
    url = bucket.url(key)
    expires = url is not None and not bucket.public
    return Delivered(
        name=artifact.name,
        n_bytes=len(artifact.data),
        key=key,
        url=url,
        expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(signed_at + ttl_s)) if expires else None,
    )
