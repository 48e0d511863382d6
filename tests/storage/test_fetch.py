"""Fetching over loopback: bodies that arrive, and the errors for those that do not."""

from __future__ import annotations

import gzip
import http.server
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from f5_worker.cancellation import JobControl
from f5_worker.errors import FetchFailed, JobCancelled, JobTimeout
from f5_worker.settings import Settings
from f5_worker.storage.fetch import CONNECT_TIMEOUT_S, MAX_REDIRECTS, CheckedUrl, FetchLimits, connect, fetch

CLIP = bytes(range(256)) * 40
SETTINGS = Settings(fetch_http=True, fetch_private=True, fetch_timeout_s=5)
IMPATIENT = SETTINGS.model_copy(update={"fetch_timeout_s": 0.25})  # below what operators may set
DRIP_S = 0.02
SECRET = "tok/en?sig=abc"


class Site(http.server.BaseHTTPRequestHandler):
    """A server with one page for each behaviour."""

    def do_GET(self) -> None:
        name = self.path.strip("/").partition("?")[0].partition("/")[0]
        getattr(self, f"page_{name}", self.page_missing)()

    def reply(self, body: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def page_clip(self) -> None:
        self.reply(CLIP)

    def page_missing(self) -> None:
        self.reply(b"no", status=404)

    def page_untold(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CLIP)

    def page_chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(CLIP), 1_000):
            piece = CLIP[at : at + 1_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def page_announced(self) -> None:
        self.reply(b"", length=10**12)

    def page_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(65_536))

    def page_short(self) -> None:
        self.reply(CLIP[:100], length=len(CLIP))

    def page_packed(self) -> None:
        self.reply(gzip.compress(bytes(10**6)), Content_Encoding="gzip")

    def page_hop(self) -> None:
        self.reply(b"", status=302, Location=f"/clip?{SECRET}")

    def page_loop(self) -> None:
        self.reply(b"", status=307, Location="/loop")

    def page_nowhere(self) -> None:
        self.reply(b"", status=301)

    def page_malformed(self) -> None:
        self.reply(b"", status=301, Location="http://[::1/")

    def page_hops(self) -> None:
        left = int(self.path.rpartition("/")[2])
        self.reply(b"", status=308, Location=f"/hops/{left - 1}") if left else self.reply(CLIP)

    def page_silent(self) -> None:
        self.close_connection = True

    def page_reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def page_babble(self) -> None:
        self.wfile.write(b"Welcome\r\n\r\n")

    def page_html(self) -> None:
        self.reply(b"\n<!doctype HTML><html><body>Download</body></html>", Content_Type="text/html")

    def page_disguised(self) -> None:
        self.reply(b"<html lang='en'>", Content_Type="audio/mpeg")

    def page_echo(self) -> None:
        self.reply((self.path + "\n" + str(self.headers)).encode())

    def page_dripbody(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.drip(b"x")

    def page_driphead(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        self.drip(b"y")

    def page_stuck(self) -> None:
        self.drip(b"")

    def drip(self, piece: bytes) -> None:
        for _ in range(500):
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(DRIP_S)

    def handle(self) -> None:
        with suppress(OSError):  # the client has hung up, as it should
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("page", ["clip", "untold", "chunked", "hop", f"clip?{SECRET}"])
def test_a_body_arrives(site: str, page: str) -> None:
    assert fetch(f"{site}/{page}", SETTINGS, max_bytes=len(CLIP)) == CLIP


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("announced", r"sends 1000000000000 bytes, at most 20000 \(F5_REFERENCE_MAX_BYTES\)"),
        ("endless", r"sends more than 20000 bytes, at most 20000 \(F5_REFERENCE_MAX_BYTES\)"),
        ("short", "stopped after 100 of 10240 bytes"),
        ("missing", "status 404"),
        ("nowhere", "status 301"),
        ("packed", "compressed"),
        ("loop", f"redirects more than {MAX_REDIRECTS} times"),
        ("malformed", "malformed URL"),
        ("silent", r"did not deliver \(RemoteDisconnected\); try again later"),
        ("reset", r"did not deliver \(Connection reset by peer\); try again later"),
        ("babble", r"did not deliver \(BadStatusLine\); try again later"),
        ("html", r"answered with a web page \(HTML\), not with a file; send the link of the file itself"),
        ("disguised", r"answered with a web page \(HTML\), not with a file"),
    ],
)
def test_each_failure_is_named(site: str, page: str, words: str) -> None:
    with pytest.raises(FetchFailed, match=words) as caught:
        fetch(f"{site}/{page}/{SECRET}", SETTINGS, max_bytes=20_000)
    assert "127.0.0.1" in str(caught.value)
    assert not any(part in str(caught.value) for part in ("tok", "sig"))


def test_redirects_are_followed_five_times(site: str) -> None:
    assert fetch(f"{site}/hops/{MAX_REDIRECTS}", SETTINGS, max_bytes=len(CLIP)) == CLIP
    with pytest.raises(FetchFailed, match="redirects more than 5 times"):
        fetch(f"{site}/hops/{MAX_REDIRECTS + 1}", SETTINGS, max_bytes=len(CLIP))


def test_what_can_be_done_about_a_large_file_is_said(site: str) -> None:
    with pytest.raises(FetchFailed) as caught:
        fetch(f"{site}/announced", SETTINGS, max_bytes=20_000)
    assert caught.value.message.endswith("; send a shorter or compressed recording")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["dripbody", "driphead", "stuck"])
def test_a_slow_drip_ends_at_the_deadline(site: str, page: str) -> None:
    begun = time.monotonic()
    with pytest.raises(FetchFailed, match=r"took longer than 0\.25 s \(F5_FETCH_TIMEOUT_S\); send a smaller"):
        fetch(f"{site}/{page}", IMPATIENT, max_bytes=10**6)
    assert 0.25 <= time.monotonic() - begun < 8.0  # the drip itself goes on for 10 s


@pytest.mark.parametrize("page", ["dripbody", "driphead", "stuck"])
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_fetch_ends_with_its_job(site: str, page: str, is_cancelled: bool) -> None:
    control = JobControl(60.0 if is_cancelled else 0.1)
    cancel = threading.Timer(0.1 if is_cancelled else 20.0, control.cancel)
    cancel.start()
    begun = time.monotonic()
    with pytest.raises(JobCancelled if is_cancelled else JobTimeout):
        control.run(lambda: fetch(f"{site}/{page}", SETTINGS, max_bytes=10**6))
    assert time.monotonic() - begun < 8.0  # the drip itself goes on for 10 s
    cancel.cancel()
    cancel.join()


@pytest.mark.parametrize(
    ("timeout_s", "settings", "error"),
    [
        (60.0, IMPATIENT, FetchFailed),
        (0.1, SETTINGS, JobTimeout),
    ],
)
def test_a_name_server_that_does_not_answer(
    timeout_s: float, settings: Settings, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answered.wait(60))
    begun = time.monotonic()
    with pytest.raises(error, match=r"F5_FETCH_TIMEOUT_S|F5_JOB_TIMEOUT_S"):
        JobControl(timeout_s).run(lambda: fetch("https://good.example/", settings, max_bytes=10))
    assert time.monotonic() - begun < 20.0
    answered.set()


def test_no_thread_is_left_behind(site: str) -> None:
    def timers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)}

    before = timers()  # other tests leave some, which may end: an idle recogniser waits to be unloaded
    fetch(f"{site}/clip", SETTINGS, max_bytes=10**6)
    with pytest.raises(FetchFailed):
        fetch(f"{site}/missing", SETTINGS, max_bytes=10**6)
    assert timers() <= before


def test_a_closed_port_does_not_answer() -> None:
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1 does not answer on port 9;"):
        fetch("http://127.0.0.1:9/", SETTINGS, max_bytes=10)


def test_the_request_reveals_little(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_AI_API_KEY", "rp_secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    path, _, headers = fetch(f"{site}/echo/a b%20ü".replace(" ", "%20"), SETTINGS, max_bytes=10**4).partition(b"\n")
    assert path == b"/echo/a%20b%20%C3%BC"
    assert b"User-Agent: f5-worker\nAccept: */*\nConnection: close\n" in headers
    names = {line.split(b":")[0] for line in headers.split(b"\n") if line}
    assert names == {b"Host", b"User-Agent", b"Accept", b"Connection", b"Accept-Encoding"}
    assert f"Host: {site.removeprefix('http://')}".encode() in headers


def test_the_query_is_sent_as_it_came(site: str) -> None:
    path = fetch(f"{site}/echo?a=b/c:d&e=%20ü~", SETTINGS, max_bytes=10**4).partition(b"\n")[0]
    assert path == b"/echo?a=b/c:d&e=%20%C3%BC~"
    assert fetch(f"{site}/echo", SETTINGS, max_bytes=10**4).startswith(b"/echo\n")


@pytest.mark.parametrize(("left_s", "timeout_s"), [(100.0, CONNECT_TIMEOUT_S), (2.0, 2.0)])
def test_each_address_is_tried_for_a_while(left_s: float, timeout_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[object, float]] = []

    def dial(address: object, timeout: float) -> socket.socket:
        tried.append((address, timeout))
        if len(tried) == 1:
            raise ConnectionRefusedError
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", dial)
    limits = FetchLimits(100, total_s=7.0, deadline=time.monotonic() + left_s)
    with connect(CheckedUrl("https", "host.example", 443, "/"), ["192.0.2.1", "192.0.2.2"], limits) as sock:
        assert sock.gettimeout() == 7.0
    assert [address for address, _ in tried] == [("192.0.2.1", 443), ("192.0.2.2", 443)]
    assert all(timeout == pytest.approx(timeout_s, abs=1.0) for _, timeout in tried)
