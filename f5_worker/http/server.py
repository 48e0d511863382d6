"""The process of the HTTP server: it opens the port, loads the model beside it, and serves until told to stop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from typing import Any

import uvicorn

from f5_worker import log
from f5_worker.boot import starts
from f5_worker.boot.report import read_report
from f5_worker.errors import InternalError, SettingsInvalid, WorkerError
from f5_worker.http.app import create_app
from f5_worker.http.service import Service
from f5_worker.server.startup import load_worker
from f5_worker.settings import Settings, load_settings, unknown_variables

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHUTDOWN_S = 5
# A message of 20,000 characters is at most 240,000 bytes of JSON. Compression would keep a window for each connection.
WEBSOCKETS: Mapping[str, Any] = {"ws_max_size": 500_000, "ws_per_message_deflate": False}
MAX_CONNECTIONS = 1_000  # more are answered with 503


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
        **WEBSOCKETS,
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
