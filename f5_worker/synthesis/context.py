"""What jobs need of the worker: everything here is loaded once and shared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from f5_worker.asr.whisper import Recogniser
from f5_worker.engine.engine import Engine
from f5_worker.models.registry import Models
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket
from f5_worker.voices.cache import References
from f5_worker.voices.library import Library

CLIPS = 32  # of callers, kept prepared: who sends one sentence often sends the next in the same voice


@dataclass(frozen=True)
class Worker:
    """The worker's parts. `recogniser` and `bucket` are None where there is none.

    bucket_state: `none`, `ok`, or what its probe at start found wrong. clips: callers' own, prepared.
    """

    settings: Settings
    models: Models
    voices: Library
    engine: Engine
    recogniser: Recogniser | None = None
    bucket: Bucket | None = None
    bucket_state: str = "none"
    clips: References = field(default_factory=lambda: References(CLIPS))


class Stopwatch:
    """Milliseconds of each stage; a stage entered twice adds up."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.monotonic() - begun) * 1e3

    def total_ms(self) -> float:
        return (time.monotonic() - self.started) * 1e3
