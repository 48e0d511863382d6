"""Connections: what a client may hold of the server without asking for anything, or without reading."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from f5_worker.http import server as http_server
from f5_worker.http.server import MAX_HEAD_BYTES
from tests.http.conftest import RunningServer
from tests.http.routes.test_native import SPEECH

PIECE_BYTES = 1 << 16
MUCH_BYTES = 2_560_000  # 20 s of pcm_s16le at 48 kHz in base64


@pytest.fixture
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has servers look at their connections every so many seconds."""
    monkeypatch.setattr(http_server, "WATCH_S", getattr(request, "param", 0.1))


@pytest.fixture
def connection(server: RunningServer) -> Iterator[socket.socket]:
    """A connection to `server`, whose two ends keep little of what is not read."""
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES)
        connection.settimeout(20)
        host, port = server.address.split(":")
        connection.connect((host, int(port)))
        yield connection


def read_to_end(connection: socket.socket) -> int:
    """Read what the server sends until it ends the connection; return how many bytes."""
    n_bytes = 0
    try:
        while piece := connection.recv(PIECE_BYTES):
            n_bytes += len(piece)
    except ConnectionResetError:
        pass
    return n_bytes


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /ping HTTP/1.1\r\nHost: a\r\nX-Part"])
def test_a_connection_without_a_request_ends(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    assert read_to_end(connection) == 0


@pytest.mark.usefixtures("watched")
def test_so_does_one_that_begins_a_second_request_and_does_not_end_it(connection: socket.socket) -> None:
    connection.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.recv(PIECE_BYTES).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /ping HTTP/1.1\r\n")
    assert read_to_end(connection) == 0


def ask_for_much(connection: socket.socket) -> None:
    """Ask for 20 s of audio, and see that the response has begun."""
    speech = SPEECH | {"text": " ".join([str(SPEECH["text"])] * 8), "sample_rate": 48_000, "fix_duration_s": 20.0}
    body = json.dumps(speech).encode()
    head = b"POST /v1/synthesize HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(body) + body)
    assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.slow
@pytest.mark.usefixtures("watched")
def test_so_does_one_whose_response_is_not_read(
    server: RunningServer, connection: socket.socket, until: Callable[[Callable[[], bool]], None]
) -> None:
    ask_for_much(connection)
    until(lambda: not server.connections)
    assert read_to_end(connection) < MUCH_BYTES / 2


@pytest.mark.slow
@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("watched", [1.0], indirect=True)
def test_one_that_reads_slowly_gets_everything(connection: socket.socket) -> None:
    ask_for_much(connection)
    n_bytes, began = 0, time.monotonic()
    while piece := connection.recv(PIECE_BYTES):
        n_bytes += len(piece)
        time.sleep(0.1)
    assert n_bytes > MUCH_BYTES
    assert time.monotonic() - began > 3.0


@pytest.mark.parametrize("head", [b"GET /", b"GET / HTTP/1.1\r\nX-Long: ", b"GET /ping HTTP/1.1\r\n\r\nGET /"])
def test_a_long_head_is_not_kept(connection: socket.socket, head: bytes) -> None:
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        connection.sendall(head + b"a" * 200 * MAX_HEAD_BYTES)


def test_a_long_body_is_no_head(client: httpx2.Client) -> None:
    speech = {**SPEECH, "text": "a" * 20 * MAX_HEAD_BYTES}
    for _ in range(2):
        assert client.post("/v1/synthesize", json=speech).status_code == 400
