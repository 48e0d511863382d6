"""A job's audio as chunks of its encoded file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from f5_worker.alignment.timeline import Word
from f5_worker.audio.encoders import PooledEncoder
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.synthesis.context import Stopwatch


@dataclass(frozen=True)
class AudioChunk:
    """A part of the encoded file; joined in order the parts are the file.

    Attributes:
        begin, end: the samples at 24 kHz that went into the file with it; fractions where a chunk was split.
        words: the words that became known with it.
    """

    data: bytes
    begin: float
    end: float
    words: tuple[Word, ...] = ()

    @property
    def start_s(self) -> float:
        """Return when it begins."""
        return self.begin / SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        """Return the length of its audio."""
        return (self.end - self.begin) / SAMPLE_RATE


class ChunkEncoder:
    """Encodes a job's audio, and counts the time; see `audio.encode.Encoder` for what is known when."""

    def __init__(self, encoder: PooledEncoder, stopwatch: Stopwatch) -> None:
        self._encoder, self._stopwatch = encoder, stopwatch
        self._n_written = self._n_sent = 0  # samples
        self._words: list[Word] = []

    def write(self, samples: Samples, words: Sequence[Word] = ()) -> Iterator[AudioChunk]:
        """Encode `samples`, in which `words` are spoken; yield a chunk if bytes are ready."""
        with self._stopwatch.stage("encode_ms"):
            data = self._encoder.write(samples)
        self._n_written += len(samples)
        self._words += words
        yield from self._send(data)

    def close(self) -> Iterator[AudioChunk]:
        """End the file; yield its last chunk, if any."""
        with self._stopwatch.stage("encode_ms"):
            data = self._encoder.close()
        yield from self._send(data)

    def _send(self, data: bytes) -> Iterator[AudioChunk]:
        if not data:
            return
        words, self._words = tuple(self._words), []
        begin, self._n_sent = self._n_sent, self._n_written
        yield AudioChunk(data, begin, self._n_sent, words)
