"""The process of the HTTP server: it opens the port, loads the model beside it, and serves until told to stop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from f5_worker import log
from f5_worker.boot import starts
from f5_worker.boot.report import read_report
from f5_worker.errors import InternalError, SettingsInvalid, WorkerError
from f5_worker.http.app import create_app
from f5_worker.http.service import Service
from f5_worker.server.jobs import MAX_UNREAD_S
from f5_worker.server.startup import load_worker
from f5_worker.settings import Settings, load_settings, unknown_variables

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHUTDOWN_S = 5
MAX_CONNECTIONS = 1_000  # more are answered with 503
MAX_HEAD_BYTES = 65_536  # of a request: its line and headers
WATCH_S = MAX_UNREAD_S  # between two looks at a connection


class BoundedProtocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with the bounds on a connection that it lacks.

    A connection ends at a head of more than MAX_HEAD_BYTES; and when for WATCH_S to twice as long no request comes on
    it, or nothing is read of what waits to be sent.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and watch it."""
        super().connection_made(transport)
        self._n_head_bytes = self._n_heads = 0
        self._is_body = self._is_head_read = False
        self._n_heads_before = self._n_unread_before = 0  # at the last look
        self._watching = self.loop.call_later(WATCH_S, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        self._watching.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to the protocol of WebSockets, which has bounds of its own."""
        self._watching.cancel()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Read what came, unless the head has become too long."""
        self._is_head_read = False
        super().data_received(data)
        self._n_head_bytes = 0 if self._is_body or self._is_head_read else self._n_head_bytes + len(data)
        if self._n_head_bytes > MAX_HEAD_BYTES:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Record that a body begins."""
        self._is_body = self._is_head_read = True
        self._n_heads += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Record that a body ends."""
        self._is_body, self._is_head_read = False, True
        super().on_message_complete()

    def resume_writing(self) -> None:
        """Record that the client reads."""
        self._n_unread_before = 0
        super().resume_writing()

    def _watch(self) -> None:
        """End the connection if the client neither read nor asked for anything since the last look."""
        n_unread = self.transport.get_write_buffer_size()
        is_answered = self.cycle is None or self.cycle.response_complete
        is_stuck = n_unread >= self._n_unread_before > 0 if n_unread else is_answered
        if is_stuck and self._n_heads == self._n_heads_before:
            self.transport.abort()
            return
        # While more may be written, the number says nothing about what is read.
        self._n_unread_before = n_unread if is_answered or self.flow.write_paused else 0
        self._n_heads_before = self._n_heads
        self._watching = self.loop.call_later(WATCH_S, self._watch)


# A message of 20,000 characters is at most 240,000 bytes of JSON. Compression would keep a window for each connection.
CONNECTIONS: Mapping[str, Any] = {
    "http": BoundedProtocol,
    "ws_max_size": 500_000,
    "ws_per_message_deflate": False,
}


def main() -> None:
    """Open the port, load the model, serve until told to stop."""
    boot = read_report() or {}
    starts.end_at_sigterm(lambda: boot)  # until uvicorn takes the signal
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        if not boot:
            sys.exit(str(error))
        settings = Settings()
    log.configure(settings.log_level)
    for warning in unknown_variables():
        log.logger.warning(warning)
    service = Service(settings)
    threading.Thread(target=_load, args=(service, boot), daemon=True).start()
    host, port = settings.http_host, settings.http_port
    if host not in LOOPBACK and settings.api_key is None:
        log.logger.warning("no F5_API_KEY is set: anyone who reaches port %s of this machine can send jobs", port)
    asyncio.run(serve(service, host, port))
    starts.note(boot, "stopped", wait_s=1.0)


async def serve(service: Service, host: str, port: int) -> None:
    """Serve on a port, and `/ping` on PORT_HEALTH where RunPod names another one, until SIGTERM or SIGINT."""
    app = create_app(service)
    ports = dict.fromkeys((port, service.settings.http_health_port or port))
    servers = [_server(app, host, each) for each in ports]
    log.logger.info("serving on port %d", port)
    await asyncio.gather(*(server.serve() for server in servers))


def _server(app: object, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host,
        port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_S,
        limit_concurrency=MAX_CONNECTIONS,
        server_header=False,
        **CONNECTIONS,
    )
    return uvicorn.Server(config)


def _load(service: Service, boot: Mapping[str, Any]) -> None:
    if boot_error := boot.get("error") or boot.get("host_fault"):
        service.fail(boot_error)
        return
    try:
        with starts.loading(boot):
            service.start(load_worker(service.settings))
    except WorkerError as error:
        log.logger.error("%s", error)
        service.fail(str(error))
    except Exception:  # noqa: BLE001 - it would end this thread alone, and callers would wait for the model for ever
        log.logger.exception("the worker could not be loaded")
        failure = str(InternalError("the worker could not be loaded; its log names the place"))
        starts.note(boot, "failed", failure)
        service.fail(failure)
