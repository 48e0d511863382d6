"""The engines of all devices as one: each segment goes to the device that has the least work left."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from f5_worker.cancellation import JobControl, PartsProgress
from f5_worker.engine.engine import Engine
from f5_worker.engine.types import ModelRunner, Segment, SegmentAudio


class EngineGroup:
    """Shares the segments of all jobs out to the engines, one for each device.

    A model has a replica for each engine but the first, or none: then the first engine alone runs it.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        self._lock = threading.Lock()  # from looking at the work left until more is added to it

    def submit(
        self,
        segments: Sequence[Segment],
        control: JobControl,
        *,
        runner: ModelRunner[Any] | None = None,
        early: bool = False,
        share: tuple[float, float] = (0.0, 1.0),
    ) -> Generator[SegmentAudio, None, None]:
        """Queue a job's segments; yield their audio in order, as `Engine.submit`.

        Args:
            runner: the model that runs them; None for the default one of each engine.
            share: from where to where of the caller's work they are, for its progress; equal to report none.
        """
        runners = [None] * len(self.engines) if runner is None else [runner, *runner.replicas]
        report = partial(_report, control, *share)
        with self._lock:
            owners = self._share_out(segments, len(runners))
            owned: dict[int, list[Segment]] = {}
            for segment, owner in zip(segments, owners, strict=True):
                owned.setdefault(owner, []).append(segment)
            progress = PartsProgress(report, [sum(segment.work for segment in part) for part in owned.values()])
            parts = {
                owner: self.engines[owner].submit(
                    part, control, runner=runners[owner], early=early, on_progress=partial(progress.tell, index)
                )
                for index, (owner, part) in enumerate(owned.items())
            }
        results = _in_order(owners, parts)
        next(results)  # to its first `yield`: closing a generator that has not begun would not drop the job
        return results

    def seconds_for(self, runner: ModelRunner[Any], work: float) -> float | None:
        """Return how long the devices need for so much work at least; None as long as nothing was measured."""
        runners = (runner, *runner.replicas)
        measured = [engine.speed.seconds_for(one, work) for engine, one in zip(self.engines, runners, strict=False)]
        known = [seconds for seconds in measured if seconds is not None]
        return min(known) / len(runners) if known else None

    def close(self) -> None:
        """Close all engines; see `Engine.close`."""
        for engine in self.engines:
            engine.close()

    def _share_out(self, segments: Sequence[Segment], n_engines: int) -> list[int]:
        """Return the index of the engine for each segment: in turn, the one with the least work."""
        work = [engine.work_left for engine in self.engines[:n_engines]]
        owners = []
        for segment in segments:
            owner = work.index(min(work))
            work[owner] += segment.work
            owners.append(owner)
        return owners


def _report(control: JobControl, begin: float, end: float, done: float) -> None:
    if begin != end:
        control.on_progress(begin + (end - begin) * done)


def _in_order(
    owners: Sequence[int], parts: dict[int, Generator[SegmentAudio, None, None]]
) -> Generator[Any, None, None]:
    """Yield None once, then the next result of the part that each segment belongs to; drop the rest when closed."""
    try:
        yield None
        for owner in owners:
            yield next(parts[owner])
    finally:
        for part in parts.values():
            part.close()
