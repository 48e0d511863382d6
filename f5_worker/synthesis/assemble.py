"""The segments of a plan joined into one signal as they come from the engine, with the times of their words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from f5_worker.alignment.align import Aligner
from f5_worker.alignment.build import AlignedSegment
from f5_worker.audio.join import Fitter, Joiner
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.engine.types import SegmentAudio
from f5_worker.synthesis.plan import Plan, PlannedSegment


@dataclass(frozen=True, eq=False)
class AudioPart:
    """The part of a job's audio that became final at once.

    Attributes:
        samples: `[nw]` at 24 kHz, to be appended.
        segments: the segments whose times became final with it, in order.
        spoken: the engine's results that it is made of.
        lines: of a dubbed track, each line by itself; empty where that is not asked for.
    """

    samples: Samples
    segments: tuple[AlignedSegment, ...]
    spoken: tuple[SegmentAudio, ...]
    lines: tuple[Samples, ...] = ()


def assemble(
    plan: Plan,
    spoken: Iterable[SegmentAudio],
    *,
    cross_fade_s: float | None,
    n_samples: int | None = None,
    aligner: Aligner | None = None,
) -> Iterator[AudioPart]:
    """Join segments in order; audio that was yielded never changes.

    Words are aligned here, in the job's own thread, while the device runs the next segments.

    Args:
        cross_fade_s: overlap of neighbouring segments; None trims them and sets them apart by pauses. A pause
            that the text asks for has its length in any case.
        n_samples: exact length of the whole, padded or cut; None for the natural length.
        aligner: None to estimate word times.
    """
    joiner = Joiner(cross_fade_s=cross_fade_s)
    fitter = None if n_samples is None else Fitter(n_samples)
    alignment = _SegmentAlignment(plan.parts, aligner, overlapping=cross_fade_s is not None)
    if plan.lead_s:
        lead = joiner.pause(plan.lead_s)
        alignment.push(lead, joiner.bounds)
        yield AudioPart(lead if fitter is None else fitter.push(lead), (), ())
    for audio, part in zip(spoken, plan.parts, strict=True):  # parts are made while others are spoken
        ready = joiner.push(audio.samples, part.pause_s)
        if part.is_exact:
            ready = np.concatenate([ready, joiner.pause(part.pause_s)])
        segments = alignment.push(ready, joiner.bounds, is_final=part.is_exact)
        yield AudioPart(ready if fitter is None else fitter.push(ready), segments, (audio,))
    rest = joiner.finish()
    segments = alignment.push(rest, joiner.bounds, is_final=True)
    if fitter is not None:
        rest = np.concatenate([fitter.push(rest), fitter.finish()])
    yield AudioPart(rest, segments, ())


class _SegmentAlignment:
    """Aligns each segment as soon as all of its audio, and its end, is final."""

    def __init__(self, parts: Sequence[PlannedSegment], aligner: Aligner | None, *, overlapping: bool) -> None:
        self._parts, self._aligner, self._overlapping = parts, aligner, overlapping
        self._next = 0
        self._pending: Samples = np.zeros(0, np.float32)  # audio from `_begin` on that is not aligned
        self._begin = 0

    def push(
        self, ready: Samples, bounds: tuple[tuple[float, float], ...], *, is_final: bool = False
    ) -> tuple[AlignedSegment, ...]:
        """Take the next final audio and the bounds so far; return the segments that are complete.

        Args:
            is_final: no later segment overlaps the last one.
        """
        self._pending = np.concatenate([self._pending, ready])
        done = []
        n_final = len(bounds) if is_final or not self._overlapping else len(bounds) - 1
        for index in range(self._next, n_final):
            begin, end = (round(edge * SAMPLE_RATE) for edge in bounds[index])
            if end > self._begin + len(self._pending):
                break
            samples = self._pending[begin - self._begin : end - self._begin]
            done.append(self._align(index, samples, bounds[index]))
            self._pending, self._begin, self._next = self._pending[end - self._begin :], end, index + 1
        return tuple(done)

    def _align(self, index: int, samples: Samples, bounds: tuple[float, float]) -> AlignedSegment:
        part = self._parts[index]
        aligned = None if self._aligner is None else self._aligner.align(samples, part.text)
        return AlignedSegment(part.text, part.origins, *bounds, samples, aligned, part.passage.speaker)
