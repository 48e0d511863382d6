"""Files in an S3-compatible bucket, through boto3 with every default that such servers trip over set by hand.

Signatures are version 4 for the bucket's own region; paths instead of host names everywhere but on AWS; no checksums
that were not asked for (botocore adds them since 1.36, and many servers refuse them); single deletes, since RunPod's
volumes have no others. Every operation has one deadline over all its tries.
"""

from __future__ import annotations

import functools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from f5_worker.errors import StorageFailed
from f5_worker.log import logger
from f5_worker.settings import Settings
from f5_worker.storage.s3_config import BucketConfig

PAUSES_S = (0.2, 0.4, 0.8)  # between tries
STALL_S = 20.0  # without a byte; then another connection is tried
MAX_ANSWER_BYTES = 8_000_000  # a page of a list has up to 1,000 keys of 1,024 bytes, which XML may triple
MAX_LISTED_KEYS = 100_000
PROBE_KEY = "f5-worker-probe-"

# They log whole requests, signatures included, at DEBUG.
_TALKATIVE = ("boto3", "botocore", "urllib3", "s3transfer")

_T = TypeVar("_T")
_session_lock = threading.Lock()


@dataclass(frozen=True)
class Stored:
    """A file in the bucket. `etag` changes with its content."""

    key: str
    size_bytes: int
    modified: datetime
    etag: str


class Bucket:
    """One bucket; may be used by several threads. Nothing is sent before the first operation.

    Raises (every method):
        StorageFailed: in words for who has to mend it: the key, its rights, the bucket, the region, the endpoint,
            the clock, or time that ran out (`F5_S3_TIMEOUT_S`, over all tries of one operation).
        FetchRefused, FetchFailed: a job's own endpoint is not at a public address, or nowhere.
    """

    def __init__(self, config: BucketConfig, settings: Settings) -> None:
        self.config = config
        self._settings = settings
        self._name = config.bucket

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write a file; one of that name is replaced. Tried again when the connection breaks."""

        def send() -> None:
            self._check(self._client.put_object(Bucket=self._name, Key=key, Body=data, ContentType=content_type))

        self._run("write", send)

    def get(self, key: str, max_bytes: int) -> bytes | None:
        """A file's content; None when there is no such file."""

        def fetch() -> bytes:
            answer = self._check(self._client.get_object(Bucket=self._name, Key=key))
            return bytes(answer["Body"].read())

        return self._unless_missing("read", fetch, max_bytes)

    def head(self, key: str) -> Stored | None:
        """What is known of a file without reading it; None when there is no such file."""

        def ask() -> Stored:
            answer = self._check(self._client.head_object(Bucket=self._name, Key=key))
            return Stored(key, answer["ContentLength"], answer["LastModified"], answer.get("ETag", ""))

        return self._unless_missing("read", ask, missing=("404", "NoSuchKey"))  # answers to HEAD have no body

    def list(self, prefix: str) -> Iterator[Stored]:
        """All files whose keys begin with `prefix`, by key; asked for in pages of 1,000 as they are consumed."""
        more: dict[str, str] | None = {}
        count = 0
        while more is not None:
            found, more = self._run("list", functools.partial(self._page, prefix, more))
            yield from found
            count += max(len(found), 1)
            if count > MAX_LISTED_KEYS:
                raise StorageFailed(f"more than {MAX_LISTED_KEYS} files lie under {prefix!r}; use a prefix with fewer")

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, with all earlier versions where the bucket keeps them, as Backblaze's do unasked.

        Those that are not there are as good as removed.
        """
        for key in keys:
            self._unless_missing("delete", functools.partial(self._remove, key))

    def url(self, key: str) -> str | None:
        """Where anybody may fetch the file: public (F5_S3_PUBLIC_URL), or signed, for F5_S3_URL_TTL_S.

        None where there are neither public nor signed URLs: RunPod's volumes.
        """
        if self.public:
            return f"{(self._settings.s3_public_url or '').rstrip('/')}/{quote(key)}"
        if not self.config.can_presign:
            return None
        params = {"Bucket": self._name, "Key": key}
        signed = self._run(
            "sign", lambda: self._client.generate_presigned_url("get_object", params, self._settings.s3_url_ttl_s)
        )
        return str(signed)

    @property
    def public(self) -> bool:
        """Are URLs unsigned? The operator's public address says nothing of a job's own bucket."""
        return bool(self._settings.s3_public_url) and not self.config.untrusted

    def probe(self, prefix: str = "") -> None:
        """Write, read and delete a small file, as the work will; a key that may not delete is good enough.

        Raises:
            StorageFailed: which of them failed, and why.
        """
        key, content = f"{prefix}{PROBE_KEY}{secrets.token_hex(8)}", b"f5-worker"
        self.put(key, content, "text/plain")
        if not self.public and self.get(key, max_bytes=MAX_ANSWER_BYTES) != content:
            raise StorageFailed(f"{self.config.host} does not give back what was written; check the endpoint")
        self._unless_missing("delete", functools.partial(self._remove, key), missing=("NoSuchKey", "AccessDenied"))

    def _remove(self, key: str) -> None:
        answer = self._client.delete_object(Bucket=self._name, Key=key)
        while "VersionId" in answer and (kept := self._versions(key)):  # else all of it is only hidden
            for version in kept:
                self._client.delete_object(Bucket=self._name, Key=key, VersionId=version)

    def _versions(self, key: str) -> Sequence[str]:
        """What the bucket keeps of a file, up to 1,000: longer keys of the same beginning come after it."""
        page = self._client.list_object_versions(Bucket=self._name, Prefix=key)
        kept = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        return [item["VersionId"] for item in kept if item["Key"] == key]

    def _page(self, prefix: str, more: dict[str, str]) -> tuple[Sequence[Stored], dict[str, str] | None]:
        """Up to 1,000 files, and what to send for the next page."""
        page = self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, **more)
        found = [
            Stored(item["Key"], item["Size"], item["LastModified"], item.get("ETag", ""))
            for item in page.get("Contents", ())
        ]
        return found, {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else None

    def _check(self, answer: Any) -> Any:
        """Refuse what no S3 server sends: a web page answers 200 to anything, and the file would be lost."""
        if "ETag" not in answer and not any(
            name.startswith("x-amz-") for name in answer["ResponseMetadata"]["HTTPHeaders"]
        ):
            raise StorageFailed(f"{self.config.host} gives no S3 answer; check the endpoint")
        return answer

    def _unless_missing(
        self,
        what: str,
        call: Callable[[], _T],
        max_bytes: int = MAX_ANSWER_BYTES,
        missing: Sequence[str] = ("NoSuchKey",),
    ) -> _T | None:
        from f5_worker.storage import s3_errors as faults

        def attempt() -> _T | None:
            try:
                return call()
            except faults.CLIENT_ERRORS as error:
                if faults.code(error) in missing:
                    return None
                raise

        return self._run(what, attempt, max_bytes)

    def _run(self, what: str, call: Callable[[], _T], max_bytes: int = MAX_ANSWER_BYTES) -> _T:
        """Try `call` until it works, cannot work, or the time is over."""
        from f5_worker.storage import s3_errors as faults
        from f5_worker.storage.s3_transport import task

        strangers = self._settings if self.config.untrusted else None
        with task(self._settings.s3_timeout_s, max_bytes, strangers) as this:
            for pause_s in (*PAUSES_S, None):
                try:
                    result = self._in_its_region(call)
                except faults.CLIENT_ERRORS as error:
                    if this.expired:
                        raise faults.too_late(self.config, this.total_s, what) from None
                    if pause_s is None or not faults.transient(error) or pause_s >= this.left_s:
                        raise faults.explain(error, self.config, what) from None
                    time.sleep(pause_s)
                    continue
                if this.cut:  # what looks like the end of an answer may be ours
                    raise faults.too_late(self.config, this.total_s, what)
                return result
        raise AssertionError("the last try returns or raises")

    def _in_its_region(self, call: Callable[[], _T]) -> _T:
        """Do it; where the server says that the bucket is in another region, again there, and from then on."""
        from f5_worker.storage.s3_transport import OtherRegion

        try:
            return call()
        except OtherRegion as other:
            logger.warning("the bucket is in the region %s, not %s", other.region, self.config.region)
            self.config = replace(self.config, region=other.region)
            self.__dict__.pop("_client", None)
        try:
            return call()
        except OtherRegion as other:
            message = f"{self.config.host} sends from region {self.config.region} to {other.region}; check the endpoint"
            raise StorageFailed(message) from None

    @functools.cached_property
    def _client(self) -> Any:
        return _connect(self.config, self._settings)


def _connect(config: BucketConfig, settings: Settings) -> Any:
    """A boto3 client that ignores what the environment says beyond `config`."""
    from botocore.config import Config

    from f5_worker.storage.s3_transport import Wire

    for name in _TALKATIVE:
        library = logging.getLogger(name)
        library.setLevel(max(library.level, logging.INFO))
    options = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if config.path_style else "auto"},
        retries={"total_max_attempts": 1, "mode": "standard"},  # `Bucket._run` does it, within its deadline
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )
    with _session_lock:  # botocore's sessions are not made for several threads
        client = _session().create_client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint_url,
            aws_access_key_id=config.access_key,
            aws_secret_access_key=config.secret_key,
            config=options,
        )
    stall_s = min(STALL_S, settings.s3_timeout_s / 2)
    wire = Wire(client.meta.endpoint_url, config.region, stall_s=stall_s, strangers=config.untrusted)
    client.meta.events.register("before-send.s3", wire.send)
    return client


@functools.cache
def _session() -> Any:
    """Keeps the descriptions of S3 that clients are made of: 1 s to read, then milliseconds for each client."""
    import botocore.session

    nothing = (None, None, None, None)  # neither a variable nor a file: profiles are not for us
    return botocore.session.Session({"profile": nothing, "config_file": nothing, "credentials_file": nothing})
