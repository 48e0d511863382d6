"""A process with the HTTP server of bench/http_server.py, and a client of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = aiohttp.ClientTimeout(total=40)


class Server:
    """A server in a process of its own."""

    def __init__(self, **settings: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.finished_at: list[float] = []
        self.alone_ms: list[float] = []
        command = [sys.executable, "-u", str(ROOT / "bench" / "http_server.py"), str(self.port), json.dumps(settings)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._is_ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._is_ready.wait(120), "the server did not start"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, *values = line.split()
            if word == "ALONE":
                self.alone_ms.append(float(values[0]))
            elif word == "READY":
                self._is_ready.set()
            elif word == "FINISHED":
                self.finished_at.append(float(values[0]))

    async def time_pipeline(self, n_times: int) -> None:
        """Have the pipeline run by itself, until it did so `n_times` in all."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        await wait_until(lambda: len(self.alone_ms) >= n_times)

    @property
    def cpu_ms(self) -> float:
        """Return the processor time that its threads have taken."""
        threads = Path("/proc", str(self._process.pid), "task").glob("*/schedstat")
        return sum(int(path.read_text().split()[0]) for path in threads) / 1e6

    @property
    def rss_mib(self) -> float:
        """Return the memory that it holds."""
        pages = int(Path("/proc", str(self._process.pid), "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    """Yield a server and a client of it, once it answers."""
    server = await asyncio.to_thread(Server, **settings)
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(server.url, connector=connector, timeout=TIMEOUT) as session:
            for _ in range(100):
                with contextlib.suppress(aiohttp.ClientError):
                    if (await session.get("/ping")).status == 200:
                        break
                await asyncio.sleep(0.1)
            yield server, session
    finally:
        server.close()
