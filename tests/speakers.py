"""Voices for tests, and weights of the speaker encoder: those of a package, no download, and random ones."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from safetensors.torch import save_file

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.models.speaker.checkpoint import PICKLED, SAFETENSORS, SHAPES
from tests.conftest import TINY, TINY_VOICES


@lru_cache(maxsize=1)
def resemblyzer_weights() -> Path:
    """Return the file of the package Resemblyzer; skip the test if it is not installed."""
    found = importlib.util.find_spec("resemblyzer")
    if found is None or found.origin is None:
        pytest.skip("Resemblyzer comes with the group `upstream`, which is not installed with the oldest torch")
    return Path(found.origin).with_name(PICKLED)


def write_random(directory: Path) -> Path:
    """Write a file of random weights into a new directory."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: (torch.rand(shape, generator=generator) - 0.5) / 4 for name, shape in SHAPES.items()}
    directory.mkdir(parents=True)
    save_file(tensors, directory / SAFETENSORS)
    return directory / SAFETENSORS


@lru_cache(maxsize=1)
def voices() -> dict[str, Samples]:
    """The clip of each voice of f5-tiny."""
    found = {}
    for name in TINY_VOICES:
        (path,) = (path for path in (TINY / "voices").glob(f"{name}.*") if path.suffix in (".flac", ".wav"))
        samples, rate = soundfile.read(path, dtype="float32")
        found[name] = np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32)
    return found
