"""What the tests of several packages share."""

from __future__ import annotations

import os
import resource
from functools import partial
from pathlib import Path

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # as f5_worker/server/startup.py does; before anything imports torch
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; read when Triton is imported

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cpuinfo
import hypothesis
import numpy as np
import pytest

from f5_worker.audio.levels import Samples
from f5_worker.engine.engine import Engine
from f5_worker.engine.group import EngineGroup
from f5_worker.engine.types import Segment, WaitForSamples
from f5_worker.models.f5.config import HOP_SAMPLES, SAMPLE_RATE, mel_frames
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.registry import ModelRegistry
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import BucketConfig
from f5_worker.synthesis.context import Worker
from f5_worker.text.traits import TextTraits
from f5_worker.voices.library import Library

cpuinfo.get_cpu_info = dict  # runpod asks as it is imported, and it takes a second of every process

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "models" / "f5-tiny"
FRENCH = ROOT / "models" / "f5-tiny-fr"
TINY_VOICES = sorted(path.stem for path in (TINY / "voices").glob("*.txt"))

# The same examples on every machine, and no failure for a slow one.
hypothesis.settings.register_profile(
    "worker", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("worker")


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: writing fails as it does where no space is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The directory of the small model."""
    return TINY


@pytest.fixture
def settings() -> Settings:
    return Settings(model="f5-tiny", device="cpu", max_reply_bytes=100_000_000)


class FakeBucket(Bucket):
    """A bucket in memory."""

    def __init__(self, settings: Settings, provider: str | None = None, *, untrusted: bool = False) -> None:
        super().__init__(BucketConfig("https://h", "b", "k", "s", "r", True, "S3", provider, untrusted), settings)
        self.files: dict[str, tuple[bytes, str]] = {}

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self.files[key] = (data, content_type)

    def get(self, key: str, max_bytes: int) -> bytes | None:
        return self.files[key][0] if key in self.files else None

    def url(self, key: str) -> str | None:
        return f"https://h/b/{key}?signed" if self.config.can_presign else None


@dataclass
class ToneState:
    segment: Segment
    step: int = 0


class ToneDevice:
    """Stands where the engine stands and speaks each segment as a tone: exact lengths in no time.

    The tone's pitch follows the seed, so that equal sound means equal seed. `before` runs at each step.
    """

    name, engine, device, precision, n_bytes = "tones", "own", "cpu", "fp32", 0
    whole_segments, directory = False, TINY

    def __init__(self) -> None:
        self.vocabulary = Vocabulary.load(TINY / "vocab.txt")
        self.traits = TextTraits()
        self.segments: list[Segment] = []
        self.attention: dict[str, Any] = {}
        self.replicas: list[ToneDevice] = []
        self.device_bytes: tuple[int, int] | None = None
        self.before: Callable[[Segment, int], None] = lambda segment, step: None

    def begin(self, segment: Segment) -> ToneState:
        return ToneState(segment)

    def step(self, states: Sequence[ToneState]) -> None:
        for state in states:
            self.before(state.segment, state.step)
        for state in states:
            state.step += 1

    def finish(self, states: Sequence[ToneState]) -> list[WaitForSamples]:
        self.segments += [state.segment for state in states]
        return [partial(tone, state.segment) for state in states]


def tone(segment: Segment) -> Samples:
    frames = segment.frames - mel_frames(len(segment.reference))
    time_s = np.arange((frames - 1) * HOP_SAMPLES) / SAMPLE_RATE
    return (0.2 * np.sin(2 * np.pi * (200 + segment.seed % 400) * time_s)).astype(np.float32)


@pytest.fixture
def device() -> ToneDevice:
    return ToneDevice()


@pytest.fixture
def worker(device: ToneDevice, settings: Settings, tiny: Path) -> Iterator[Worker]:
    """All of the worker but the model."""
    engine = EngineGroup([Engine(device, settings.batch_frames)])
    yield Worker(
        settings=settings,
        models=ModelRegistry(device, {}, lambda name, directory: device, settings),
        voices=Library(tiny / "voices", settings),
        engine=engine,
    )
    engine.close()
