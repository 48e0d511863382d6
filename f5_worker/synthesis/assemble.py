"""The segments of a plan to one signal, as they come from the engine, and when each word of them is heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from f5_worker.alignment.align import Aligner
from f5_worker.alignment.build import AlignedSegment
from f5_worker.audio.join import Fitter, Joiner
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.engine.types import SegmentAudio
from f5_worker.synthesis.plan import Plan
from f5_worker.text.chunk import origins


@dataclass(frozen=True, eq=False)
class AudioPart:
    """What became final with one more segment: samples to be appended, and segments with their times."""

    samples: Samples
    segments: tuple[AlignedSegment, ...]
    spoken: SegmentAudio | None


def assemble(
    plan: Plan,
    spoken: Iterable[SegmentAudio],
    *,
    cross_fade_s: float | None,
    n_samples: int | None = None,
    aligner: Aligner | None = None,
) -> Iterator[AudioPart]:
    """Join the segments in order; what was yielded never changes.

    Words are aligned here, in the job's own thread, while the device speaks the next segments.

    Args:
        n_samples: exact length of the whole, filled up or cut.
        aligner: None where nobody asks for times.
    """
    joiner = Joiner(cross_fade_s=cross_fade_s)
    fitter = None if n_samples is None else Fitter(n_samples)
    times = _Times(plan, aligner, overlapping=cross_fade_s is not None)
    for piece, sound in zip(plan.chunks, spoken, strict=True):
        ready = joiner.push(sound.samples, piece.pause_s)
        segments = times.take(ready, joiner.bounds)
        yield AudioPart(ready if fitter is None else fitter.push(ready), segments, sound)
    rest = joiner.finish()
    segments = times.take(rest, joiner.bounds, last=True)
    if fitter is not None:
        rest = np.concatenate([fitter.push(rest), fitter.finish()])
    yield AudioPart(rest, segments, None)


class _Times:
    """Aligns each segment as soon as all of its sound, and its end, is final."""

    def __init__(self, plan: Plan, aligner: Aligner | None, *, overlapping: bool) -> None:
        self._plan, self._aligner, self._overlapping = plan, aligner, overlapping
        self._next = 0
        self._tail: Samples = np.zeros(0, np.float32)  # from `_begin` on: what is not aligned yet
        self._begin = 0

    def take(
        self, ready: Samples, bounds: tuple[tuple[float, float], ...], *, last: bool = False
    ) -> tuple[AlignedSegment, ...]:
        self._tail = np.concatenate([self._tail, ready])
        done = []
        final = len(bounds) if last or not self._overlapping else len(bounds) - 1
        for index in range(self._next, final):
            begin, end = (round(edge * SAMPLE_RATE) for edge in bounds[index])
            if end > self._begin + len(self._tail):
                break
            sound = self._tail[begin - self._begin : end - self._begin]
            done.append(self._heard(index, sound, bounds[index]))
            self._tail, self._begin, self._next = self._tail[end - self._begin :], end, index + 1
        return tuple(done)

    def _heard(self, index: int, sound: Samples, bounds: tuple[float, float]) -> AlignedSegment:
        chunk = self._plan.chunks[index]
        aligned = None if self._aligner is None else self._aligner.align(sound, chunk.text)
        return AlignedSegment(chunk.text, origins(chunk, self._plan.normalized), *bounds, sound, aligned)
