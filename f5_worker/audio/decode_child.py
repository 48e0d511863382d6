"""The decoder's process: reads a file from its socket, writes its samples back, until the socket is closed.

    python -m f5_worker.audio.decode_child MEMORY_BYTES OPEN_CPU_S CPU_PER_S

Request: REQUEST, then the file and, as SPANs, the stretches to return, none for all of it. Answer: blocks of BLOCK and
samples, then one of END and a JSON object. RESET makes the samples before it void.
"""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import sys
import wave
from collections.abc import Callable
from typing import Any

import numpy as np

from f5_worker.audio.decode import SpansS, decode_parts
from f5_worker.audio.levels import Samples
from f5_worker.audio.sandbox import confine
from f5_worker.errors import WorkerError

SOCKET = 0
REQUEST = struct.Struct("<QdI")  # bytes of the file, `max_s`, number of spans
SPAN = struct.Struct("<dd")  # of the recording, in seconds
BLOCK = struct.Struct("<cI")  # kind, bytes that follow
SAMPLES, RESET, END = b"S", b"R", b"E"
BLOCK_SAMPLES = 1 << 16


def main() -> None:
    """Serve files until the socket is closed, or until one is refused: then a new process is safer than this one."""
    memory_bytes, open_cpu_s, cpu_per_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    _serve(_wav(), 1.0, (), open_cpu_s, send=lambda kind, data: None)  # PyAV loads modules late: now, or never
    _send(END, json.dumps({"missing": confine(memory_bytes)}).encode())
    while request := _read(REQUEST.size):
        n_bytes, max_s, n_spans = REQUEST.unpack(request)
        data, spans_s = _read(n_bytes), list(SPAN.iter_unpack(_read(n_spans * SPAN.size)))
        _limit_cpu(open_cpu_s)
        decoded_s = spans_s[-1][1] if spans_s else max_s
        answer = _serve(data, max_s, spans_s, max(cpu_per_s * decoded_s, open_cpu_s), _send)
        _send(END, json.dumps(answer).encode())
        if "error" in answer:
            return


def _limit_cpu(seconds: float) -> None:
    """Let the process die of SIGPROF, also inside FFmpeg, after so much processor time, which is fair when it is busy.

    Zero ends the limit.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _serve(
    data: bytes, max_s: float, spans_s: SpansS, cpu_s: float, send: Callable[[bytes, bytes], None]
) -> dict[str, Any]:
    """Write a file's samples in blocks and return the rest of the answer."""
    kept: list[Samples] = []
    rate, channels, channel, n_kept = 0, 0, None, 0
    try:
        for part in decode_parts(data, max_s, spans_s):
            if not rate:
                _limit_cpu(cpu_s)  # it could be opened: what follows is in proportion to its length
            if part.channel != channel:
                _limit_cpu(cpu_s)  # the file is decoded once more
                send(RESET, b"")
                channel, kept, n_kept = part.channel, [], 0
            rate, channels = part.sample_rate, max(channels, part.channels)
            kept.append(part.samples)
            n_kept += len(part.samples)
            if n_kept >= BLOCK_SAMPLES:
                send(SAMPLES, np.concatenate(kept).tobytes())
                kept, n_kept = [], 0
    except WorkerError as error:
        return {"error": error.code, "message": error.message}
    finally:
        _limit_cpu(0)
    if n_kept:
        send(SAMPLES, np.concatenate(kept).tobytes())
    return {"sample_rate": rate, "channels": channels, "channel": channel}


def _wav() -> bytes:
    """Return a WAV file of one sample."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 24_000, 0, "NONE", ""))
        wav.writeframes(bytes(2))
    return file.getvalue()


def _read(n_bytes: int) -> bytes:
    """Return exactly so many bytes, or none where the socket is closed."""
    data = bytearray(n_bytes)
    view, n_read = memoryview(data), 0
    while n_read < n_bytes:
        piece = os.read(SOCKET, min(n_bytes - n_read, 1 << 20))
        if not piece:
            return b""
        view[n_read : n_read + len(piece)] = piece
        n_read += len(piece)
    return bytes(data)


def _send(kind: bytes, data: bytes) -> None:
    view = memoryview(BLOCK.pack(kind, len(data)) + data)
    while view:
        view = view[os.write(SOCKET, view) :]


if __name__ == "__main__":
    main()
