"""How requests to a bucket travel: botocore's own HTTP session, with bounds that it lacks.

A socket's timeouts count for one read or write at a time, so a server that drips bytes holds a job for ever; answers
are read whole, however long; and whatever address a host's name has is dialled. Here a task has one deadline at
which its connections are cut, a bound on what is read, and, where a stranger chose the host, `fetch`'s rules of
addresses, with the address that was checked as the one that is dialled.

Importing this module imports botocore.
"""

from __future__ import annotations

import http
import io
import re
import socket
import threading
import time
from collections.abc import Iterator
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
from urllib3.exceptions import HTTPError

from f5_worker.errors import StorageFailed, WorkerError
from f5_worker.settings import Settings
from f5_worker.storage import fetch

READ_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 10.0
_REGION = re.compile(rb"<Region>([A-Za-z0-9-]{1,63})</Region>")


class OtherRegion(Exception):
    """The server says in which region the bucket is, and it is not the one that was signed for."""

    def __init__(self, region: str) -> None:
        super().__init__(region)
        self.region = region


class Task:
    """What one operation may take, over all of its tries: seconds, and bytes of each answer.

    `strangers`: the settings that say which addresses a stranger's endpoint may have; None for the operator's own.
    """

    def __init__(self, total_s: float, max_bytes: int, strangers: Settings | None) -> None:
        self.total_s, self.max_bytes, self.strangers = total_s, max_bytes, strangers
        self.deadline = time.monotonic() + total_s
        self._lines: set[_Watched] = set()
        self._lock = threading.Lock()
        self.cut = False

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def expired(self) -> bool:
        return self.cut or self.left_s <= 0

    def watch(self, line: _Watched) -> None:
        """Cut this connection, too, when the time is over."""
        with self._lock:
            self._lines.add(line)
            if self.cut:
                line.cut()

    def end(self) -> None:
        """The time is over."""
        with self._lock:
            self.cut = True
            for line in self._lines:
                line.cut()


_task: ContextVar[Task] = ContextVar("_task")


@contextmanager
def task(total_s: float, max_bytes: int, strangers: Settings | None) -> Iterator[Task]:
    """The bounds of all requests that this thread makes inside; see `Task`."""
    this = Task(total_s, max_bytes, strangers)
    timer = threading.Timer(total_s, this.end)
    timer.daemon = True
    token = _task.set(this)
    timer.start()
    try:
        yield this
    finally:
        timer.cancel()
        timer.join()
        _task.reset(token)


class Wire:
    """The connections of one client, kept open between its requests."""

    def __init__(self, url: str, region: str, *, stall_s: float, strangers: bool) -> None:
        """`url`: where it will talk to, for the operator's proxies, which a stranger's endpoint does not get."""
        self._region = region
        timeout = (min(CONNECT_TIMEOUT_S, stall_s), stall_s)  # the first also for each 16 KiB that are sent
        self._session = URLLib3Session(timeout=timeout, proxies={} if strangers else get_environ_proxies(url))
        self._session._pool_classes_by_scheme.update(http=_Pool, https=_SecurePool)

    def send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """botocore's `before-send` hook: what it returns is taken for the answer.

        Raises:
            OtherRegion: the bucket is not in `region`.
            StorageFailed: too much was sent, or a redirect elsewhere; none is followed.
        """
        request.stream_output = True  # so that nothing is read before it is counted
        try:
            answer = self._session.send(request)
            data = _read(answer.raw)
        except HTTPClientError as error:
            reason = error.kwargs.get("error")
            raise (reason if isinstance(reason, WorkerError) else error) from None
        except HTTPError as error:
            raise HTTPClientError(error=error) from None
        self._check_place(answer, data)
        return AWSResponse(answer.url, answer.status_code, answer.headers, _Body(data))

    def _check_place(self, answer: AWSResponse, data: bytes) -> None:
        """botocore would go to the other region by itself, but sign URLs for the old one for ever; and at a redirect
        that is none of S3's it calls itself until the stack is full."""
        if answer.status_code not in (*fetch.REDIRECTS, http.HTTPStatus.BAD_REQUEST):
            return
        told = _REGION.search(data)
        region = answer.headers.get("x-amz-bucket-region") or (told[1].decode() if told else "")
        if region and region != self._region:
            raise OtherRegion(region)
        if answer.status_code in fetch.REDIRECTS:
            host = urlsplit(answer.url).netloc
            raise StorageFailed(f"{host} redirects elsewhere instead of answering as S3 does; check the endpoint")


def _read(raw: Any) -> bytes:
    data, limit = bytearray(), _task.get().max_bytes
    for piece in raw.stream(READ_BYTES):
        data += piece
        if len(data) > limit:
            raw.close()
            raise StorageFailed(f"the bucket sent more than {limit} bytes; keep smaller files there")
    return bytes(data)


class _Body(io.BytesIO):
    """An answer that was read, as botocore wants to read it."""

    def stream(self) -> Iterator[bytes]:
        yield self.getvalue()


class _Watched:
    """Mixed into botocore's connections."""

    _own: socket.socket | None = None  # the same connection as `sock`, but never wrapped in TLS: it can be cut

    def _new_conn(self) -> socket.socket:
        this = _task.get()
        if this.strangers is None:
            line: socket.socket = super()._new_conn()  # type: ignore[misc]
        else:
            target = fetch.Target("https", self.host, self.port, "/")  # type: ignore[attr-defined]
            limits = fetch.FetchLimits(this.max_bytes, this.total_s, this.deadline)
            line = fetch.dial(target, fetch.resolve(target), limits)
        self._own = line.dup()
        this.watch(self)
        return line

    def request(self, *args: Any, **kwargs: Any) -> Any:
        _task.get().watch(self)  # it may be from an earlier task's connections
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def cut(self) -> None:
        if self._own is not None:
            with suppress(OSError):
                self._own.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        own, self._own = self._own, None
        if own is not None:
            own.close()


class _Connection(_Watched, AWSHTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(_Watched, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _SecureConnection
