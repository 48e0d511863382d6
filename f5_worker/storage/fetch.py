"""GET of a URL that a caller chose: bounded, and from public addresses only.

runpod's guard (`rp_ssrf`) decides which addresses are public. Its `safe_get` is not used: it follows
redirects itself, to any port and to plain http, its timeouts count for one read at a time (a server that
drips bytes holds it forever), and its session sends the credentials of a `.netrc`.
"""

from __future__ import annotations

import functools
import http.client
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import certifi

from f5_worker.errors import FetchFailed, FetchRefused
from f5_worker.settings import Settings, variable

MAX_REDIRECTS = 5
MAX_URL_CHARS = 8_192
CONNECT_TIMEOUT_S = 5.0  # for one address of a host that has several
READ_BYTES = 1 << 16
PORTS = {"https": 443, "http": 80}
REDIRECTS = frozenset((301, 302, 303, 307, 308))

# The SDK's switch for endpoints in one's own network, in its own spelling (rp_ssrf.py).
ALLOW_PRIVATE = "RUNPOD_ALLOW_PRIVATE_DOWNLOAD_URLS"
_YES = ("1", "true", "yes")

# IPv6 ranges that carry an IPv4 address inside. rp_ssrf lets some through: 2002:a9fe:a9fe:: is
# 169.254.169.254, the address of a cloud's credentials.
_WRAPPING = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96"),  # compatible, mapped, translated
        *("64:ff9b::/96", "64:ff9b:1::/48"),  # NAT64
        *("2001::/32", "2002::/16"),  # Teredo, 6to4
    )
)

_FORBIDDEN_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_URL_SAFE = "/%:@!$&'()*+,;=~?-._"


class Target(NamedTuple):
    """A checked URL, in the pieces that a connection needs."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class FetchLimits(NamedTuple):
    """What one fetch may take: bytes of body, seconds, and the monotonic time at which these are over."""

    max_bytes: int
    total_s: float
    deadline: float


def fetch(url: str, settings: Settings, *, max_bytes: int) -> bytes:
    """GET a URL that a stranger chose.

    Only https (http with F5_FETCH_HTTP) on its usual port, only public addresses, each redirect checked like
    the first URL. The address that was checked is the one that is dialled.

    Args:
        max_bytes: of the body; `settings.fetch_timeout_s` bounds everything together.

    Raises:
        FetchRefused: a URL that this worker does not open; nothing was sent there.
        FetchFailed: the server did not deliver.
    """
    limits = FetchLimits(max_bytes, settings.fetch_timeout_s, time.monotonic() + settings.fetch_timeout_s)
    for _ in range(MAX_REDIRECTS + 1):
        target = check_url(url, settings)
        answer = _get(target, limits)
        if isinstance(answer, bytes):
            return answer
        url = _joined(target, answer)
    raise FetchFailed(f"{target.host} redirects more than {MAX_REDIRECTS} times; send the final URL")


def _private_allowed() -> bool:
    return os.environ.get(ALLOW_PRIVATE, "").strip().lower() in _YES


def check_url(url: str, settings: Settings) -> Target:
    """Everything about a URL that can be judged without looking its host up."""
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
    if port not in (None, *PORTS.values()) and not _private_allowed():
        raise FetchRefused(f"port {port} of {host} is not opened, only 443 and 80; use one of these")
    path = quote(parts.path, safe=_URL_SAFE) or "/"
    query = f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else ""
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path + query)


def _ascii_host(host: str) -> str:
    """The name as DNS knows it.

    International names are mapped first, since the mapping also turns look-alike digits and dots into plain
    ones: what follows must see the same host as the resolver.

    Raises:
        ValueError: no valid name, or a number in a spelling (decimal, octal, hex, short) whose address
            programs disagree about.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("an interface of this machine is no part of a public address")
        return str(ipaddress.IPv6Address(host))
    name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    if _NUMBER_LABEL.fullmatch(name.rpartition(".")[2]):
        return str(ipaddress.IPv4Address(name))
    return name


def _joined(target: Target, location: str) -> str:
    try:
        return urljoin(f"{target.scheme}://{target.authority}{target.path}", location)
    except ValueError:
        raise FetchFailed(f"{target.host} redirects to a malformed URL; send the final URL") from None


def resolve(target: Target) -> list[str]:
    """Where a host is, if all of its addresses are public; a private one among them is an attack."""
    from runpod.serverless.utils import rp_ssrf  # 1.6 s, so not before it is needed

    try:
        addresses = [str(address) for address in rp_ssrf.resolve_and_validate(target.host, target.port)]
    except rp_ssrf.SSRFError as error:
        if isinstance(error.__cause__, socket.gaierror):
            raise FetchFailed(f"the host {target.host} is not known; check the URL") from None
        raise _not_public(target) from None
    if not _private_allowed() and any(map(_disguised, addresses)):
        raise _not_public(target)
    return addresses


def _disguised(address: str) -> bool:
    """An IPv6 address that stands for an IPv4 one, or is of a site (fec0::/10)."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return False
    return parsed.is_site_local or any(parsed in network for network in _WRAPPING)


def _not_public(target: Target) -> FetchRefused:
    return FetchRefused(f"{target.host} is not at a public address; send the clip inline")


def _get(target: Target, limits: FetchLimits) -> bytes | str:
    """One request: the body, or where it is to be found instead."""
    addresses = resolve(target)
    try:
        with (
            dial(target, addresses, limits) as line,
            _hang_up(line, limits),
            _secured(line, target) as channel,
        ):
            return _exchange(channel, target, limits)
    except (OSError, http.client.HTTPException) as error:
        _check_deadline(target, limits)
        raise FetchFailed(f"{target.host} did not deliver ({_reason(error)}); try again later") from None


def dial(target: Target, addresses: list[str], limits: FetchLimits) -> socket.socket:
    """A connection to the first address that answers."""
    for address in addresses:
        left_s = limits.deadline - time.monotonic()
        if left_s <= 0:
            break
        with suppress(OSError):
            line = socket.create_connection((address, target.port), min(CONNECT_TIMEOUT_S, left_s))
            line.settimeout(limits.total_s)
            return line
    raise FetchFailed(f"{target.host} does not answer on port {target.port}; check the URL")


@contextmanager
def _hang_up(line: socket.socket, limits: FetchLimits) -> Iterator[None]:
    """Cut the connection at the deadline, wherever it is then: in the handshake, the header or the body.

    A socket's own timeout starts anew with each byte, so a slow drip would never meet it.
    """
    own = line.dup()

    def cut() -> None:
        with suppress(OSError):
            own.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, limits.deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        own.close()


def _secured(line: socket.socket, target: Target) -> socket.socket:
    """The line itself for http; for https TLS over it, certified for the host's name."""
    return line if target.scheme == "http" else _tls_context().wrap_socket(line, server_hostname=target.host)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # slim images come without certificates
    return context


def _exchange(channel: socket.socket, target: Target, limits: FetchLimits) -> bytes | str:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = channel
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
        return _read(response, target, limits)


def _read(response: http.client.HTTPResponse, target: Target, limits: FetchLimits) -> bytes:
    declared = response.length
    if declared is not None and declared > limits.max_bytes:
        raise _too_large(target, f"{declared} bytes", limits)
    body = bytearray()
    while piece := response.read1(READ_BYTES):
        body += piece
        if len(body) > limits.max_bytes:
            raise _too_large(target, f"more than {limits.max_bytes} bytes", limits)
    _check_deadline(target, limits)  # a connection cut by `_hang_up` looks like the end of the body
    if declared is not None and len(body) < declared:
        raise FetchFailed(f"{target.host} stopped after {len(body)} of {declared} bytes; try again later")
    return bytes(body)


def _too_large(target: Target, size: str, limits: FetchLimits) -> FetchFailed:
    return FetchFailed(
        f"{target.host} sends {size}, at most {limits.max_bytes} ({variable('reference_max_bytes')}); "
        "send a shorter or compressed recording"
    )


def _check_deadline(target: Target, limits: FetchLimits) -> None:
    if time.monotonic() >= limits.deadline:
        raise FetchFailed(
            f"{target.host} took longer than {limits.total_s:g} s ({variable('fetch_timeout_s')}); "
            "send a smaller file or put it on a faster server"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
