"""What several rooms' tests share."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/load.py does; before anything imports torch

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from f5_worker.engine.batcher import Batcher, Samples, Segment
from f5_worker.engine.config import HOP_SAMPLES, SAMPLE_RATE, mel_frames
from f5_worker.pipeline import Service
from f5_worker.settings import Settings
from f5_worker.text.tokens import Vocabulary
from f5_worker.voice.library import Library

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "models" / "f5-tiny"

# The same examples on every machine, and no failure for a slow one.
hypothesis.settings.register_profile(
    "worker", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("worker")


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The directory of the small model."""
    return TINY


@pytest.fixture
def settings() -> Settings:
    return Settings(model="f5-tiny", device="cpu")


class ToneDevice:
    """Stands where the engine stands and speaks each segment as a tone: exact lengths in no time.

    The tone's pitch follows the seed, so that equal sound means equal seed. `before` runs at each step.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.before: Callable[[Segment, int], None] = lambda segment, step: None

    def speak(self, segment: Segment, on_step: Callable[[int], None]) -> Samples:
        for step in range(segment.nfe):
            on_step(step)
            self.before(segment, step)
        self.segments.append(segment)
        frames = segment.frames - mel_frames(len(segment.reference))
        time_s = np.arange((frames - 1) * HOP_SAMPLES) / SAMPLE_RATE
        return (0.2 * np.sin(2 * np.pi * (200 + segment.seed % 400) * time_s)).astype(np.float32)


@pytest.fixture
def device() -> ToneDevice:
    return ToneDevice()


@pytest.fixture
def service(device: ToneDevice, settings: Settings, tiny: Path) -> Iterator[Service]:
    """All of the worker but the model."""
    batcher = Batcher(device.speak)
    yield Service(
        settings=settings,
        model="tones",
        device="cpu",
        precision="fp32",
        vocabulary=Vocabulary.load(tiny / "vocab.txt"),
        voices=Library(tiny / "voices", settings),
        batcher=batcher,
    )
    batcher.close()
