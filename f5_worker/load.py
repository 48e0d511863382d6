"""From settings to a service that is ready for jobs: load the model, run it once, open its voices."""

from __future__ import annotations

import os
import time

import numpy as np

from f5_worker.engine.batcher import Batcher, Segment
from f5_worker.engine.config import HOP_SAMPLES, SAMPLE_RATE
from f5_worker.log import logger
from f5_worker.pipeline import Service
from f5_worker.settings import Settings
from f5_worker.text.tokens import tokenize
from f5_worker.voice.library import Library


def load_service(settings: Settings) -> Service:
    """Load and warm up the model.

    Raises:
        ModelUnavailable: its files are missing or do not belong together.
    """
    logger.info("loading %s", settings.model)
    started = time.monotonic()
    # Threads that spin while they wait take the cores they wait for, wherever cores are shared or limited:
    # one other busy process made a synthesis on two cores more than ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is imported
    from f5_worker.engine.engine import load_engine  # torch: seconds and half a gigabyte, not at import

    engine = load_engine(settings)
    loaded = time.monotonic()
    tokenize("one, two")  # reads a dictionary, once
    engine.speak(_warm_up_segment())
    ready = time.monotonic()
    logger.info(
        "%s ready on %s in %s: loaded in %.1f s, first run %.1f s",
        engine.name, engine.device, engine.precision, loaded - started, ready - loaded,
    )  # fmt: skip
    return Service(
        settings=settings,
        model=engine.name,
        device=engine.device,
        precision=engine.precision,
        vocabulary=engine.vocabulary,
        voices=Library(engine.directory / "voices", settings),
        batcher=Batcher(engine.speak),
    )


def _warm_up_segment() -> Segment:
    """A second of noise, spoken on in two steps: the first run of each kernel is slow, and no job should pay."""
    reference = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    frames = 3 * SAMPLE_RATE // HOP_SAMPLES
    return Segment(reference, tuple(range(20)), frames, nfe=2, guidance=2.0, sway=-1.0, seed=0)
