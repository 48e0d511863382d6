"""The real application on a real socket, with tones for a model."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from f5_worker.http.app import create_app
from f5_worker.http.server import CONNECTIONS
from f5_worker.http.service import Service
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.voices.library import Library
from f5_worker.voices.store_directory import DirectoryStore

START_S = 20.0


class RunningServer:
    """A server in a thread of its own."""

    def __init__(self, service: Service) -> None:
        self.service = service
        config = uvicorn.Config(
            create_app(service), "127.0.0.1", 0, log_config=None, access_log=False, lifespan="off", **CONNECTIONS
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve()), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    @property
    def sockets(self) -> Sequence[Any]:
        """Those that take connections."""
        return self._server.servers[0].sockets

    @property
    def connections(self) -> Collection[Any]:
        """Those that are open."""
        return self._server.server_state.connections

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        host, port = self.sockets[0].getsockname()
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def close(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(START_S)


@contextmanager
def running(worker: Worker | None, **settings: Any) -> Iterator[RunningServer]:
    """A server of `worker`, with other settings; None for one that is still loading."""
    base = worker.settings if worker else Settings()
    changed = Settings.model_validate(base.model_dump() | settings)
    service = Service(changed)
    if worker is not None:
        service.start(dataclasses.replace(worker, settings=changed))
    server = RunningServer(service)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server(worker: Worker) -> Iterator[RunningServer]:
    """A server that is ready."""
    with running(worker) as server:
        yield server


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx2.Client]:
    """A client of `server`."""
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture
def storing(worker: Worker, tmp_path: Path, tiny: Path) -> Iterator[RunningServer]:
    """A server that stores voices."""
    library = Library(tiny / "voices", worker.settings, stores=[DirectoryStore(tmp_path)])
    with running(dataclasses.replace(worker, voices=library)) as server:
        yield server


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
