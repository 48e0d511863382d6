"""The encoders' process: answers the messages of `encoders.py` on its socket until that is closed."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import NamedTuple

from f5_worker.audio.encode import Encoder
from f5_worker.audio.levels import Samples

SOCKET = 0


class Message(NamedTuple):
    """Request for one file. `samples`: to be appended; None ends it without an answer. `is_last`: close the file."""

    number: int
    format: str
    sample_rate: int
    streaming: bool
    samples: Samples | None
    is_last: bool = False


class Encoders:
    """The encoders of several files, by their numbers."""

    def __init__(self) -> None:
        self._open: dict[int, Encoder] = {}

    def answer(self, message: Message) -> bytes:
        """Return the bytes that are ready. The first message of a file makes its encoder.

        Raises:
            ValueError: see `Encoder`.
        """
        encoder = self._open.pop(message.number, None)
        if message.samples is None:
            return b""
        if encoder is None:
            encoder = Encoder(message.format, message.sample_rate, streaming=message.streaming)
        data = encoder.write(message.samples)
        if message.is_last:
            return data + encoder.close()
        self._open[message.number] = encoder
        return data


def main() -> None:
    """Serve until the socket is closed, which it is when the worker ends, however it ends."""
    from multiprocessing.connection import Connection  # 30 ms, which the worker does not need at start

    encoders = Encoders()
    with suppress(EOFError, OSError), Connection(SOCKET) as worker:
        while True:
            message = Message(*worker.recv())
            begun_s = time.process_time()
            answer: bytes | str
            try:
                answer = encoders.answer(message)
            except Exception as error:  # noqa: BLE001 - raised again in the job's thread; other files go on
                answer = str(error)
            if message.samples is not None:
                worker.send((answer, time.process_time() - begun_s))


if __name__ == "__main__":
    main()
