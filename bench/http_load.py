"""The HTTP server under load, over loopback with tones for a model: `make bench-http`.

    python bench/http_load.py --minutes 10 --clients 64 --legs added_time full_queue slow_readers idle_sockets load

The time that HTTP adds to the pipeline, a full queue, slow readers, idle WebSockets; then clients of every kind, a
tenth of which leave in the middle and a twentieth of which send what is wrong. Writes bench/results/http.json; the exit
code is the number of bars that were missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.http_process import Server, serving, wait_until  # noqa: E402
from bench.http_requests import Sent, bad, digest, good  # noqa: E402 - the repository is not an installed package
from bench.http_server import THREE_SECONDS  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402

LEGS = ("added_time", "full_queue", "slow_readers", "idle_sockets", "load")
CANCELS, BAD = 0.10, 0.05
WARM_UP = 0.2  # of the requests, before memory is measured
MAX_SLOPE_MIB = 0.05  # a request
MAX_FIRST_BYTE_MS, MAX_OVERHEAD_MS = 10.0, 3.0
N_SLOW, SLOW_S = 16, 20.0
SLOW_CHARS = 8_000  # ten minutes of speech, 28 MB of pcm
MAX_SLOW_MIB = 40.0  # a reader: 13 MB of samples ahead, 5 MB of pcm, and what the allocator keeps
N_TIMED = N_IDLE = 200
MAX_IDLE_MIB = 0.5  # a socket


async def jobs_left(session: aiohttp.ClientSession) -> int:
    """Return how many jobs are still there after some seconds in which none should be."""
    for _ in range(50):
        lines = (await (await session.get("/metrics")).text()).splitlines()
        n_jobs = sum(int(float(line.split()[1])) for line in lines if line.startswith("f5_jobs_"))
        if not n_jobs:
            return 0
        await asyncio.sleep(0.2)
    return n_jobs


@dataclass
class Load:
    """Clients that send one request after another. `wrong` says what was wrong with an answer."""

    server: Server
    session: aiohttp.ClientSession
    seen: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def client(self, until: float) -> None:
        """Send requests until it is time."""
        while time.monotonic() < until:
            number = next(self._numbers)
            chance = random.Random(number)
            share = chance.random()
            sent = bad(chance) if CANCELS <= share < CANCELS + BAD else good(chance)
            try:
                if share < CANCELS:
                    await self._leave(sent, chance.uniform(0, 0.2))
                else:
                    await self._ask(sent)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.lost.append(f"{sent.name}, {sent.codes}: {type(error).__name__}")
            if number % 20 == 0:
                self.memory.append((number, self.server.rss_mib))

    async def _ask(self, sent: Sent) -> None:
        began, first_ms, body = time.monotonic(), 0.0, b""
        async with self.session.request(sent.method, sent.path, headers=sent.headers, **sent.body()) as response:
            async for piece in response.content.iter_any():
                first_ms = first_ms or (time.monotonic() - began) * 1e3
                body += piece
        self.outcomes[sent.name] += 1
        if sent.codes:
            code = json.loads(body)["error"]["code"] if response.status >= 400 else "none"
            if code not in sent.codes:
                self.wrong.append(f"{sent.codes}: {response.status} {code}")
            return
        if response.status != 200:
            self.wrong.append(f"{sent.name}: {response.status} {body[:200]!r}")
            return
        if sent.name == "openai":
            self.first_ms.append(first_ms)
        if sent.name != "list":
            self.total_ms.append((time.monotonic() - began) * 1e3)
        told = digest(sent, body)
        if self.seen.setdefault(sent.key, told) != told:
            self.wrong.append(f"{sent.name}: another answer to an equal request")

    async def _leave(self, sent: Sent, after_s: float) -> None:
        """Disconnect before the answer, or in the middle of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                async with self.session.request(
                    sent.method, sent.path, headers=sent.headers, **sent.body()
                ) as response:
                    await response.content.readany()
                    response.close()
        self.outcomes["left"] += 1


async def steady(n_clients: int, minutes: float) -> dict[str, Any]:
    """Run clients of all kinds for some minutes."""
    async with serving(concurrency=8, queue_jobs=256) as (server, session):
        load = Load(server, session)
        began = time.monotonic()
        await asyncio.gather(*(load.client(began + minutes * 60) for _ in range(n_clients)))
        seconds = time.monotonic() - began
        numbers, mib = np.array(load.memory[int(len(load.memory) * WARM_UP) :]).T
        n_requests = sum(load.outcomes.values()) + len(load.lost)
        return {
            "clients": n_clients,
            "seconds": round(seconds, 1),
            "requests": n_requests,
            "requests_per_s": round(n_requests / seconds, 1),
            "outcomes": dict(sorted(load.outcomes.items())),
            "lost": len(load.lost),
            "lost_as": dict(Counter(load.lost)),
            "wrong": len(load.wrong),
            "wrong_as": dict(Counter(load.wrong).most_common(10)),
            "left_behind": await jobs_left(session),
            "slope_mib": round(float(np.polyfit(numbers, mib, 1)[0]), 5),
            "rss_mib": [round(mib[0]), round(mib[-1])],
            "first_audio_ms": percentiles(load.first_ms),
            "total_ms": percentiles(load.total_ms),
        }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the slow end."""
    return {f"p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 95, 99)}


async def slow_readers() -> dict[str, Any]:
    """Have long streams that are not read; return the memory of each, and what others get meanwhile."""
    async with serving(concurrency=4, queue_jobs=64) as (server, session):
        text = (THREE_SECONDS["text"] + " ") * (SLOW_CHARS // len(THREE_SECONDS["text"]))
        speech = {"input": text, "voice": "joe", "response_format": "pcm"}
        await (await session.post("/v1/audio/speech", json=speech | {"input": text[:1_000]})).read()
        before = server.rss_mib
        readers = []
        for number in range(N_SLOW):
            readers.append(await session.post("/v1/audio/speech", json=speech | {"seed": number}))
            await readers[-1].content.read(1)
        most, times_ms, until = server.rss_mib, [], time.monotonic() + SLOW_S
        while time.monotonic() < until:
            began = time.monotonic()
            response = await session.post("/v1/synthesize", json=THREE_SECONDS | {"nfe_step": 7})
            assert response.status == 200, await response.text()
            await response.read()
            times_ms.append((time.monotonic() - began) * 1e3)
            most = max(most, server.rss_mib)
        for reader in readers:
            reader.close()
        return {
            "readers": N_SLOW,
            "mib_each": round((most - before) / N_SLOW, 2),
            "others": len(times_ms),
            "others_ms": percentiles(times_ms),
            "left_behind": await jobs_left(session),
        }


async def idle_sockets() -> dict[str, Any]:
    """Have open WebSockets that send nothing; return the memory of each, and what others and one of them get."""
    async with serving() as (server, session):
        await (await session.post("/v1/synthesize", json=THREE_SECONDS)).read()
        before, path = server.rss_mib, "/v1/text-to-speech/joe/stream-input?output_format=pcm_24000"
        sockets = [await session.ws_connect(path) for _ in range(N_IDLE)]
        times_ms = []
        for _ in range(N_IDLE):
            began = time.monotonic()
            await (await session.post("/v1/synthesize", json=THREE_SECONDS)).read()
            times_ms.append((time.monotonic() - began) * 1e3)
        mib_each = (server.rss_mib - before) / N_IDLE
        for text in (" ", THREE_SECONDS["text"] + " ", ""):
            await sockets[-1].send_json({"text": text})
        n_chars = 0  # of audio in base64
        async for message in sockets[-1]:
            n_chars += len(message.json().get("audio") or "")
        for socket in sockets:
            await socket.close()
        return {
            "sockets": N_IDLE, "mib_each": round(mib_each, 3), "others_ms": percentiles(times_ms),
            "spoken_s": round(n_chars * 0.75 / 48_000, 2), "left_behind": await jobs_left(session),
        }  # fmt: skip


async def full_queue(n_clients: int) -> dict[str, Any]:
    """Send more than may wait; clients try again when they are told to."""
    refusals: Counter[str] = Counter()
    async with serving(concurrency=2, queue_jobs=8, step_s=0.002) as (_, session):

        async def client() -> int:
            for _ in range(100):
                async with session.post("/v1/synthesize", json=THREE_SECONDS) as response:
                    if response.status != 429:
                        return response.status
                    refusals["with Retry-After" if response.headers.get("Retry-After") else "without"] += 1
                await asyncio.sleep(random.uniform(0.1, 0.5))
            return 429

        statuses = Counter(await asyncio.gather(*(client() for _ in range(n_clients))))
        return {
            "clients": n_clients, "statuses": {str(status): n for status, n in statuses.items()},
            "refusals": dict(refusals), "left_behind": await jobs_left(session),
        }  # fmt: skip


async def added_time() -> dict[str, Any]:
    """Measure what HTTP adds to three seconds of pcm, and how soon the first byte comes after its segment.

    The clock tells little where other programs share the processors; the server's processor time tells more.
    """
    async with serving(tells=True) as (server, session):
        speech = {"input": THREE_SECONDS["text"], "voice": "joe", "response_format": "pcm"}
        total_ms, first_ms, cpu_ms, alone_cpu_ms = [], [], [], []
        for seed in range(N_TIMED):
            began, cpu_before = time.monotonic(), server.cpu_ms
            async with session.post("/v1/audio/speech", json=speech | {"seed": seed}) as response:
                await response.content.read(1)
                first = time.monotonic()
                await response.read()
                total_ms.append((time.monotonic() - began) * 1e3)
            await wait_until(lambda: len(server.finished_at) > 2 * seed)  # noqa: B023 - it is called here
            first_ms.append((first - server.finished_at[2 * seed]) * 1e3)
            cpu_between = server.cpu_ms
            await server.time_pipeline(seed + 1)
            cpu_ms.append(cpu_between - cpu_before)
            alone_cpu_ms.append(server.cpu_ms - cpu_between)
        alone_ms = statistics.median(server.alone_ms)
        return {
            "pipeline_ms": round(alone_ms, 2),
            "http_ms": round(statistics.median(total_ms), 2),
            "overhead_ms": round(statistics.median(total_ms) - alone_ms, 2),
            "overhead_cpu_ms": round(statistics.median(cpu_ms) - statistics.median(alone_cpu_ms), 2),
            "first_byte_ms": percentiles(first_ms),
        }


def missed(result: Mapping[str, Any]) -> list[str]:
    """Return the bars that a run missed."""
    timed, full, slow, idle, load = (result[leg] for leg in LEGS)
    bars = {
        "requests were lost": load["lost"] == 0,
        "answers were wrong": load["wrong"] == 0,
        "jobs were left behind": not any(leg["left_behind"] for leg in (load, idle, slow, full)),
        "memory grew": load["slope_mib"] <= MAX_SLOPE_MIB,
        "slow readers took memory": slow["mib_each"] <= MAX_SLOW_MIB,
        "idle sockets took memory": idle["mib_each"] <= MAX_IDLE_MIB,
        "an idle socket did not speak": idle["spoken_s"] > 1,
        "a full queue lost clients": full["statuses"] == {"200": full["clients"]},
        "a refusal did not say when to try again": "without" not in full["refusals"],
        "HTTP took long": timed["overhead_cpu_ms"] <= MAX_OVERHEAD_MS,
        "the first byte came late": timed["first_byte_ms"]["p50"] <= MAX_FIRST_BYTE_MS,
    }
    return [bar for bar, is_kept in bars.items() if not is_kept]


def main() -> int:
    """Run all legs, or those that are named, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--legs", nargs="*", default=LEGS)
    arguments = parser.parse_args()
    legs: dict[str, Callable[[], Coroutine[Any, Any, dict[str, Any]]]] = {
        "added_time": added_time,
        "full_queue": lambda: full_queue(arguments.clients),
        "slow_readers": slow_readers,
        "idle_sockets": idle_sockets,
        "load": lambda: steady(arguments.clients, arguments.minutes),
    }
    result = json.loads((RESULTS / "http.json").read_text()) if len(arguments.legs) < len(legs) else {}
    for leg in arguments.legs:
        result[leg] = asyncio.run(legs[leg]())
    record("http", result)
    problems = missed(result)
    print("\n".join(problems), file=sys.stderr)
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
