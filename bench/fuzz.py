"""Fuzzing of everything that reads what a caller sent: `make fuzz`, or `python bench/fuzz.py --cases 2000`.

Each case is a valid input with some mutations, made from its number, so `--target decode --case 1234` repeats one. A
case may be accepted or refused with a WorkerError, in bounded time; anything else is a failure. Writes
bench/results/fuzz.json; the exit code is the number of failures.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.fuzz_text import PIECES, a_text, text  # noqa: E402
from bench.record import record  # noqa: E402 - the repository is not an installed package
from bench.recorded_requests import REQUESTS  # noqa: E402
from f5_worker.api.contracts import contract_of  # noqa: E402
from f5_worker.audio.isolated import DecoderPool  # noqa: E402
from f5_worker.errors import FetchError, WorkerError  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402
from f5_worker.storage.addresses import is_public  # noqa: E402
from f5_worker.storage.fetch import FetchLimits, check_url, fetch, resolve  # noqa: E402
from f5_worker.transcripts.parse import parse_transcript  # noqa: E402
from tests.attacks.files import flac_with_comments, m4a_of_many_samples, mp3_with_id3, wav_with_id3  # noqa: E402
from tests.attacks.test_urls import NOT_PUBLIC_V4, NOT_PUBLIC_V6, PUBLIC, SPELLINGS, URLS  # noqa: E402
from tests.audio.signals import file, muxed, speech  # noqa: E402

MAX_DECODE_S = 6.0  # a decoder has 1 s of processor time until its first frame, and the machine may be busy
MAX_READ_S = 1.0
MAX_FETCH_S = 3.0
LENGTHS = (0, 1, 2, 3, 7, 8, 16, 64, 255, 256, 1_000)
NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

SUBTITLES = (
    "1\n00:00:00,500 --> 00:00:03,000\n[Ann]: The first line.\n\n2\n00:00:03,200 --> 00:00:05,000\n<i>And</i> more.\n",
    "WEBVTT - title\n\nNOTE x\n\nid\n00:01.000 --> 00:02.500 align:start\n<v Ann>Hi &amp; <c.x>bye</c>\n",
    'start,end,text\n0.5,1.5,"Hello, you"\n00:01.5,00:02.5,again\n',
    "start\tend\tspeaker\ttext\n0\t1\tAnn\tHello\n",
    "0;1500;Hello there\n1500;2500;again\n",
    '{"segments": [{"start": 0.5, "end": 1.5, "text": "Hello"}, {"start": 1.5, "end": 2, "text": "again"}]}',
    "0:00:00.500,0:00:01.500\nHello\n\n0:00:01.500,0:00:02.500\nagain\n",
    "[00:00:00.500 --> 00:00:01.500]   Hello\n[00:00:01.500 --> 00:00:02.500]   again\n",
    "0:00 Hello\n0:02 again\n",
    "Just words, 10:30 --> and so on.\nA second line.",
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "\ud800", "x" * 300, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**400, [], {}),
    *([[]], {"": {}}, [0] * 1_200, {"audio": "x"}, "https://127.0.0.1/", "data:audio/wav;base64,####"),
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
    b"HTTP/1.0 404 Not Found\r\n\r\n",
)


@dataclass(frozen=True)
class Target:
    """What is fuzzed: `make` an input from random numbers, `run` it, in at most `max_s`."""

    make: Callable[[random.Random], Any]
    run: Callable[[Any], object]
    max_s: float


# -- mutations --------------------------------------------------------------------------------------------------------


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to eight changes: of a bit, a number, or a part that is cut, repeated or moved."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at, n = rng.randrange(len(out) + 1), rng.choice(LENGTHS)
        kind = rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            width = rng.choice((1, 2, 4, 8))
            out[at : at + width] = rng.choice(NUMBERS).to_bytes(8, "little")[:width][:: rng.choice((1, -1))]
        elif kind == 2:
            del out[at : at + n]
        elif kind == 3:
            out[at:at] = out[at : at + n] * rng.randint(1, 5)
        elif kind == 4:
            out[at:at] = rng.randbytes(n)
        else:
            source = rng.randrange(len(out) + 1)
            out[at : at + n] = out[source : source + n]
    return bytes(out)


def mutated_value(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one of its parts replaced, dropped, doubled or renamed."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(sorted(value))
        rest = {key: inner for key, inner in value.items() if key != name}
        choice = rng.random()
        if choice < 0.15:
            return rest
        if choice < 0.3:
            return rest | {rng.choice((name[:-1], name + "s", "", "x" * 250, name.upper())): value[name]}
        return rest | {name: mutated_value(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        return value * rng.randint(2, 300)
    if isinstance(value, str) and rng.random() < 0.5:
        at = rng.randrange(len(value) + 1)
        return value[:at] + rng.choice(PIECES) * rng.choice((1, 2, 900)) + value[at:]
    return rng.choice(ODD_VALUES)


# -- targets ----------------------------------------------------------------------------------------------------------


@lru_cache
def recordings() -> Sequence[bytes]:
    """Return small files of every format that is read, and, more rarely, those that cost a decoder its life."""
    samples = speech([0.4], [])
    plain = [file(samples, format=kind) for kind in ("WAV", "FLAC", "OGG", "AIFF", "MP3")]
    wide = speech([0.8], [])
    packed = [
        muxed(wide, *pair) for pair in (("mp4", "aac"), ("matroska", "libopus"), ("adts", "aac"), ("ogg", "flac"))
    ]
    harmful = [flac_with_comments(200), m4a_of_many_samples(85_000_000), mp3_with_id3(200), wav_with_id3(200)]
    return [*plain, *packed] * 5 + harmful


DECODERS = DecoderPool(max_processes=1)


def decode(data: bytes) -> None:
    """Decode a recording in a child, which must not die of anything but its limits."""
    DECODERS.decode(data, max_bytes=1_000_000, max_s=60)


def captions(data: bytes) -> None:
    """Read a transcript; cues are in order and say something."""
    transcript = parse_transcript(data)
    starts = [cue.start_s for cue in transcript.cues]
    assert starts == sorted(starts)
    assert all(0 <= cue.start_s <= cue.end_s for cue in transcript.cues)


def schema(value: Any) -> None:
    """Read a request in whichever contract it is, and write its refusal."""
    contract = contract_of(value, "job")
    try:
        contract.read()
    except WorkerError as error:
        written = json.dumps(contract.error(error)).encode()
        assert len(written) < 100_000, f"a refusal of {len(written)} bytes"
        raise


def a_url(rng: random.Random) -> str:
    """Return a URL that looks harmless, or not."""
    addresses = [f"[{one}]" if ":" in one else one for one in (*NOT_PUBLIC_V4, *NOT_PUBLIC_V6, *PUBLIC)]
    host = rng.choice([*SPELLINGS, *addresses])
    url = rng.choice([f"https://{host}/a", f"https://{host}:443/", f"http://8.8.8.8@{host}/", *URLS])
    return mutated(url.encode(errors="replace"), rng).decode(errors="replace") if rng.random() < 0.6 else url


def address(url: str) -> None:
    """Check a URL and look its host up; whatever comes out is public."""
    target = check_url(url, Settings(fetch_http=True))
    limits = FetchLimits(1, MAX_READ_S, time.monotonic() + MAX_READ_S)
    assert all(map(is_public, resolve(target, limits, allow_private=False)))


@contextmanager
def only_numbers() -> Iterator[None]:
    """Let the resolver know no names: nothing is asked of the network."""
    lookup = socket.getaddrinfo

    def numeric(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        return lookup(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    with mock.patch.object(socket, "getaddrinfo", numeric):
        yield


class BadServer:
    """A server on loopback that sends `answer` to every connection, and closes it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.answer = b""
        Thread(target=self._serve, daemon=True).start()

    def fetch(self, answer: bytes) -> None:
        """Fetch from it; a refusal is a FetchError, and a body is not longer than what was sent."""
        self.answer = answer
        settings = Settings(fetch_http=True, fetch_private=True, fetch_timeout_s=1)
        body = fetch(f"http://127.0.0.1:{self._listener.getsockname()[1]}/a", settings, max_bytes=2_000)
        assert len(body) <= min(2_000, len(answer))

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                try:
                    connection.recv(10_000)
                    connection.sendall(self.answer)
                except OSError:
                    continue


def targets() -> Mapping[str, Target]:
    """Return everything that is fuzzed, by name."""
    return {
        "decode": Target(lambda rng: mutated(rng.choice(recordings()), rng), decode, MAX_DECODE_S),
        "captions": Target(lambda rng: mutated(rng.choice(SUBTITLES).encode(), rng), captions, MAX_READ_S),
        "schema": Target(lambda rng: mutated_value(rng.choice(REQUESTS), rng), schema, MAX_READ_S),
        "text": Target(a_text, text, MAX_READ_S),
        "address": Target(a_url, address, MAX_READ_S),
        "fetch": Target(lambda rng: mutated(rng.choice(ANSWERS), rng), BadServer().fetch, MAX_FETCH_S),
    }


def run_case(name: str, target: Target, number: int) -> tuple[str, float, str | None]:
    """Run one case; return its outcome (accepted, or the refusal's code), its seconds, and what went wrong."""
    case = target.make(random.Random(f"{name} {number}"))
    started = time.monotonic()
    try:
        target.run(case)
        outcome, failure = "accepted", None
    except WorkerError as error:
        outcome, failure = error.code, None
        if name in ("address", "fetch") and not isinstance(error, FetchError):
            failure = f"refused with {error.code}"
    except Exception as error:  # noqa: BLE001 - what fuzzing looks for
        outcome, failure = "failed", f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.monotonic() - started
    if failure is None and seconds > target.max_s:
        failure = f"took {seconds:.1f} s"
    return outcome, seconds, failure and f"{name} --case {number}: {failure}"


def run_target(name: str, target: Target, cases: range, deadline: float) -> dict[str, Any]:
    """Run cases until they end, or the time does; return what was measured."""
    outcomes: dict[str, int] = {}
    failures, slowest_s, n_run = list[str](), 0.0, 0
    for number in cases:
        if time.monotonic() > deadline:
            break
        outcome, seconds, failure = run_case(name, target, number)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        slowest_s, n_run = max(slowest_s, seconds), n_run + 1
        failures += [failure] if failure else []
    return {"cases": n_run, "slowest_s": round(slowest_s, 3), "outcomes": outcomes, "failures": failures[:20]}


def main() -> int:
    """Fuzz every target, or repeat one case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5_000, help="of each target")
    parser.add_argument("--seconds", type=float, default=90.0, help="longest time for each target")
    parser.add_argument("--target", help="only this one; nothing is written")
    parser.add_argument("--case", type=int, help="only this one of a target")
    arguments = parser.parse_args()
    results = {}
    with ExitStack() as stack:
        stack.callback(DECODERS.close)
        stack.enter_context(only_numbers())
        for name, target in targets().items():
            if arguments.target in (None, name):
                chosen = range(arguments.cases) if arguments.case is None else range(arguments.case, arguments.case + 1)
                results[name] = run_target(name, target, chosen, time.monotonic() + arguments.seconds)
    if arguments.target:
        print(json.dumps(results, indent=2))
    else:
        record("fuzz", results)
    return sum(len(result["failures"]) for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
