"""Prepared references: a bounded number in memory, and as a file with the voice they are of."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict

from f5_worker.reference.prepare import Reference
from f5_worker.reference.report import VoiceReport

TURNS = 16  # voices prepared at a time; two that share a turn wait for each other


class Prepared(BaseModel):
    """A `Reference` but for its samples."""

    model_config = ConfigDict(frozen=True)

    transcript: str
    source_s: float
    warnings: tuple[str, ...]
    report: VoiceReport

    @classmethod
    def of(cls, reference: Reference) -> Prepared:
        return cls(
            transcript=reference.transcript,
            source_s=reference.source_s,
            warnings=reference.warnings,
            report=reference.report,
        )

    def with_samples(self, data: bytes) -> Reference:
        """The reference again, to the bit, of what `dump_samples` gave."""
        samples = np.load(io.BytesIO(data), allow_pickle=False)
        return Reference(samples, self.transcript, self.source_s, self.warnings, self.report)


def dump_samples(reference: Reference) -> bytes:
    """The samples as a file in numpy's own format."""
    file = io.BytesIO()
    np.save(file, reference.samples, allow_pickle=False)
    return file.getvalue()


class References:
    """The references used last, one for each name, each prepared once however many threads ask for it."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[str, Reference]] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = tuple(threading.Lock() for _ in range(TURNS))
        self._drops = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str, key: str, make: Callable[[], Reference]) -> Reference:
        """The reference of that name and content, made if need be; what `make` raises is raised and not kept."""
        if (known := self._find(name, key)) is not None:
            return known
        with self._turns[hash(key) % TURNS]:
            if (known := self._find(name, key)) is not None:
                return known
            drops = self._drops
            made = make()
            with self._lock:
                if drops == self._drops:  # else this may be what was to be dropped
                    self._known[name] = key, made
                    self._known.move_to_end(name)
                    while len(self._known) > self._capacity:
                        self._known.popitem(last=False)
            return made

    def drop(self, name: str) -> None:
        with self._lock:
            self._known.pop(name, None)
            self._drops += 1

    def _find(self, name: str, key: str) -> Reference | None:
        with self._lock:
            found = self._known.get(name)
            if found is None or found[0] != key:
                return None
            self._known.move_to_end(name)
            return found[1]
