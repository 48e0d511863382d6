"""Prepared references: a bounded number in memory, and the file format in which a voice keeps its own."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict

from f5_worker import cancellation
from f5_worker.reference.prepare import Reference
from f5_worker.reference.report import VoiceReport

N_LOCKS = 16  # voices prepared at the same time; two that share a lock wait for each other


class PreparedReference(BaseModel):
    """A `Reference` without its samples, which are a file of their own."""

    model_config = ConfigDict(frozen=True)

    transcript: str
    source_s: float
    warnings: tuple[str, ...]
    report: VoiceReport

    @classmethod
    def from_reference(cls, reference: Reference) -> PreparedReference:
        """Return all of a reference except its samples."""
        return cls(
            transcript=reference.transcript,
            source_s=reference.source_s,
            warnings=reference.warnings,
            report=reference.report,
        )

    def with_samples(self, data: bytes) -> Reference:
        """Return the reference, bit for bit, with the samples that `dump_samples` wrote."""
        samples = np.load(io.BytesIO(data), allow_pickle=False)
        return Reference(samples, self.transcript, self.source_s, self.warnings, self.report)


def dump_samples(reference: Reference) -> bytes:
    """Return the samples as a file in numpy's own format."""
    file = io.BytesIO()
    np.save(file, reference.samples, allow_pickle=False)
    return file.getvalue()


class ReferenceCache:
    """The references used last, one for each name, each prepared once however many threads ask for it.

    Attributes:
        n_hits, n_misses: look-ups that found a reference, and that prepared one.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._cached: OrderedDict[str, tuple[str, Reference]] = OrderedDict()
        self._lock = threading.Lock()
        self._prepare_locks = tuple(threading.Lock() for _ in range(N_LOCKS))
        self._n_drops = 0
        self.n_hits = self.n_misses = 0

    def __len__(self) -> int:
        return len(self._cached)

    def get(self, name: str, key: str, prepare: Callable[[], Reference]) -> Reference:
        """Return the reference of that name and content key, prepared if need be.

        An error of `prepare` is raised and not cached.
        """
        if (cached := self._find(name, key)) is not None:
            self.n_hits += 1
            return cached
        self.n_misses += 1
        with cancellation.acquired(self._prepare_locks[hash(key) % N_LOCKS]):
            if (cached := self._find(name, key)) is not None:
                return cached
            n_drops = self._n_drops
            prepared = prepare()
            with self._lock:
                if n_drops == self._n_drops:  # else this may be the one that was to be dropped
                    self._cached[name] = key, prepared
                    self._cached.move_to_end(name)
                    while len(self._cached) > self._capacity:
                        self._cached.popitem(last=False)
            return prepared

    def drop(self, name: str) -> None:
        """Remove the reference of that name, also one that is being prepared."""
        with self._lock:
            self._cached.pop(name, None)
            self._n_drops += 1

    def _find(self, name: str, key: str) -> Reference | None:
        with self._lock:
            cached = self._cached.get(name)
            if cached is None or cached[0] != key:
                return None
            self._cached.move_to_end(name)
            return cached[1]
