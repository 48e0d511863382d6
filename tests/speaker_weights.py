"""The weights of the speaker encoder for tests: those of a package, no download; and random ones."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from f5_worker.models.speaker.checkpoint import PICKLED, SAFETENSORS, SHAPES


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
