"""The worker's parts that jobs use: loaded once and shared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from f5_worker.asr.whisper import Recogniser
from f5_worker.engine.group import EngineGroup
from f5_worker.models.registry import ModelRegistry
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket
from f5_worker.text.markup.pronunciations import Pronunciation
from f5_worker.verification.similarity import SpeakerEncoder
from f5_worker.voices.cache import ReferenceCache
from f5_worker.voices.library import Library

CALLER_REFERENCES = 32  # a caller's next sentence is often in the same voice


@dataclass(frozen=True)
class Worker:
    """The parts of a worker.

    Attributes:
        engine: the devices.
        recogniser, speaker_encoder, bucket: None where there is none.
        bucket_state: `none`, `ok`, or what the check at start found wrong with the bucket.
        caller_references: the callers' own clips, prepared.
        pronunciations: of all jobs (F5_PRONUNCIATIONS).
    """

    settings: Settings
    models: ModelRegistry
    voices: Library
    engine: EngineGroup
    recogniser: Recogniser | None = None
    speaker_encoder: SpeakerEncoder | None = None
    bucket: Bucket | None = None
    bucket_state: str = "none"
    caller_references: ReferenceCache = field(default_factory=lambda: ReferenceCache(CALLER_REFERENCES))
    pronunciations: tuple[Pronunciation, ...] = ()


class Stopwatch:
    """Milliseconds of each stage; the times of a stage that is entered again add up."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage."""
        begun = time.monotonic()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + (time.monotonic() - begun) * 1e3

    def total_ms(self) -> float:
        """Return the time since the stopwatch was made."""
        return (time.monotonic() - self._started) * 1e3
