"""Decode callers' recordings in processes of their own, which may fail, hang or be killed without harm to any job.

FFmpeg's demuxers trust what a file says of itself: 4 KB may take 6 GiB of memory, a tag of 4 MB the processor for
minutes, and no Python signal or timeout ends that inside the worker. A process starts once and serves many files.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np

from f5_worker import cancellation
from f5_worker.audio.decode import MAX_DECODED_BYTES, Audio, Part, SpansS, check_size, join_parts, split_spans
from f5_worker.audio.decode_child import BLOCK, END, REQUEST, RESET, SPAN
from f5_worker.audio.formats import input_labels
from f5_worker.audio.sandbox import start_child
from f5_worker.audio.sniff import locate
from f5_worker.errors import InternalError, ReferenceTooLarge, ReferenceUnreadable
from f5_worker.log import logger
from f5_worker.process import describe_exit

MAX_PROCESSES = 4
OPEN_CPU_S = 1.0  # until the first frame: 10 ms for a file of 25 MB; a tag of 0.9 MB takes FFmpeg 21 s
CPU_PER_S = 4.0 / 600.0  # from then on, for each second of `max_s`: ten minutes take at most 2 s, as Opus
WALL_S, WALL_FOR_S = 30.0, 600.0  # for a machine that is busy with other work; longer recordings in proportion
START_S = 60.0
MEMORY_BYTES = 96 * 2**20  # besides the file: frames are passed on as they are decoded
MAX_BLOCK_BYTES = 1 << 20  # a block is at most two of BLOCK_SAMPLES

_ERRORS = {kind.code: kind for kind in (ReferenceUnreadable, ReferenceTooLarge)}


class DecoderPool:
    """Up to `max_processes` decoders, started when they are needed and kept; may be used by several threads."""

    def __init__(self, max_processes: int = MAX_PROCESSES, wall_s: float = WALL_S) -> None:
        self._wall_s = wall_s
        self._places = threading.BoundedSemaphore(max_processes)
        self._idle: list[_Decoder] = []
        self._lock = threading.Lock()

    def decode(self, data: bytes, *, max_bytes: int, max_s: float) -> Audio:
        """Decode a file held in memory; the process is killed when the job has to stop.

        Of several audio streams the first that can be decoded is taken.
        A truncated file, or one with a corrupt frame, gives the parts that can be decoded.

        Args:
            max_bytes: of the file as sent.
            max_s: of the recording; decoding stops as soon as it is exceeded.

        Raises:
            ReferenceUnreadable: not audio of a known format, no audio in it, or it took too much time or memory.
            ReferenceTooLarge: more bytes, seconds, channels or samples than allowed.
            InternalError: a process cannot be started.
        """
        with self._decoder_for(data, max_bytes) as decoder:
            return decoder.decode(data, max_s, (), self._wall_s)

    def decode_spans(self, data: bytes, spans_s: SpansS, *, max_bytes: int, max_s: float) -> list[Audio]:
        """Decode stretches of a file of any length; those after its end are empty. Memory is that of the stretches.

        Args:
            spans_s: the stretches, at least one.
            max_s: of all stretches together.

        Raises:
            ReferenceUnreadable, ReferenceTooLarge, InternalError: as `decode`.
        """
        wall_s = self._wall_s * max(1.0, spans_s[-1][1] / WALL_FOR_S)
        with self._decoder_for(data, max_bytes) as decoder:
            return split_spans(decoder.decode(data, max_s, spans_s, wall_s), spans_s)

    def warm_up(self, max_bytes: int) -> None:
        """Start a process, so that the first file need not wait for it."""
        with self._decoder(max_bytes):
            pass

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.end()

    def _decoder_for(self, data: bytes, max_bytes: int) -> AbstractContextManager[_Decoder]:
        check_size(len(data), max_bytes)
        locate(data)  # what is not audio needs no process, and costs none
        return self._decoder(max_bytes)

    @contextmanager
    def _decoder(self, max_bytes: int) -> Iterator[_Decoder]:
        with cancellation.acquired(self._places):
            with self._lock:
                idle, self._idle = self._idle, []
                alive = [decoder for decoder in idle if decoder.is_alive and decoder.max_bytes >= max_bytes]
                self._idle = alive[1:]
            for decoder in set(idle) - set(alive):
                decoder.end()
            decoder = alive[0] if alive else _Decoder(max_bytes)
            try:
                yield decoder
            except BaseException:
                decoder.end()
                raise
            with self._lock:
                self._idle.append(decoder)


class _Decoder:
    """One process of decode_child.py."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        limits = map(str, (MEMORY_BYTES + 2 * max_bytes, OPEN_CPU_S, CPU_PER_S))
        self._process, self._socket = start_child("f5_worker.audio.decode_child", *limits)
        try:
            missing = self._receive_end(time.monotonic() + cancellation.left_s(START_S))["missing"]
        except OSError:
            ending = self._ending()
            self.end()
            cancellation.check()
            raise InternalError(f"the decoder's process could not be started ({ending})") from None
        if missing:
            logger.warning("the decoder runs with fewer limits than it should: %s", "; ".join(missing))

    @property
    def is_alive(self) -> bool:
        """Return whether the process still runs: the kernel may have ended it to get memory."""
        return self._process.poll() is None

    def decode(self, data: bytes, max_s: float, spans_s: SpansS, wall_s: float) -> Audio:
        """Decode a file, or joined stretches of it; see `DecoderPool`. After an error the process is of no use."""
        until = time.monotonic() + wall_s
        blocks: list[bytes] = []
        try:
            with cancellation.abort_after(wall_s, self._process.kill):
                self._send(REQUEST.pack(len(data), max_s, len(spans_s)), until)
                self._send(data, until)
                self._send(b"".join(SPAN.pack(*span) for span in spans_s), until)
                answer = self._receive_end(until, blocks)
            _left_s(until)  # it may have been killed after its answer
            cancellation.check()
        except OSError:
            cancellation.check()
            if time.monotonic() >= until:
                raise _refused(f"was not decoded within {wall_s:g} s") from None
            raise _refused(f"could not be decoded: its decoder was stopped ({self._ending()})") from None
        if "error" in answer:
            raise _ERRORS[answer["error"]](answer["message"])
        facts = answer["sample_rate"], answer["channels"], answer["channel"]
        if spans_s and answer["sample_rate"] and not blocks:
            return Audio(np.zeros(0, np.float32), *facts)  # it ends before the first of them
        return join_parts(Part(np.frombuffer(block, np.float32), *facts) for block in blocks)

    def end(self) -> None:
        """Kill the process."""
        self._socket.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def _ending(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(1.0)
            if code == -signal.SIGPROF:
                return "it took too much processor time"
            return describe_exit(code)
        return "it closed its socket"

    def _send(self, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            self._socket.settimeout(_left_s(until))
            view = view[self._socket.send(view[: 1 << 20]) :]

    def _receive_end(self, until: float, blocks: list[bytes] | None = None) -> dict[str, Any]:
        """Return the answer's JSON; samples that come before it are appended to `blocks`."""
        n_total = 0
        while True:
            kind, n_bytes = BLOCK.unpack(self._receive(BLOCK.size, until))
            n_total += n_bytes
            if n_bytes > MAX_BLOCK_BYTES or n_total > MAX_DECODED_BYTES:  # no file makes a sound decoder say that
                raise ConnectionError("the decoder sends more than it should")
            data = self._receive(n_bytes, until)
            if kind == END:
                answer: dict[str, Any] = json.loads(data)
                return answer
            if blocks is not None and kind == RESET:
                blocks.clear()
            elif blocks is not None:
                blocks.append(data)

    def _receive(self, n_bytes: int, until: float) -> bytes:
        data = bytearray(n_bytes)
        view = memoryview(data)
        while view:
            self._socket.settimeout(_left_s(until))
            n_read = self._socket.recv_into(view)
            if n_read == 0:
                raise ConnectionError("the decoder closed its socket")
            view = view[n_read:]
        return bytes(data)


def _left_s(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _refused(what: str) -> ReferenceUnreadable:
    return ReferenceUnreadable(f"the recording {what}; send {input_labels()} as a recorder or editor writes it")


POOL = DecoderPool()
decode, decode_spans = POOL.decode, POOL.decode_spans
