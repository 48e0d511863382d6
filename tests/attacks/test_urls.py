"""URLs of private addresses: refused in every spelling, before any connection is made."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import FetchFailed, FetchRefused
from f5_worker.settings import Settings
from f5_worker.storage import addresses
from f5_worker.storage import fetch as module
from f5_worker.storage.addresses import is_public
from f5_worker.storage.fetch import fetch

SETTINGS = Settings(fetch_http=True, fetch_timeout_s=5)
ONLY_HTTPS = Settings(fetch_timeout_s=5)
ANY_ADDRESS = Settings(fetch_private=True, fetch_timeout_s=5)
DAY = datetime.timedelta(days=1)

PRIVATE_NAMES = {
    "localhost": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "rebind.example": ["93.184.216.34", "10.0.0.1"],
    "six.example": ["2002:a9fe:a9fe::1"],
    "site.example": ["fec0::1"],
    "nat.example": ["64:ff9b::a9fe:a9fe"],
    "mixed.example": ["2606:4700::1111", "::1"],
}
PUBLIC_NAMES = {"good.example": ["93.184.216.34"]}

# The first, a middle and the last address of each range that is not public, or has an IPv4 address inside.
NOT_PUBLIC_V4 = """
    0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.0 127.255.255.255
    168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0 172.31.255.255
    192.0.0.0 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255
    192.88.99.0 192.88.99.1 192.88.99.255 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255
    198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.255
""".split()
NOT_PUBLIC_V6 = """
    :: ::1 ::2 ::7f00:1 ::ffff:0:0 ::ffff:5db8:d822 ::ffff:0:5db8:d822 64:ff9b:: 64:ff9b::5db8:d822 64:ff9b:1::
    64:ff9b:1:ffff:ffff:ffff:ffff:ffff 100:: 100:0:0:1:: 1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    2001:: 2001:0:ffff:ffff:ffff:ffff:ffff:ffff 2001:1::1 2001:1::2 2001:2:: 2001:3:: 2001:4:112:: 2001:10:: 2001:20::
    2001:30:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
    2002:: 2002:5db8:d822:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
    4000:: 5f00:: 8000:: c000:: fc00:: fd00:ec2::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fe80:: febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    ff00:: ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    2606:4700::5efe:a9fe:a9fe 2606:4700::200:5efe:a9fe:a9fe 2606:4700:1:2:100:5efe:a00:1
""".split()
# Their neighbours, and some that are used.
PUBLIC = """
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 168.63.129.17
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0
    192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0
    223.255.255.255 8.8.8.8 93.184.216.34
    2000:: 2001:200:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2001:4860:4860::8888
    2003:: 2606:4700:4700::1111 2a00:1450:4001:81b::200e 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000::
""".split()

SPELLINGS = [
    *("127.0.0.1", "127.1", "127.0.1", "0.0.0.0", "0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *(
        "169.254.169.254",
        "169.254.169.254.",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ),
    *("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "0x7F.1", "127.0.0.0x1"),
    *(
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "0x",
        "1.1.1.1.1",
        "999.1.1.1",
        "4294967296",
    ),
    *("[::1]", "[::]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::ffff:0:127.0.0.1]"),
    *(
        "[2002:a9fe:a9fe::]",
        "[2002:7f00:1::1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[2001:0:a9fe:a9fe::1]",
    ),
    *(
        "[fec0::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[::1",
    ),
    *("①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1", "127．0．0．1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"),
    *("LOCALHOST", "localhost.", "metadata.google.internal", "rebind.example", "six.example", "site.example"),
    *(
        "nat.example",
        "mixed.example",
        "",
        ".",
        "..",
        "a..b",
        "-" * 64 + ".example",
        "[v1.fe80::a]",
        "[127.0.0.1]",
    ),
]

URLS = [
    "https://user@good.example/",
    "https://user:pass@good.example/",
    "https://@good.example/",
    "https://good.example@127.0.0.1/",
    "https://127.0.0.1#@good.example/",
    "https://127.0.0.1\\@good.example/",
    "https://good.example\\@127.0.0.1/",
    "https://good.example /",
    "https://good.example/a b",
    "https://good.example/\r\nHost: localhost",
    "https://good.example\t/",
    "https://good.example\x00/",
    "https://good.example:22/",
    "https://good.example:8080/",
    "https://good.example:0/",
    "https://good.example:99999/",
    "https://good.example:abc/",
    "https:///etc/passwd",
    "https:/good.example/",
    "file:///etc/passwd",
    "file://good.example/etc/passwd",
    "ftp://good.example/",
    "gopher://good.example:70/",
    "dict://good.example:11211/",
    "unix:///var/run/docker.sock",
    "jar:https://good.example!/",
    "https://good.example/" + "a" * 9_000,
]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the resolver by one that knows the names above; return the list of attempted connections."""
    numeric, tried = socket.getaddrinfo, list[Any]()

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if addresses := (PRIVATE_NAMES | PUBLIC_NAMES).get(host.rstrip(".").lower()):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
        return numeric(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    def connect(address: Any, *args: Any, **kwargs: Any) -> socket.socket:
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connect(address))
    return tried


@pytest.mark.parametrize("host", SPELLINGS)
def test_private_addresses_are_refused_in_every_spelling(host: str, connected: list[Any]) -> None:
    for scheme in ("https", "http"):
        with pytest.raises(FetchRefused):
            fetch(f"{scheme}://{host}/latest/meta-data", SETTINGS, max_bytes=100)
    assert connected == []


@pytest.mark.parametrize("address", NOT_PUBLIC_V4 + NOT_PUBLIC_V6)
def test_an_address_of_each_special_range_is_refused(
    address: str, connected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    literal = f"[{address}]" if ":" in address else address
    monkeypatch.setitem(PRIVATE_NAMES, "special.example", ["93.184.216.34", address])
    for host in (literal, "special.example"):
        with pytest.raises(FetchRefused, match="not at a public address"):
            fetch(f"https://{host}/", SETTINGS, max_bytes=100)
    assert connected == []
    with pytest.raises(FetchFailed, match="does not answer on port"):
        fetch(f"https://{literal}/", ANY_ADDRESS, max_bytes=100)
    ((host, port),) = connected
    assert (ipaddress.ip_address(host), port) == (ipaddress.ip_address(address), 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_beside_the_special_ranges_is_public(address: str, connected: list[Any]) -> None:
    with pytest.raises(FetchFailed, match="does not answer on port"):
        fetch(f"https://{f'[{address}]' if ':' in address else address}/", SETTINGS, max_bytes=100)
    assert connected == [(address, 443)]


@given(st.ip_addresses())
def test_no_address_that_python_calls_special_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        special = (address.is_private, address.is_reserved, address.is_multicast, address.is_link_local)
        assert not any(special)


@pytest.mark.parametrize("text", ["", "localhost", "1.1.1", "1.1.1.1/32", "2606:4700::1111%eth0", "fe80::1%1", "::g"])
def test_other_texts_are_not_public_addresses(text: str) -> None:
    assert not is_public(text)


def test_a_host_without_addresses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [])
    with pytest.raises(FetchRefused, match="not at a public address"):
        fetch("https://good.example/", SETTINGS, max_bytes=100)


@pytest.mark.parametrize("url", URLS)
def test_other_tricks_are_refused(url: str, connected: list[Any]) -> None:
    with pytest.raises(FetchRefused) as caught:
        fetch(url, SETTINGS, max_bytes=100)
    assert connected == []
    assert not any(word in str(caught.value) for word in ("passwd", "pass@", "meta-data", "docker"))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://good.example/" + "a" * 8_172, "the URL has more than 8192 characters, or holds spaces, control "
         "characters or backslashes; send it percent-encoded"),
        ("https://[::1", "the URL cannot be understood; send https://host/path"),
        ("ftp://good.example/", "only https and http URLs with a host are opened; send the clip inline"),
        ("https://user@good.example/", "the URL holds credentials; send one that needs none, such as a signed URL"),
        ("https://good.example:22/", "port 22 of good.example is not opened, only 443 and 80; use one of these"),
    ],
)  # fmt: skip
def test_what_to_do_is_said(url: str, words: str, connected: list[Any]) -> None:
    with pytest.raises(FetchRefused) as caught:
        fetch(url, SETTINGS, max_bytes=100)
    assert caught.value.message == words


def test_the_longest_url_is_taken(connected: list[Any]) -> None:
    with pytest.raises(FetchFailed, match="does not answer on port"):
        fetch("https://good.example/" + "a" * 8_171, SETTINGS, max_bytes=100)
    assert module.check_url("https://good.example", SETTINGS).path == "/"


@pytest.mark.parametrize("objection", ["private", "loopback", "link_local", "multicast", "reserved", "unspecified"])
def test_every_objection_of_python_counts(objection: str) -> None:
    def address(*objections: str) -> Any:
        kinds = ("global", "private", "loopback", "link_local", "multicast", "reserved", "unspecified")
        return SimpleNamespace(**{f"is_{kind}": kind in ("global", *objections) for kind in kinds})

    assert addresses._is_plainly_global(address())
    assert not addresses._is_plainly_global(address(objection))


def test_http_needs_the_setting(connected: list[Any]) -> None:
    with pytest.raises(FetchRefused, match="only https URLs"):
        fetch("http://good.example/", ONLY_HTTPS, max_bytes=100)
    assert connected == []


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://good.example/a", ("93.184.216.34", 443)),
        ("https://GOOD.example./a", ("93.184.216.34", 443)),
        ("http://good.example/a", ("93.184.216.34", 80)),
        ("http://good.example:443/a", ("93.184.216.34", 443)),
        ("https://93.184.216.34/a", ("93.184.216.34", 443)),
        ("https://[2606:4700:4700::1111]/a", ("2606:4700:4700::1111", 443)),
    ],
)
def test_the_connection_goes_to_the_address_that_was_checked(
    url: str, address: tuple[str, int], connected: list[Any]
) -> None:
    with pytest.raises(FetchFailed, match="does not answer on port"):
        fetch(url, SETTINGS, max_bytes=100)
    assert connected == [address]


def test_an_unknown_host_is_a_failure_not_a_refusal(connected: list[Any]) -> None:
    with pytest.raises(FetchFailed, match=r"the host nowhere\.example is not known"):
        fetch("https://nowhere.example/", SETTINGS, max_bytes=100)


class Redirector(http.server.BaseHTTPRequestHandler):
    target = ""
    requests: list[str]

    def do_GET(self) -> None:
        type(self).requests.append(self.path)
        self.send_response(302)
        self.send_header("Location", self.target)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def redirector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Redirector]]:
    """`http://good.example/` on loopback, which alone counts as public."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Redirector.requests = []
    resolve = socket.getaddrinfo

    def loopback(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        return resolve("127.0.0.1" if host == "good.example" else host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", loopback)
    monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
    monkeypatch.setitem(module.PORTS, "http", server.server_port)
    yield Redirector
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "//192.168.0.1/",
        "file:///etc/passwd",
        "ftp://good.example/",
        "http://good.example:22/",
        "http://user:secret@good.example/",
        "\\\\10.0.0.1\\",
    ],
)
def test_redirects_are_checked_like_the_first_url(target: str, redirector: type[Redirector]) -> None:
    redirector.target = target
    with pytest.raises(FetchRefused) as caught:
        fetch("http://good.example/first", SETTINGS, max_bytes=100)
    assert redirector.requests == ["/first"]
    assert "secret" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a self-signed certificate for `good.example`, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.example")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + DAY)
    alternative = x509.SubjectAlternativeName([x509.DNSName("good.example")])
    signed = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    path = tmp_path / "server.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(pem))
    return path


@pytest.fixture
def https_port(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An https server on loopback that every name leads to and that redirects to /end, which is missing."""

    class Site(Redirector):
        target, requests = "/end", list[str]()

        def do_GET(self) -> None:
            self.send_error(404) if self.path == "/end" else super().do_GET()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **kwargs: resolve("127.0.0.1", *args, **kwargs))
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_unknown_certificate_is_not_accepted(https_port: int) -> None:
    with pytest.raises(FetchFailed, match=r"good\.example did not deliver \(its certificate is not accepted: self"):
        fetch(f"https://good.example:{https_port}/secret", ANY_ADDRESS, max_bytes=100)


def test_a_certificate_is_for_the_name_not_the_address(
    https_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(module, "_tls_context", lambda: trusting)
    with pytest.raises(FetchFailed, match=r"good\.example answered with status 404"):
        fetch(f"https://good.example:{https_port}/", ANY_ADDRESS, max_bytes=100)
    with pytest.raises(FetchFailed, match=r"other\.example did not deliver .*certificate .*mismatch"):
        fetch(f"https://other.example:{https_port}/", ANY_ADDRESS, max_bytes=100)


def test_certificates_are_verified() -> None:
    context = module._tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) > 50
