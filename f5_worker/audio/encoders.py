"""Encode in processes of their own, so that the thread which owns the device need not wait for Python's lock.

FFmpeg is called four times for each frame of a codec, 24 ms of an MP3, and each call gives the lock back and takes it
again. Two dozen files a second keep it so busy that the encoders, and the device's thread at each operation that it
launches, wait for it longer than they work (bench/edge.py).
"""

from __future__ import annotations

import itertools
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import numpy as np

from f5_worker import cancellation
from f5_worker.audio.encode import PART_SAMPLES
from f5_worker.audio.encode_child import Encoders, Message
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.audio.levels import Samples
from f5_worker.audio.sandbox import start_child
from f5_worker.errors import InternalError

ANSWER_S = 60.0  # for PART_SAMPLES: 0.1 s on a core of its own
_NONE: Samples = np.zeros(0, np.float32)


class _Process(Protocol):
    def answer(self, message: Message) -> tuple[bytes, float]:
        """Return the bytes that are ready, and the seconds of the processor that another process took."""

    def drop(self, message: Message) -> None:
        """Forget the file."""


class EncoderPool:
    """Up to `max_processes` encoding processes; with none, files are encoded in the threads of their jobs.

    A process takes the files that are open in it in turns, a part at a time. The samples that wait for it are held by
    the threads that write them, and nowhere else.
    """

    def __init__(self, max_processes: int = 0) -> None:
        self._max_processes = max_processes
        self._numbers = itertools.count()
        self._here = _ThisProcess()
        self._processes: list[_EncoderProcess] = []
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Start the processes, so that no file has to wait for one; do not wait for them."""
        with self._lock:
            self._start()

    def open(
        self,
        format: str,
        sample_rate: int,
        *,
        streaming: bool,
        on_cpu_s: Callable[[float], None] = lambda seconds: None,
    ) -> PooledEncoder:
        """Return an encoder of one file, with the bytes of an `Encoder`; after its block nothing of it is left.

        Args:
            on_cpu_s: called with the processor's seconds that another process took.
        """
        message = Message(next(self._numbers), format, sample_rate, streaming, _NONE)
        return PooledEncoder(self._choose, message, on_cpu_s)

    def encode(
        self, samples: Samples, format: str, sample_rate: int, on_cpu_s: Callable[[float], None] = lambda seconds: None
    ) -> bytes:
        """Return the samples as a whole file; see `audio.encode.encode`.

        Raises:
            ValueError: nothing to encode, or NaN or infinity.
        """
        with self.open(format, sample_rate, streaming=False, on_cpu_s=on_cpu_s) as encoder:
            return encoder.write(samples) + encoder.close()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            processes, self._processes = self._processes, []
        for process in processes:
            process.kill()

    def _start(self) -> None:
        """Start the processes that are missing: the kernel may have ended one to get memory."""
        self._processes = [process for process in self._processes if process.is_alive]
        while len(self._processes) < self._max_processes:
            self._processes.append(_EncoderProcess())

    def _choose(self, message: Message) -> _Process:
        if not self._max_processes or AUDIO_FORMATS[message.format].is_pcm:  # to send PCM would take as long
            return self._here
        with self._lock:
            self._start()
            process = min(self._processes, key=lambda process: len(process.files))
            process.files.add(message.number)
        return process


class PooledEncoder:
    """An encoder of one file. The process is chosen when there is something to encode.

    As a context, or by `end`, the process forgets it.
    """

    def __init__(
        self, choose: Callable[[Message], _Process], message: Message, on_cpu_s: Callable[[float], None]
    ) -> None:
        self._choose, self._message, self._on_cpu_s = choose, message, on_cpu_s
        self._process: _Process | None = None

    def __enter__(self) -> PooledEncoder:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def write(self, samples: Samples) -> bytes:
        """Encode samples as `Encoder.write` does.

        Raises:
            ValueError: NaN or infinity among the values.
            InternalError: the process has ended.
        """
        parts = (samples[begin : begin + PART_SAMPLES] for begin in range(0, len(samples), PART_SAMPLES))
        return b"".join(self._send(part) for part in parts)

    def close(self) -> bytes:
        """End the file as `Encoder.close` does.

        Raises:
            ValueError: nothing was written.
            InternalError: the process has ended.
        """
        return self._send(_NONE, is_last=True)

    def end(self) -> None:
        """Let go of what the process has of the file."""
        process, self._process = self._process, None
        if process is not None:
            process.drop(self._message._replace(samples=None))

    def _send(self, samples: Samples, *, is_last: bool = False) -> bytes:
        cancellation.check()
        if self._process is None:
            self._process = self._choose(self._message)
        data, cpu_s = self._process.answer(self._message._replace(samples=samples, is_last=is_last))
        self._on_cpu_s(cpu_s)
        return data


class _ThisProcess:
    """Encodes in the caller's thread, whose time the caller counts itself."""

    def __init__(self) -> None:
        self._encoders = Encoders()

    def answer(self, message: Message) -> tuple[bytes, float]:
        return self._encoders.answer(message), 0.0

    def drop(self, message: Message) -> None:
        self._encoders.answer(message)


class _EncoderProcess:
    """One process of encode_child.py."""

    def __init__(self) -> None:
        from multiprocessing.connection import Connection  # see encode_child.py

        self._process, ours = start_child("f5_worker.audio.encode_child")
        self._connection = Connection(ours.detach())
        self._turn = threading.Lock()
        self.files: set[int] = set()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def answer(self, message: Message) -> tuple[bytes, float]:
        with cancellation.acquired(self._turn):
            try:
                self._connection.send(tuple(message))
                if not self._connection.poll(ANSWER_S):
                    self._process.kill()
                answer, cpu_s = self._connection.recv()
            except (EOFError, OSError):
                self.kill()
                raise InternalError("the encoder's process has ended; send the job again") from None
        if isinstance(answer, str):
            raise ValueError(answer)
        return answer, cpu_s

    def drop(self, message: Message) -> None:
        self.files.discard(message.number)
        with self._turn, suppress(OSError):
            self._connection.send(tuple(message))

    def kill(self) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
