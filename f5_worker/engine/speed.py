"""How fast the device was seen to work, to tell before a job begins that it cannot end in time."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from f5_worker.engine.types import ModelRunner

# Of the device's work for one figure. A GPU is told to do a step and has done it later; over so long it evens out.
WINDOW_S = 5.0


@dataclass
class _Measured:
    work: float = 0.0
    seconds: float = 0.0
    highest: float | None = None


class DeviceSpeed:
    """The highest speed of each model, over WINDOW_S: work in a second. Written by the device's thread."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[ModelRunner[object], _Measured] = WeakKeyDictionary()

    def add(self, runner: ModelRunner[object], work: float, seconds: float) -> None:
        """Count time that the device worked for a model. `work`: frames that came one step further in it."""
        measured = self._models.setdefault(runner, _Measured())
        measured.work += work
        measured.seconds += seconds
        if measured.seconds >= WINDOW_S:
            measured.highest = max(measured.highest or 0.0, measured.work / measured.seconds)
            measured.work = measured.seconds = 0.0

    def seconds_for(self, runner: ModelRunner[object], work: float) -> float | None:
        """Return how long the device needs for so much work at least; None as long as nothing was measured."""
        measured = self._models.get(runner)
        return work / measured.highest if measured is not None and measured.highest else None
