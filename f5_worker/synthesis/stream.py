"""A result piece by piece: each is sent as soon as it is spoken, and joined in order they are the file.

Loudness and trimming need the whole sound, and so does a dubbed track: these are spoken first and sent in pieces
afterwards, so that every job works on a streaming worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from f5_worker.alignment.build import AlignedSegment
from f5_worker.alignment.timeline import Word
from f5_worker.audio.encode import Encoder
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.delivery.inline import encode_base64
from f5_worker.engine.types import SegmentAudio
from f5_worker.schema.requests import SpeechRequest, SynthesizeInput
from f5_worker.schema.responses import ChunkAudioResponse, ChunkResponse, SpeechResponse
from f5_worker.synthesis.pipeline import render
from f5_worker.synthesis.prepare import Job, Session, session
from f5_worker.synthesis.result import Rendered, last_reply, moved, word_reply

MAX_CHUNK_BYTES = 680_000  # of the file in one piece: 0.91 MB in base64; RunPod's limit is 1 MB with its JSON
PIECE_S = 5.0  # of a sound that is whole already

Piece = ChunkResponse | SpeechResponse


def stream(job: Job) -> Iterator[Piece]:
    """The pieces of the sound, then the reply without it.

    Raises:
        WorkerError: as `pipeline.speak`; what was sent before stays sent.
    """
    request = job.request
    if isinstance(request, SynthesizeInput) and request.loudness_lufs is None and not request.trim_silence:
        with session(job, request, first_s=job.worker.settings.stream_first_s) as ready:
            yield from _as_spoken(job, request, ready)
    else:
        yield from _afterwards(job, render(job))


def _as_spoken(job: Job, request: SynthesizeInput, ready: Session) -> Iterator[Piece]:
    lead, tail = (_silence(pad_s) for pad_s in (request.pad_start_s, request.pad_end_s))
    chunks, parts = _Chunks(request), [lead]
    spoken: list[SegmentAudio] = []
    segments: list[AlignedSegment] = []
    yield from chunks.take(lead)
    for part in ready.assemble():
        parts.append(part.samples)
        segments += part.segments
        spoken += [] if part.spoken is None else [part.spoken]
        words = _known_words(ready, segments, sum(map(len, parts)), request.pad_start_s)
        with job.watch.stage("encode_ms"):
            pieces = list(chunks.take(part.samples, words))
        yield from pieces
        job.control.check()
    yield from chunks.take(tail)
    yield from chunks.close()
    samples = np.concatenate([*parts, tail])
    timeline = ready.timeline(segments, len(samples))
    rendered = Rendered(
        samples, timeline, spoken, ready.params, ready.model.name, segments=segments, warnings=ready.warnings
    )
    yield last_reply(job, moved(rendered, request.pad_start_s))


def _afterwards(job: Job, rendered: Rendered) -> Iterator[Piece]:
    chunks, step = _Chunks(job.request), round(PIECE_S * SAMPLE_RATE)
    words = rendered.timeline.words if rendered.timeline else ()
    for begin in range(0, len(rendered.samples), step):
        job.control.check()
        end_s = (begin + step) / SAMPLE_RATE
        heard = [word for word in words if word.start_s < end_s]
        yield from chunks.take(rendered.samples[begin : begin + step], heard)
    yield from chunks.close()
    yield last_reply(job, rendered)


def _known_words(ready: Session, segments: Sequence[AlignedSegment], n_samples: int, shift_s: float) -> Sequence[Word]:
    """The words, from the first on, whose every letter belongs to a segment that was spoken."""
    timeline = ready.timeline(segments, n_samples, shift_s)
    if timeline is None or not segments:
        return ()
    covered = max(end for segment in segments for _, end in segment.origins)
    return [word for word in timeline.words if word.end <= covered]


def _silence(duration_s: float) -> Samples:
    return np.zeros(round(duration_s * SAMPLE_RATE), np.float32)


class _Chunks:
    """Sound to numbered pieces of the file, each small enough for one post; words go with the piece they end in."""

    def __init__(self, request: SpeechRequest) -> None:
        self._format, self._sample_rate = request.format, request.sample_rate
        self._with_words = request.timings is not None
        self._encoder = Encoder(request.format, request.sample_rate, streaming=True)
        self._index = self._words = 0  # of pieces and words that were sent
        self._taken = self._sent = 0  # samples

    def take(self, samples: Samples, words: Sequence[Word] = ()) -> Iterator[ChunkResponse]:
        """What can be sent with so much more sound; `words` are all that are known by now."""
        self._taken += len(samples)
        data = self._encoder.write(samples)
        if data:
            yield from self._cut(data, words)

    def close(self) -> Iterator[ChunkResponse]:
        """The end of the file."""
        data = self._encoder.close()
        if data:
            yield from self._cut(data, ())

    def _cut(self, data: bytes, words: Sequence[Word]) -> Iterator[ChunkResponse]:
        parts = [data[begin : begin + MAX_CHUNK_BYTES] for begin in range(0, len(data), MAX_CHUNK_BYTES)]
        edges = np.linspace(self._sent, self._taken, len(parts) + 1) / SAMPLE_RATE
        new = [word_reply(word) for word in words[self._words :]]
        for number, part in enumerate(parts):
            yield ChunkResponse(
                index=self._index,
                audio=ChunkAudioResponse(
                    format=self._format, sample_rate=self._sample_rate, base64=encode_base64(part)
                ),
                start_s=round(float(edges[number]), 6),
                duration_s=round(float(edges[number + 1] - edges[number]), 6),
                words=(new if number == 0 else []) if self._with_words else None,
            )
            self._index += 1
        self._sent, self._words = self._taken, self._words + len(new)
