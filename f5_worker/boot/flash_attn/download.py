"""One file of a release, from a server that may be slow, gone, or cut off half-way.

urllib and not requests: `read1` hands over what has come, so that the limit on the total holds against a
server that drips single bytes, and a socket's limit for connecting can differ from that for reading.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from f5_worker.boot.flash_attn.wheels import Wheel
from f5_worker.storage import files as cache

NEVER_PUBLISHED = (404, 410)
WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)
ORPHAN_S = 90.0  # longer than a living download can go without writing (read_s)
READ_BYTES = 1 << 18


@dataclass(frozen=True)
class DownloadLimits:
    """What one download may take. A wheel has about 250 MB."""

    connect_s: float = 10.0
    read_s: float = 20.0
    total_s: float = 180.0
    attempts: int = 4
    backoff_s: float = 0.5
    max_bytes: int = 1 << 30
    spare_bytes: int = 64 << 20  # left free on the disk
    absent_ttl_s: float = 86_400.0


class DownloadFailed(Exception):
    """In one line; `absent` when the server says that there is no such file."""

    def __init__(self, reason: str, *, absent: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent


class _Again(Exception):
    """This attempt failed, the next may not."""


def fetch(wheel: Wheel, directory: Path, limits: DownloadLimits, on_data: Callable[[], None] = lambda: None) -> Path:
    """The file in `directory`, taken from there if it is intact; other processes may do the same meanwhile.

    A 404 is remembered for `absent_ttl_s`. What a killed download left is taken up where a published hash can
    prove the sum of the parts.

    Raises:
        DownloadFailed
    """
    target, notes = directory / wheel.filename, cache.Notes(directory)
    if target.exists() and cache.intact(target, wheel.sha256):
        return target
    if wheel.url is None:
        raise DownloadFailed("no address is known for it")
    name = f"{wheel.filename}.absent"
    if (known := notes.get(name)) and known.endswith(wheel.url):
        raise DownloadFailed(known, absent=True)
    temporary = cache.temporary_beside(target)
    try:
        if wheel.sha256:
            _adopt_orphan(target, temporary)
        _attempts(wheel, temporary, limits, on_data)
        if not wheel.sha256:
            cache.note_sum(temporary, target)
        temporary.replace(target)
    except DownloadFailed as error:
        if error.absent:
            notes.put(name, str(error), limits.absent_ttl_s)
        raise
    except OSError as error:
        raise DownloadFailed(cache.explain(error)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _attempts(wheel: Wheel, temporary: Path, limits: DownloadLimits, on_data: Callable[[], None]) -> None:
    deadline = time.monotonic() + limits.total_s
    reason = ""
    with temporary.open("a+b") as file:
        for attempt in range(limits.attempts):
            if attempt:
                time.sleep(min(limits.backoff_s * 2 ** (attempt - 1), max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                raise DownloadFailed(f"not complete after {limits.total_s:.3g} s{_after(reason)}")
            start = file.seek(0, 2)
            try:
                _one_attempt(wheel, file, limits, deadline, on_data)
                _flush(file)
                _check_sum(wheel, temporary)
                return
            except _Again as error:
                reason = str(error)
            except _WrongSum as error:
                reason = str(error)
                if not start:  # nothing old was in it: the server has another file
                    raise DownloadFailed(reason) from None
                file.truncate(0)
    raise DownloadFailed(f"{reason}, {limits.attempts} attempts")


def _one_attempt(
    wheel: Wheel, file: BinaryIO, limits: DownloadLimits, deadline: float, on_data: Callable[[], None]
) -> None:
    """Append what is missing, or start over where the server will not resume."""
    offset = file.seek(0, 2)
    try:
        with _open(str(wheel.url), offset, limits) as response:
            size = _expected_size(response, offset)
            if response.status != 206 and offset:
                file.truncate(0)
            if size is not None:
                _check_room(size, Path(file.name).parent, limits)
            while data := response.read1(READ_BYTES):
                file.write(data)
                on_data()
                if file.tell() > limits.max_bytes:
                    raise DownloadFailed(f"more than {limits.max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise DownloadFailed(f"not complete after {limits.total_s:.3g} s: {file.tell()} of {size} bytes")
    except urllib.error.HTTPError as error:
        _refused(error, str(wheel.url), file)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Again(_why(error, limits)) from None
    if size is not None and file.tell() != size:
        raise _Again(f"the connection ended after {file.tell()} of {size} bytes")


def _open(url: str, offset: int, limits: DownloadLimits) -> Any:
    headers = {"User-Agent": "f5-worker", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is the manifest's
    opener = urllib.request.build_opener(_Http(limits.read_s), _Https(limits.read_s))
    return opener.open(request, timeout=limits.connect_s)


def _expected_size(response: Any, offset: int) -> int | None:
    """Of the whole file, from Content-Range or Content-Length; None where the server does not say."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise _Again("the server answered with another part than was asked for")
        return int(match[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _refused(error: urllib.error.HTTPError, url: str, file: BinaryIO) -> None:
    error.close()
    if error.code == 416:  # what is here is as long as the file or longer, and was not accepted
        file.truncate(0)
        raise _Again("HTTP 416") from None
    if error.code in WORTH_ANOTHER_TRY:
        raise _Again(f"HTTP {error.code}") from None
    absent = error.code in NEVER_PUBLISHED
    raise DownloadFailed(f"HTTP {error.code} for {url}", absent=absent) from None


def _check_room(size: int, directory: Path, limits: DownloadLimits) -> None:
    if size > limits.max_bytes:
        raise DownloadFailed(f"{size} bytes, at most {limits.max_bytes} are taken")
    free = cache.free_bytes(directory)
    if size + limits.spare_bytes > free:
        raise DownloadFailed(f"{size} bytes do not fit: {free} are free in the cache directory")


class _WrongSum(Exception):
    pass


def _check_sum(wheel: Wheel, path: Path) -> None:
    if wheel.sha256 and (found := cache.sha256_of(path)) != wheel.sha256:
        raise _WrongSum(f"its sha256 is {found[:16]}..., published is {wheel.sha256[:16]}...")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _adopt_orphan(target: Path, temporary: Path) -> None:
    """Take over the part that a dead process has; renaming it makes sure that only one does."""
    with suppress(OSError):
        for path in target.parent.glob(f".{target.name}.*{cache.TEMPORARY}"):
            if cache.age_s(path) > ORPHAN_S:
                path.rename(temporary)
                return


def _why(error: Exception, limits: DownloadLimits) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        # urllib wraps what happens before the request is sent, and only that.
        wrapped = isinstance(error, urllib.error.URLError)
        return f"no connection within {limits.connect_s:g} s" if wrapped else f"nothing came for {limits.read_s:g} s"
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)


def _after(reason: str) -> str:
    return f" ({reason})" if reason else ""


# -- a limit for reading beside the one for connecting --------------------------------------------------


class _Http(urllib.request.HTTPHandler):
    def __init__(self, read_s: float) -> None:
        super().__init__()
        self._read_s = read_s

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_patient(http.client.HTTPConnection, self._read_s), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, read_s: float) -> None:
        super().__init__()
        self._read_s = read_s

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_patient(http.client.HTTPSConnection, self._read_s), req)


def _patient(kind: type[http.client.HTTPConnection], read_s: float) -> Any:
    class Connection(kind):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(read_s)

    return Connection
