"""Download of one file of a release, from a server that may be slow, unreachable, or break the connection.

urllib and not requests: `read1` returns the bytes that have arrived, so that the limit on the total time holds
against a server that sends single bytes, and the limit for connecting can differ from that for reading.

Also a program, `python -m f5_worker.boot.flash_attn.download '{...}'`: a download that goes on while the worker serves.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from f5_worker import process
from f5_worker.boot.flash_attn.wheels import Wheel
from f5_worker.storage import files

ABSENT_STATUSES = (404, 410)
RETRY_STATUSES = (408, 425, 429, 500, 502, 503, 504)
ORPHAN_S = 90.0  # longer than a running download can go without writing (read_s)
READ_BYTES = 1 << 18
LATER_S, LATER_ATTEMPTS = 3_600.0, 20  # the limits of a download for the next start
LATER_LOG = "download.log"
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class DownloadLimits:
    """The limits of one download. A wheel has about 250 MB."""

    connect_s: float = 10.0
    read_s: float = 20.0
    total_s: float = 180.0
    attempts: int = 4
    backoff_s: float = 0.5
    max_bytes: int = 1 << 30
    spare_bytes: int = 64 << 20  # left free on the disk
    absent_ttl_s: float = 86_400.0


class DownloadFailed(Exception):
    """The message is one line; `absent` is true if the server says that the file does not exist.

    `is_late` is true if the time was over before the file was complete.
    """

    def __init__(self, reason: str, *, absent: bool = False, is_late: bool = False) -> None:
        super().__init__(reason)
        self.absent = absent
        self.is_late = is_late


class _Retry(Exception):
    """This attempt failed; the next one may succeed."""


def fetch(wheel: Wheel, directory: Path, limits: DownloadLimits, on_data: Callable[[], None] = lambda: None) -> Path:
    """Download a file into `directory`, unless it is there and intact; other processes may do the same meanwhile.

    A 404 is remembered for `absent_ttl_s`. The partial file of a download that was killed or came too late is continued
    if the published hash can verify the result.

    Raises:
        DownloadFailed: the server, the connection or the disk failed, or the file is not the published one.
    """
    target, notes = directory / wheel.filename, files.ExpiringNotes(directory)
    if target.exists() and files.is_intact(target, wheel.sha256):
        return target
    if wheel.url is None:
        raise DownloadFailed("no address is known for it")
    name = f"{wheel.filename}.absent"
    if (known := notes.get(name)) and known.endswith(wheel.url):
        raise DownloadFailed(known, absent=True)
    temporary, is_continued = files.temporary_beside(target), False
    try:
        if wheel.sha256:
            _take_over_partial(target, temporary)
        _download(wheel, temporary, limits, on_data)
        if not wheel.sha256:
            files.write_checksum(temporary, target)
        temporary.replace(target)
    except DownloadFailed as error:
        if error.absent:
            notes.put(name, str(error), limits.absent_ttl_s)
        is_continued = error.is_late and wheel.sha256 is not None
        raise
    except OSError as error:
        raise DownloadFailed(files.explain(error)) from error
    finally:
        if is_continued:
            _leave(temporary)
        else:
            temporary.unlink(missing_ok=True)
    return target


def fetch_later(wheel: Wheel, directory: Path, limits: DownloadLimits, python: str) -> int:
    """Start a download that outlives this process; return its process id.

    Raises:
        OSError: it cannot be started.
    """
    limits = replace(limits, total_s=LATER_S, attempts=LATER_ATTEMPTS)
    request = json.dumps({"wheel": asdict(wheel), "directory": str(directory), "limits": asdict(limits)})
    command = [python, "-m", "f5_worker.boot.flash_attn.download", request]
    return process.start_detached(command, log=directory / LATER_LOG, cwd=REPOSITORY)


def main(text: str) -> int:
    """Run the download of `fetch_later`, at most one for each file, and return the exit code."""
    request = json.loads(text)
    wheel, directory = Wheel(**request["wheel"]), Path(request["directory"])
    with files.lease(directory / f"{wheel.filename}.lease", wait_s=0) as lease:
        if not lease.held:
            return 0
        try:
            fetch(wheel, directory, DownloadLimits(**request["limits"]), lease.heartbeat)
        except DownloadFailed as error:
            sys.stdout.write(f"{wheel.filename}: {error}\n")
            return 1
    return 0


def _download(wheel: Wheel, temporary: Path, limits: DownloadLimits, on_data: Callable[[], None]) -> None:
    """Make as many attempts as the limits allow, each continuing the one before."""
    deadline = time.monotonic() + limits.total_s
    reason = ""
    with temporary.open("a+b") as file:
        for attempt in range(limits.attempts):
            if attempt:
                time.sleep(min(limits.backoff_s * 2 ** (attempt - 1), max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                reason = f"not complete after {limits.total_s:.3g} s{_in_brackets(reason)}"
                raise DownloadFailed(reason, is_late=True)
            start = file.seek(0, 2)
            try:
                _one_attempt(wheel, file, limits, deadline, on_data)
                _flush(file)
                _check_hash(wheel, temporary)
                return
            except _Retry as error:
                reason = str(error)
            except _WrongHash as error:
                reason = str(error)
                if not start:  # all of it came from this attempt: the server has another file
                    raise DownloadFailed(reason) from None
                file.truncate(0)
    raise DownloadFailed(f"{reason}, {limits.attempts} attempts")


def _one_attempt(
    wheel: Wheel, file: BinaryIO, limits: DownloadLimits, deadline: float, on_data: Callable[[], None]
) -> None:
    """Append the missing bytes, or start over if the server does not support resuming."""
    offset = file.seek(0, 2)
    try:
        with _open(str(wheel.url), offset, limits) as response:
            size = _expected_size(response, offset)
            if response.status != 206 and offset:
                file.truncate(0)
            if size is not None:
                _check_space(size, Path(file.name).parent, limits)
            while data := response.read1(READ_BYTES):
                file.write(data)
                on_data()
                if file.tell() > limits.max_bytes:
                    raise DownloadFailed(f"more than {limits.max_bytes} bytes")
                if time.monotonic() > deadline:
                    reason = f"not complete after {limits.total_s:.3g} s: {file.tell()} of {size} bytes"
                    raise DownloadFailed(reason, is_late=True)
    except urllib.error.HTTPError as error:
        _raise_for_status(error, str(wheel.url), file)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Retry(_connection_problem(error, limits)) from None
    if size is not None and file.tell() != size:
        raise _Retry(f"the connection ended after {file.tell()} of {size} bytes")


def _open(url: str, offset: int, limits: DownloadLimits) -> Any:
    headers = {"User-Agent": "f5-worker", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is that of the manifest
    opener = urllib.request.build_opener(_HttpHandler(limits.read_s), _HttpsHandler(limits.read_s))
    return opener.open(request, timeout=limits.connect_s)


def _expected_size(response: Any, offset: int) -> int | None:
    """Return the size of the complete file, from Content-Range or Content-Length; None if the server sends neither."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise _Retry("the server sent another range than the requested one")
        return int(match[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _raise_for_status(error: urllib.error.HTTPError, url: str, file: BinaryIO) -> NoReturn:
    error.close()
    if error.code == 416:  # the partial file is as long as the published one or longer, and not intact
        file.truncate(0)
        raise _Retry("HTTP 416") from None
    if error.code in RETRY_STATUSES:
        raise _Retry(f"HTTP {error.code}") from None
    absent = error.code in ABSENT_STATUSES
    raise DownloadFailed(f"HTTP {error.code} for {url}", absent=absent) from None


def _check_space(size: int, directory: Path, limits: DownloadLimits) -> None:
    if size > limits.max_bytes:
        raise DownloadFailed(f"it has {size} bytes, at most {limits.max_bytes} are accepted")
    free = files.free_bytes(directory)
    if size + limits.spare_bytes > free:
        raise DownloadFailed(f"{size} bytes do not fit: {free} are free in the cache directory")


class _WrongHash(Exception):
    """The file does not have the published sha256."""


def _check_hash(wheel: Wheel, path: Path) -> None:
    if wheel.sha256 and (found := files.sha256_of(path)) != wheel.sha256:
        raise _WrongHash(f"its sha256 is {found[:16]}..., the published one is {wheel.sha256[:16]}...")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _take_over_partial(target: Path, temporary: Path) -> None:
    """Take over the partial file of a process that has ended; renaming it makes sure that only one process does."""
    with suppress(OSError):
        for path in target.parent.glob(f".{target.name}.*{files.TEMPORARY}"):
            if files.age_s(path) > ORPHAN_S:
                path.rename(temporary)
                return


def _leave(temporary: Path) -> None:
    """Leave a partial file to the next process, which continues it at once."""
    with suppress(OSError):
        left = time.time() - ORPHAN_S - 1
        os.utime(temporary, (left, left))


def _connection_problem(error: Exception, limits: DownloadLimits) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        # urllib wraps errors before the request is sent, and only those.
        is_wrapped = isinstance(error, urllib.error.URLError)
        return f"no connection within {limits.connect_s:g} s" if is_wrapped else f"no data for {limits.read_s:g} s"
    return f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


class _HttpHandler(urllib.request.HTTPHandler):
    """The handler of http:// with a separate time limit for reading."""

    def __init__(self, read_s: float) -> None:
        super().__init__()
        self._read_s = read_s

    def http_open(self, req: urllib.request.Request) -> Any:
        """Send a request; called by urllib."""
        return self.do_open(_with_read_timeout(http.client.HTTPConnection, self._read_s), req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    """The handler of https:// with a separate time limit for reading."""

    def __init__(self, read_s: float) -> None:
        super().__init__()
        self._read_s = read_s

    def https_open(self, req: urllib.request.Request) -> Any:
        """Send a request; called by urllib."""
        return self.do_open(_with_read_timeout(http.client.HTTPSConnection, self._read_s), req)


def _with_read_timeout(base: type[http.client.HTTPConnection], read_s: float) -> Any:
    """Return a connection class with a time limit for reading that differs from the one for connecting."""

    class Connection(base):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(read_s)

    return Connection


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
