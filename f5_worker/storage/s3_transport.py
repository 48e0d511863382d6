"""Send requests to a bucket through botocore's own HTTP session, with bounds that it lacks.

A socket's timeouts count for one read or write at a time, so a server that drips bytes holds a job forever; answers
are read whole, however long; and any address of a host's name is connected to. Here an operation has one deadline at
which its connections are aborted, as they are when the current job has to stop; a bound on what is read; and, where an
untrusted caller chose the host, `fetch`'s rules of addresses, with the connection made to the address that was checked.

Importing this module imports botocore.
"""

from __future__ import annotations

import http
import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSPreparedRequest,
    AWSResponse,
)
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from f5_worker import cancellation
from f5_worker.errors import StorageFailed, WorkerError
from f5_worker.settings import Settings
from f5_worker.storage import fetch

READ_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 10.0
_REGION = re.compile(rb"<Region>([A-Za-z0-9-]{1,63})</Region>")


class WrongRegion(Exception):
    """The server says that the bucket is in another region than the one that was signed for."""

    def __init__(self, region: str) -> None:
        super().__init__(region)
        self.region = region


class Operation:
    """The bounds of one operation, over all of its tries: seconds, and bytes of each answer.

    `untrusted`: the settings that say which addresses an untrusted endpoint may have; None for the operator's own.
    """

    def __init__(self, total_s: float, max_bytes: int, untrusted: Settings | None) -> None:
        self.total_s, self.max_bytes, self.untrusted = total_s, max_bytes, untrusted
        self.deadline = time.monotonic() + total_s
        self.is_aborted = False
        self._connections: set[_AbortableConnection] = set()
        self._lock = threading.Lock()

    @property
    def remaining_s(self) -> float:
        """Return the seconds until the deadline, negative after it."""
        return self.deadline - time.monotonic()

    @property
    def is_expired(self) -> bool:
        """Return True after the deadline."""
        return self.is_aborted or self.remaining_s <= 0

    def register(self, connection: _AbortableConnection) -> None:
        """Abort this connection with the others."""
        with self._lock:
            self._connections.add(connection)
            if self.is_aborted:
                connection.abort()

    def abort(self) -> None:
        """Abort all connections: the deadline has passed, or the job has to stop."""
        with self._lock:
            self.is_aborted = True
            for connection in self._connections:
                connection.abort()


_current: ContextVar[Operation] = ContextVar("_current")


@contextmanager
def operation(total_s: float, max_bytes: int, untrusted: Settings | None) -> Iterator[Operation]:
    """Bound all requests that this thread sends inside the context; see `Operation`."""
    current = Operation(total_s, max_bytes, untrusted)
    token = _current.set(current)
    try:
        with cancellation.abort_after(total_s, current.abort):
            yield current
    finally:
        _current.reset(token)


class BucketTransport:
    """The connections of one client, kept open between its requests."""

    def __init__(self, url: str, region: str, *, stall_s: float, untrusted: bool) -> None:
        """Open nothing yet. `url` selects the operator's proxies; an untrusted endpoint is reached without them."""
        self._region = region
        timeout = (min(CONNECT_TIMEOUT_S, stall_s), stall_s)  # the first also for each 16 KiB that are sent
        self._session = URLLib3Session(timeout=timeout, proxies={} if untrusted else get_environ_proxies(url))
        self._session._pool_classes_by_scheme.update(http=_Pool, https=_SecurePool)

    def send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Send a request as botocore's `before-send` hook, which uses the returned response instead of its own.

        Raises:
            WrongRegion: the bucket is not in `region`.
            StorageFailed: the response is too long, a web page, or a redirect elsewhere; none is followed.
        """
        request.stream_output = True  # so that nothing is read before it is counted
        try:
            response = self._session.send(request)
            data = _read(response.raw)
        except HTTPClientError as error:
            reason = error.kwargs.get("error")
            raise (reason if isinstance(reason, WorkerError) else error) from None
        except HTTPError as error:
            raise HTTPClientError(error=error) from None
        self._check_region(response, data)
        _check_page(response, data)
        return AWSResponse(response.url, response.status_code, response.headers, _Body(data))

    def _check_region(self, response: AWSResponse, data: bytes) -> None:
        """Raise for a bucket in another region, or a redirect.

        botocore would go to the other region itself, but go on signing URLs for the old one; and at a redirect that
        does not come from S3 it calls itself until the stack overflows.
        """
        if response.status_code not in (*fetch.REDIRECTS, http.HTTPStatus.BAD_REQUEST):
            return
        in_body = _REGION.search(data)
        region = response.headers.get("x-amz-bucket-region") or (in_body[1].decode() if in_body else "")
        if region and region != self._region:
            raise WrongRegion(region)
        if response.status_code in fetch.REDIRECTS:
            host = urlsplit(response.url).netloc
            raise StorageFailed(f"{host} redirects elsewhere instead of answering as S3 does; check the endpoint")


def _read(raw: Any) -> bytes:
    data, limit = bytearray(), _current.get().max_bytes
    for part in raw.stream(READ_BYTES):
        data += part
        if len(data) > limit:
            raw.close()
            raise StorageFailed(f"the bucket sent more than {limit} bytes; keep smaller files there")
    return bytes(data)


def _check_page(response: AWSResponse, data: bytes) -> None:
    """Raise for a web server's answer to anything: botocore would take it for a broken one of S3, with status 500.

    A web page that is stored in a bucket comes with S3's own headers.
    """
    is_from_s3 = any(name.lower().startswith("x-amz-") for name in response.headers)
    if response.status_code == http.HTTPStatus.OK and fetch.is_web_page(data) and not is_from_s3:
        host = urlsplit(response.url).netloc
        raise StorageFailed(f"{host} answers with a web page (status 200) instead of as S3 does; check the endpoint")


class _Body(io.BytesIO):
    """A response body that was read, in the form that botocore reads."""

    def stream(self) -> Iterator[bytes]:
        """Yield the whole body."""
        yield self.getvalue()


class _AbortableConnection:
    """A mixin for botocore's connections that can be aborted from another thread."""

    _duplicate: socket.socket | None = None  # of `sock`, but never wrapped in TLS: it can be shut down

    def _new_conn(self) -> socket.socket:
        current = _current.get()
        if current.untrusted is None:
            connect: Callable[[], socket.socket] = super()._new_conn  # type: ignore[misc]
            try:
                sock = cancellation.run_detached(connect, max(0.0, current.remaining_s))
            except TimeoutError:
                raise ConnectTimeoutError(self, "the name was not looked up in time") from None
        else:
            target = fetch.CheckedUrl("https", self.host, self.port, "/")  # type: ignore[attr-defined]
            limits = fetch.FetchLimits(current.max_bytes, current.total_s, current.deadline)
            addresses = fetch.resolve(target, limits, allow_private=current.untrusted.fetch_private)
            sock = fetch.connect(target, addresses, limits)
        self._duplicate = sock.dup()
        current.register(self)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Send a request, also over a connection that an earlier operation opened."""
        _current.get().register(self)
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def abort(self) -> None:
        """Shut the connection down, wherever it is in its exchange."""
        if self._duplicate is not None:
            with suppress(OSError):
                self._duplicate.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        super().close()  # type: ignore[misc]
        duplicate, self._duplicate = self._duplicate, None
        if duplicate is not None:
            duplicate.close()


class _Connection(_AbortableConnection, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(_AbortableConnection, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _SecureConnection
