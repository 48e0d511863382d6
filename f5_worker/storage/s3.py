"""Files in an S3-compatible bucket, through botocore, with every default that such servers lack set explicitly.

Signatures are version 4 for the bucket's own region, and on AWS every request and every URL goes to that region's host:
the global one redirects from regions opened since 2019 and from new buckets. There the bucket is before the host if its
name allows that; elsewhere it is in the path, which all servers read. No checksums unless required (botocore adds them
since 1.36, and many servers refuse them); single deletes, since RunPod's volumes have no others. Every operation has
one deadline over all its tries.
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

from f5_worker import cancellation
from f5_worker.errors import StorageFailed
from f5_worker.log import logger
from f5_worker.settings import Settings
from f5_worker.storage.s3_config import BucketConfig

PAUSES_S = (0.2, 0.4, 0.8)  # between tries
STALL_S = 20.0  # without a byte, after which another connection is tried
MAX_ANSWER_BYTES = 8_000_000  # a page of a list has up to 1,000 keys of 1,024 bytes, which XML may triple
MAX_LISTED_KEYS = 100_000
PROBE_KEY = "f5-worker-probe-"

# At DEBUG they log whole requests, signatures included.
_VERBOSE_LOGGERS = ("boto3", "botocore", "urllib3", "s3transfer")

_T = TypeVar("_T")
_session_lock = threading.Lock()


@dataclass(frozen=True)
class StoredObject:
    """A file in the bucket. `etag` changes with its content."""

    key: str
    size_bytes: int
    modified: datetime
    etag: str


def key_prefix(directory: str) -> str:
    """Return a directory in any spelling (`results`, `/results/`) as the beginning of a key: `results/`."""
    return f"{directory.strip('/')}/".lstrip("/")


class Bucket:
    """One bucket; may be used by several threads. Nothing is sent before the first operation.

    Raises (every method):
        StorageFailed: with the cause to fix: the key, its rights, the bucket, the region, the endpoint, the clock, or
            the time limit (`F5_S3_TIMEOUT_S`, over all tries of one operation).
        FetchRefused, FetchFailed: a job's own endpoint is not at a public address, or is not known.
        JobTimeout, JobCancelled: the current job has to stop.
    """

    def __init__(self, config: BucketConfig, settings: Settings) -> None:
        self.config = config
        self._settings = settings
        self._name = config.bucket

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Write a file; one of that name is replaced. Retried when the connection breaks."""

        def send() -> None:
            self._check(self._client.put_object(Bucket=self._name, Key=key, Body=data, ContentType=content_type))

        self._run("write", send)

    def get(self, key: str, max_bytes: int) -> bytes | None:
        """Return a file's content; None when the file does not exist."""

        def read() -> bytes:
            response = self._check(self._client.get_object(Bucket=self._name, Key=key))
            return bytes(response["Body"].read())

        return self._unless_missing("read", read, max_bytes)

    def head(self, key: str) -> StoredObject | None:
        """Return a file's metadata without reading it; None when the file does not exist."""

        def read() -> StoredObject:
            response = self._check(self._client.head_object(Bucket=self._name, Key=key))
            return StoredObject(key, response["ContentLength"], response["LastModified"], response.get("ETag", ""))

        return self._unless_missing("read", read, missing=("404", "NoSuchKey"))  # responses to HEAD have no body

    def list(self, prefix: str, *, flat: bool = False) -> Iterator[StoredObject]:
        """Yield all files whose keys begin with `prefix`, by key; requested in pages of 1,000 as they are consumed.

        Args:
            flat: only files whose keys have no slash after `prefix`.
        """
        delimiter = {"Delimiter": "/"} if flat else {}
        next_page: dict[str, str] | None = {}
        count = 0
        while next_page is not None:
            found, next_page = self._run("list", functools.partial(self._page, prefix, delimiter | next_page))
            yield from found
            count += max(len(found), 1)
            if count > MAX_LISTED_KEYS:
                raise StorageFailed(f"{prefix!r} has more than {MAX_LISTED_KEYS} files; use a prefix with fewer")

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files, with all earlier versions where the bucket keeps them, as Backblaze's do by default.

        Files that do not exist are ignored.
        """
        for key in keys:
            self._unless_missing("delete", functools.partial(self._delete_one, key))

    def url(self, key: str) -> str | None:
        """Return a URL from which anyone may fetch the file: public (F5_S3_PUBLIC_URL), or signed, for F5_S3_URL_TTL_S.

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
        """Return True if URLs are unsigned; the operator's public address does not apply to a job's own bucket."""
        return bool(self._settings.s3_public_url) and not self.config.untrusted

    def probe(self, prefix: str = "") -> None:
        """Write, read and delete a small file, to find faults at start; a key that may not delete is accepted.

        Raises:
            StorageFailed: which of these failed, and why.
        """
        key, content = f"{prefix}{PROBE_KEY}{secrets.token_hex(8)}", b"f5-worker"
        self.put(key, content, "text/plain")
        if not self.public and self.get(key, max_bytes=MAX_ANSWER_BYTES) != content:
            raise StorageFailed(f"{self.config.host} does not give back what was written; check the endpoint")
        self._unless_missing("delete", functools.partial(self._delete_one, key), missing=("NoSuchKey", "AccessDenied"))

    def _delete_one(self, key: str) -> None:
        response = self._client.delete_object(Bucket=self._name, Key=key)
        while "VersionId" in response and (versions := self._versions(key)):  # they are only hidden so far
            for version in versions:
                self._client.delete_object(Bucket=self._name, Key=key, VersionId=version)

    def _versions(self, key: str) -> Sequence[str]:
        """Return the versions that the bucket keeps of a file, up to 1,000; longer keys with this prefix come later."""
        page = self._client.list_object_versions(Bucket=self._name, Prefix=key)
        kept = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        return [item["VersionId"] for item in kept if item["Key"] == key]

    def _page(self, prefix: str, options: dict[str, str]) -> tuple[Sequence[StoredObject], dict[str, str] | None]:
        """Return up to 1,000 files, and the parameter for the next page."""
        page = self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, **options)
        found = [
            StoredObject(item["Key"], item["Size"], item["LastModified"], item.get("ETag", ""))
            for item in page.get("Contents", ())
        ]
        return found, {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else None

    def _check(self, response: Any) -> Any:
        """Return a response that an S3 server sent; a web server answers 200 to anything, and files would be lost."""
        if "ETag" not in response and not any(
            name.startswith("x-amz-") for name in response["ResponseMetadata"]["HTTPHeaders"]
        ):
            raise StorageFailed(f"{self.config.host} does not answer as S3 does; check the endpoint")
        return response

    def _unless_missing(
        self,
        what: str,
        call: Callable[[], _T],
        max_bytes: int = MAX_ANSWER_BYTES,
        missing: Sequence[str] = ("NoSuchKey",),
    ) -> _T | None:
        from f5_worker.storage import s3_errors

        def attempt() -> _T | None:
            try:
                return call()
            except s3_errors.CLIENT_ERRORS as error:
                if s3_errors.error_code(error) in missing:
                    return None
                raise

        return self._run(what, attempt, max_bytes)

    def _run(self, what: str, call: Callable[[], _T], max_bytes: int = MAX_ANSWER_BYTES) -> _T:
        """Try `call` until it works, cannot work, or the deadline passes."""
        from f5_worker.storage import s3_errors
        from f5_worker.storage.s3_transport import operation

        untrusted = self._settings if self.config.untrusted else None
        with operation(self._settings.s3_timeout_s, max_bytes, untrusted) as current:
            for pause_s in (*PAUSES_S, None):
                try:
                    result = self._in_bucket_region(call)
                except s3_errors.CLIENT_ERRORS as error:
                    cancellation.check()
                    if current.is_expired:
                        raise s3_errors.timed_out(self.config, current.total_s, what) from None
                    if pause_s is None or not s3_errors.is_transient(error) or pause_s >= current.remaining_s:
                        raise s3_errors.explain(error, self.config, what) from None
                    time.sleep(pause_s)
                    continue
                if current.is_aborted:  # the end of the response may be that of the aborted connection
                    cancellation.check()
                    raise s3_errors.timed_out(self.config, current.total_s, what)
                return result
        raise AssertionError("the last try returns or raises")

    def _in_bucket_region(self, call: Callable[[], _T]) -> _T:
        """Run `call`; where the server names another region for the bucket, switch to that one and run it again."""
        from f5_worker.storage.s3_transport import WrongRegion

        try:
            return call()
        except WrongRegion as other:
            logger.warning("the bucket is in the region %s, not %s", other.region, self.config.region)
            self.config = replace(self.config, region=other.region)
            self.__dict__.pop("_client", None)
        try:
            return call()
        except WrongRegion as other:
            message = f"{self.config.host} sends from region {self.config.region} to {other.region}; check the endpoint"
            raise StorageFailed(message) from None

    @functools.cached_property
    def _client(self) -> Any:
        return _connect(self.config, self._settings)


def _connect(config: BucketConfig, settings: Settings) -> Any:
    """Return a botocore client that ignores the environment: only `config` counts."""
    from botocore.config import Config

    from f5_worker.storage.s3_transport import BucketTransport

    for name in _VERBOSE_LOGGERS:
        library = logging.getLogger(name)
        library.setLevel(max(library.level, logging.INFO))
    # With the style `auto`, and for us-east-1 by default, botocore's URLs name AWS's global host.
    addressing = {"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"}
    options = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"} if config.path_style else addressing,
        retries={"total_max_attempts": 1, "mode": "standard"},  # `Bucket._run` retries, within its deadline
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )
    with _session_lock:  # botocore's sessions are not thread-safe
        client = _session().create_client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint_url,
            aws_access_key_id=config.access_key,
            aws_secret_access_key=config.secret_key,
            config=options,
        )
    stall_s = min(STALL_S, settings.s3_timeout_s / 2)
    transport = BucketTransport(client.meta.endpoint_url, config.region, stall_s=stall_s, untrusted=config.untrusted)
    client.meta.events.register("before-send.s3", transport.send)
    return client


@functools.cache
def _session() -> Any:
    """Return the session, which caches S3's service model: 1 s to read, then milliseconds for each client."""
    import botocore.session

    unset = (None, None, None, None)  # neither a variable nor a file: AWS profiles are ignored
    return botocore.session.Session({"profile": unset, "config_file": unset, "credentials_file": unset})
