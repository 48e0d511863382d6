"""The classes of f5-tts and of the vocoders that it uses, imported without what only training needs."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from f5_worker.errors import ModelUnavailable
from f5_worker.log import logger

VERSION = "1.1.22"  # the one that tests run


def import_model() -> Any:
    """Import `f5_tts.model`, which has the backbones and `CFM`, without its trainer.

    The trainer would import wandb, datasets and accelerate.

    Raises:
        ModelUnavailable: f5-tts, or a package that it needs, is not installed.
    """
    if "f5_tts.model.trainer" not in sys.modules:
        stub = types.ModuleType("f5_tts.model.trainer")
        stub.Trainer = None  # type: ignore[attr-defined]
        sys.modules["f5_tts.model.trainer"] = stub
    with _explained():
        from f5_tts import model
    return model


def import_vocos() -> Any:
    """Import the package `vocos`.

    Raises:
        ModelUnavailable: it, or a package that it needs, is not installed.
    """
    with _explained():
        import vocos
    return vocos


def import_bigvgan() -> Any:
    """Import the module `bigvgan` of NVIDIA's repository, which f5-tts' repository has as a submodule.

    Raises:
        ModelUnavailable: f5-tts is not installed, or without that submodule, as its wheels are.
    """
    code = Path(import_model().__file__).parents[2] / "third_party" / "BigVGAN"
    if not (code / "bigvgan.py").is_file():
        raise ModelUnavailable(
            "the vocoder BigVGAN is code in third_party/BigVGAN beside f5-tts, which its wheels do not have; install "
            "f5-tts from its repository with the submodules, or use a checkpoint for Vocos"
        )
    if str(code) not in sys.path:
        sys.path.append(str(code))  # as f5_tts/infer/utils_infer.py: its modules import each other by their bare names
    with _explained():
        from third_party.BigVGAN import bigvgan  # type: ignore[import-not-found, unused-ignore]
    return bigvgan


@contextmanager
def _explained() -> Iterator[None]:
    """Raise ModelUnavailable if a package cannot be imported; the log has the original error."""
    try:
        yield
    except (ImportError, OSError) as error:  # OSError: a library that was built for another torch
        logger.error("importing f5-tts failed: %s", error)
        name = getattr(error, "name", None) or "a library"
        raise ModelUnavailable(
            f"f5-tts, which is to run this checkpoint, cannot be imported here: {name} is missing or broken; install "
            f"f5-tts=={VERSION} with all that it requires, or build the image on one that has it, such as "
            "ghcr.io/swivid/f5-tts"
        ) from None
