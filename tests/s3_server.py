"""A real S3 server on loopback, and a gate in front of it that misbehaves on demand.

`s3_server()` is moto's server: true S3 semantics, but it accepts any key and any signature. The answers of a refusing
or broken bucket are played by `Gate`, which forwards requests to an S3 server once its faults are used up.
"""

from __future__ import annotations

import http.client
import http.server
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlsplit

import requests

ACCESS_KEY = "AKIAEXAMPLEKEYOFTEST"
SECRET_KEY = "s3cr3t/of+the/tests/and/of/nothing/else0"
REGION = "us-east-1"
BUCKET = "speech"

HOP_HEADERS = ("connection", "keep-alive", "transfer-encoding", "host", "expect", "content-length")


@dataclass(frozen=True)
class S3Server:
    """A running server. All its buckets are deleted when it stops."""

    url: str

    def client(self) -> Any:
        """Return a separate boto3 client, to inspect the server without the code under test."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}),
        )

    def create(self, bucket: str = BUCKET) -> str:
        """Make an empty bucket; return its name."""
        self.client().create_bucket(Bucket=bucket)
        return bucket

    def fill(self, keys: Iterable[str], data: bytes = b"x", bucket: str = BUCKET) -> None:
        """Write many small files, faster than a client that signs."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20200101/{REGION}/s3/aws4_request"}
        for key in keys:
            connection.request("PUT", f"/{bucket}/{quote(key)}", data, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
        connection.close()

    def environ(self, bucket: str = BUCKET) -> dict[str, str]:
        """Return the variables with which a worker finds that bucket."""
        return environ(self.url, bucket)


def environ(url: str, bucket: str = BUCKET) -> dict[str, str]:
    """Return the variables with which a worker finds a bucket at `url`."""
    return {
        "S3_ENDPOINT_URL": url,
        "S3_BUCKET_NAME": bucket,
        "S3_ACCESS_KEY_ID": ACCESS_KEY,
        "S3_SECRET_ACCESS_KEY": SECRET_KEY,
        "S3_REGION": REGION,
    }


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run moto's server on a free port of loopback, empty; 2 s to start, so one for a module of tests."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server(f"http://{host}:{port}")
    finally:
        # All servers of a process share their objects; a later one would list them.
        requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)
        server.stop()


@dataclass
class Seen:
    """A request that the gate received."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Gate:
    """An HTTP server on loopback that plays `faults`, one for each request, then forwards to `upstream`.

    Without an upstream the last fault is played forever.
    """

    url: str = ""
    upstream: str | None = None
    faults: list[Callable[[Any], None]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def environ(self, bucket: str = BUCKET) -> dict[str, str]:
        return environ(self.url, bucket)

    def take(self) -> Callable[[Any], None] | None:
        if self.upstream is None and len(self.faults) == 1:
            return self.faults[0]
        return self.faults.pop(0) if self.faults else None


@contextmanager
def gate(*faults: Callable[[Any], None], upstream: str | None = None) -> Iterator[Gate]:
    """Run a `Gate` on a free port of loopback; takes milliseconds."""
    this = Gate(upstream=upstream, faults=list(faults))

    class Handler(_Handler):
        gate = this

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    this.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield this
    finally:
        this.closing.set()
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    gate: Gate
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle_expect_100(self) -> bool:
        return True  # each fault decides for itself whether it wants the body

    def handle_any(self) -> None:
        self.gate.seen.append(Seen(self.command, self.path, dict(self.headers.items())))
        with suppress(OSError):
            (self.gate.take() or _Handler.forward)(self)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def forward(self) -> None:
        body = self.body()
        assert self.gate.upstream, "the gate has neither a fault nor an S3 server behind it"
        connection = http.client.HTTPConnection(urlsplit(self.gate.upstream).netloc, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_HEADERS}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        data = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_HEADERS}
        if self.command == "HEAD":
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
        else:
            self.reply(answer.status, data, kept)
        connection.close()


def refuse(status: int, code: str, *, clock_s: float = 0.0, **headers: str) -> Callable[[Any], None]:
    """Refuse as S3 does, with a status and an XML body with a code; `clock_s`: how much its clock is ahead."""

    def play(request: Any) -> None:
        request.body()
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>no</Message>'
            f"<AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId><StringToSign>AWS4-HMAC {SECRET_KEY}</StringToSign></Error>"
        ).encode()
        date = formatdate(time.time() + clock_s, usegmt=True)
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        request.reply(status, body, {"Content-Type": "application/xml", "Date": date} | extra)

    return play


def page(status: int = 200, **headers: str) -> Callable[[Any], None]:
    """Answer with a web page, as a server does that is not S3."""

    def play(request: Any) -> None:
        request.body()
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        request.reply(status, b"<!doctype html><p>Welcome</p>", {"Content-Type": "text/html"} | extra)

    return play


def accept(request: Any) -> None:
    """Answer as S3 does when it has stored a file."""
    request.body()
    request.reply(200, b"", {"ETag": '"00"'})


def stall(request: Any) -> None:
    """Take the request and never answer."""
    request.gate.closing.wait(60)
    request.close_connection = True


def drip(request: Any) -> None:
    """Answer one byte at a time, each within any timeout of a socket, endlessly."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nETag: ")
    while not request.gate.closing.wait(0.05):
        request.wfile.write(b"x")
    request.close_connection = True


def die(after_bytes: int) -> Callable[[Any], None]:
    """Break off in the middle of an upload, after so many bytes of it."""

    def play(request: Any) -> None:
        request.send_response_only(100)
        request.end_headers()
        request.rfile.read(after_bytes)
        request.close_connection = True

    return play


def die_halfway(request: Any) -> None:
    """Break off in the middle of a download."""
    request.wfile.write(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 1000\r\n\r\n' + bytes(500))
    request.close_connection = True


def refuse_checksums(request: Any) -> None:
    """Refuse the checksums that newer SDKs add by default, as many servers do; forward everything else."""
    names = {name.lower() for name in request.headers}
    request.gate.faults.insert(0, refuse_checksums)
    if any(name.startswith("x-amz-checksum") or name == "x-amz-sdk-checksum-algorithm" for name in names):
        refuse(400, "InvalidArgument")(request)
    else:
        request.forward()
