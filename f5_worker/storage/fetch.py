"""GET of a URL that an untrusted caller chose: bounded, and from public addresses only.

Not through `requests` or `urllib`: they follow redirects themselves, to any port and to plain http, look the host up
again after it was checked, have timeouts that count for one read at a time (a server that drips bytes holds them
forever), and send the credentials of a `.netrc`.
"""

from __future__ import annotations

import functools
import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import certifi

from f5_worker import cancellation
from f5_worker.errors import FetchFailed, FetchRefused
from f5_worker.settings import Settings, variable
from f5_worker.storage.addresses import is_public

T = TypeVar("T")

MAX_REDIRECTS = 5
MAX_URL_CHARS = 8_192
CONNECT_TIMEOUT_S = 5.0  # for one address of a host that has several
READ_BYTES = 1 << 16
PORTS = {"https": 443, "http": 80}
REDIRECTS = frozenset((301, 302, 303, 307, 308))

_FORBIDDEN_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head)\b", re.IGNORECASE)
_URL_SAFE = "/%:@!$&'()*+,;=~?-._"


class CheckedUrl(NamedTuple):
    """The parts of a checked URL that a connection needs; `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Return the host as the `Host` header has it, with the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class FetchLimits(NamedTuple):
    """The bounds of one fetch: bytes of body, seconds, and the monotonic time at which these have passed."""

    max_bytes: int
    total_s: float
    deadline: float


def fetch(url: str, settings: Settings, *, max_bytes: int) -> bytes:
    """Return the body at a URL that an untrusted caller chose.

    Only https (http with F5_FETCH_HTTP) on its usual port, only public addresses (unless F5_FETCH_PRIVATE), each
    redirect checked like the first URL. The connection goes to the address that was checked.

    Args:
        max_bytes: of the body; `settings.fetch_timeout_s` bounds everything together, the lookup of the name included.

    Raises:
        FetchRefused: a URL that this worker does not open; nothing was sent there.
        FetchFailed: the server did not deliver.
        JobTimeout, JobCancelled: the current job has to stop.
    """
    limits = FetchLimits(max_bytes, settings.fetch_timeout_s, time.monotonic() + settings.fetch_timeout_s)
    for _ in range(MAX_REDIRECTS + 1):
        target = check_url(url, settings)
        addresses = resolve(target, limits, allow_private=settings.fetch_private)
        body_or_location = _get(target, addresses, limits)
        if isinstance(body_or_location, bytes):
            return body_or_location
        url = _resolve_location(target, body_or_location)
    raise FetchFailed(f"{target.host} redirects more than {MAX_REDIRECTS} times; send the final URL")


def check_url(url: str, settings: Settings) -> CheckedUrl:
    """Check everything about a URL that can be judged without looking its host up.

    Raises:
        FetchRefused: a URL that this worker does not open.
    """
    if len(url) > MAX_URL_CHARS or _FORBIDDEN_IN_URL.search(url):
        raise FetchRefused(
            f"the URL has more than {MAX_URL_CHARS} characters, or holds spaces, control characters or "
            "backslashes; send it percent-encoded"
        )
    try:
        parts = urlsplit(url)
        host, port = _ascii_host(parts.hostname or ""), parts.port
    except ValueError:  # brackets, port or international name malformed
        raise FetchRefused("the URL cannot be understood; send https://host/path") from None
    schemes = ("https", "http") if settings.fetch_http else ("https",)
    if parts.scheme not in schemes or not host:
        raise FetchRefused(f"only {' and '.join(schemes)} URLs with a host are opened; send the clip inline")
    if "@" in parts.netloc:
        raise FetchRefused("the URL holds credentials; send one that needs none, such as a signed URL")
    if port not in (None, *PORTS.values()) and not settings.fetch_private:
        raise FetchRefused(f"port {port} of {host} is not opened, only 443 and 80; use one of these")
    path = quote(parts.path, safe=_URL_SAFE) or "/"
    query = f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else ""
    return CheckedUrl(parts.scheme, host, port or PORTS[parts.scheme], path + query)


def _ascii_host(host: str) -> str:
    """Return the name as DNS has it.

    International names are mapped first, since the mapping also turns look-alike digits and dots into plain
    ones: the checks must see the same host as the resolver.

    Raises:
        ValueError: not a valid name, or a number in a spelling (decimal, octal, hex, short) that programs read
            as different addresses.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("a public address does not name an interface of this machine")
        return str(ipaddress.IPv6Address(host))
    name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    if _NUMBER_LABEL.fullmatch(name.rpartition(".")[2]):
        return str(ipaddress.IPv4Address(name))
    return name


def _resolve_location(target: CheckedUrl, location: str) -> str:
    try:
        return urljoin(f"{target.scheme}://{target.authority}{target.path}", location)
    except ValueError:
        raise FetchFailed(f"{target.host} redirects to a malformed URL; send the final URL") from None


def resolve(target: CheckedUrl, limits: FetchLimits, *, allow_private: bool) -> list[str]:
    """Look up the addresses of a host, all of which must be public: a private one among them is an attack.

    Raises:
        FetchFailed: the host is not known, or no name server answers in time.
        FetchRefused: an address is not public; not with `allow_private`.
    """
    try:
        found = _in_time(lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM), target, limits)
    except socket.gaierror:
        raise FetchFailed(f"the host {target.host} is not known; check the URL") from None
    addresses = list(dict.fromkeys(str(socket_address[0]) for *_, socket_address in found))
    if not addresses or not (allow_private or all(map(is_public, addresses))):
        raise FetchRefused(f"{target.host} is not at a public address; send the clip inline")
    return addresses


def _get(target: CheckedUrl, addresses: list[str], limits: FetchLimits) -> bytes | str:
    """Send one request; return the body, or the Location of a redirect."""
    try:
        with (
            connect(target, addresses, limits) as sock,
            sock.dup() as duplicate,  # never wrapped in TLS: it can be shut down
            # A socket's own timeout starts again with each byte, so a slow drip would never reach it.
            cancellation.abort_after(_left_s(limits), functools.partial(_shut_down, duplicate)),
            _wrap_tls(sock, target) as stream,
        ):
            return _exchange(stream, target, limits)
    except (OSError, http.client.HTTPException) as error:
        _check_deadline(target, limits)
        raise FetchFailed(f"{target.host} did not deliver ({_reason(error)}); try again later") from None


def connect(target: CheckedUrl, addresses: list[str], limits: FetchLimits) -> socket.socket:
    """Connect to the first address that answers.

    Raises:
        FetchFailed: none answers in time.
    """

    def first_answering() -> socket.socket | None:
        for address in addresses:
            cancellation.check()
            with suppress(OSError):
                sock = socket.create_connection((address, target.port), min(CONNECT_TIMEOUT_S, _left_s(limits)))
                sock.settimeout(limits.total_s)
                return sock
        return None

    if (sock := _in_time(first_answering, target, limits)) is not None:
        return sock
    raise FetchFailed(f"{target.host} does not answer on port {target.port}; check the URL")


def _in_time(call: Callable[[], T], target: CheckedUrl, limits: FetchLimits) -> T:
    """Return the result of a call of the operating system that no deadline reaches."""
    try:
        return cancellation.run_detached(call, _left_s(limits))
    except TimeoutError:
        raise _too_slow(target, limits) from None


def _left_s(limits: FetchLimits) -> float:
    return max(0.0, limits.deadline - time.monotonic())


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _wrap_tls(sock: socket.socket, target: CheckedUrl) -> socket.socket:
    """Return the socket itself for http; for https TLS over it, with a certificate for the host's name."""
    return sock if target.scheme == "http" else _tls_context().wrap_socket(sock, server_hostname=target.host)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # slim images come without certificates
    return context


def _exchange(stream: socket.socket, target: CheckedUrl, limits: FetchLimits) -> bytes | str:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = stream
    headers = {"Host": target.authority, "User-Agent": "f5-worker", "Accept": "*/*", "Connection": "close"}
    connection.request("GET", target.path, headers=headers)
    with connection.getresponse() as response:
        location = response.getheader("Location")
        if response.status in REDIRECTS and location:
            return location
        if response.status != http.HTTPStatus.OK:
            raise FetchFailed(f"{target.host} answered with status {response.status}; check the URL")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            # Not asked for, and a few bytes could unpack to gigabytes.
            raise FetchFailed(f"{target.host} sent a compressed reply; send the URL of the file itself")
        body = _read_body(response, target, limits)
        if is_web_page(body):
            raise FetchFailed(
                f"{target.host} answered with a web page (HTML), not with a file; send the link of the file itself: "
                "that of a sharing service is often the page around it"
            )
        return body


def is_web_page(body: bytes) -> bool:
    """Return whether the body of a response is HTML, whatever its header says."""
    return _WEB_PAGE.match(body) is not None


def _read_body(response: http.client.HTTPResponse, target: CheckedUrl, limits: FetchLimits) -> bytes:
    declared_bytes = response.length
    if declared_bytes is not None and declared_bytes > limits.max_bytes:
        raise _too_large(target, f"{declared_bytes} bytes", limits)
    body = bytearray()
    while part := response.read1(READ_BYTES):
        body += part
        if len(body) > limits.max_bytes:
            raise _too_large(target, f"more than {limits.max_bytes} bytes", limits)
    _check_deadline(target, limits)  # a connection that was aborted looks like the end of the body
    if declared_bytes is not None and len(body) < declared_bytes:
        raise FetchFailed(f"{target.host} stopped after {len(body)} of {declared_bytes} bytes; try again later")
    return bytes(body)


def _too_large(target: CheckedUrl, size: str, limits: FetchLimits) -> FetchFailed:
    return FetchFailed(
        f"{target.host} sends {size}, at most {limits.max_bytes} ({variable('reference_max_bytes')}); "
        "send a shorter or compressed recording"
    )


def _check_deadline(target: CheckedUrl, limits: FetchLimits) -> None:
    cancellation.check()
    if time.monotonic() >= limits.deadline:
        raise _too_slow(target, limits)


def _too_slow(target: CheckedUrl, limits: FetchLimits) -> FetchFailed:
    return FetchFailed(
        f"{target.host} took longer than {limits.total_s:g} s ({variable('fetch_timeout_s')}); "
        "send a smaller file or put it on a faster server"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
