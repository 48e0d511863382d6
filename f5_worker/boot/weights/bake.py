"""Put a model or a recogniser into an image: `python -m f5_worker.boot.weights.bake F5TTS_v1_Base /opt/models`."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from f5_worker.boot.weights import copies
from f5_worker.boot.weights.pins import PinPolicy
from f5_worker.boot.weights.recipes import Tools
from f5_worker.boot.weights.recogniser import find_recogniser
from f5_worker.boot.weights.weights import CopyPrecision, FoundModel, WeightRoots, find_model
from f5_worker.errors import ModelUnavailable
from f5_worker.models.published import recognisers
from f5_worker.storage import files

TRUE = ("1", "true", "yes", "on")


def bake(
    model: str,
    into: Path,
    *,
    roots: WeightRoots,
    precision: CopyPrecision = "fp16",
    tools: Tools | None = None,
    policy: PinPolicy | None = None,
) -> FoundModel:
    """Make a model's directory as `into/<model>`, where a container finds it as `baked`.

    Raises:
        ModelUnavailable: no source had it.
    """
    staging_dir = into / ".baking"
    sources = replace(roots, baked=staging_dir, caches=(staging_dir,))
    try:
        found = find_model(model, roots=sources, precision=precision, tools=tools, policy=policy)
        if found.source == "shipped":
            return found
        target = into / found.directory.name
        copies.publish(found.directory, target)
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)
    return replace(found, directory=target)


def bake_recogniser(name: str, into: Path, *, roots: WeightRoots, tools: Tools | None = None) -> Path:
    """Make a recogniser's directory as `into/<name>`.

    Raises:
        ModelUnavailable: no source had it.
    """
    staging_dir = into / ".baking"
    try:
        found = find_recogniser(name, roots=replace(roots, baked=staging_dir, caches=(staging_dir,)), tools=tools)
        if found.directory is None:
            raise ModelUnavailable("; ".join(found.notes))
        target = into / name
        files.remove_tree(target)
        shutil.copytree(found.directory, target)  # from a hub cache: copies the files, not the links
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)
    return target


def main(arguments: list[str]) -> int:
    """Run the command line `MODEL DIRECTORY` and return the exit code.

    F5_PINS and F5_ALLOW_UNPINNED count as they do at a worker's start.
    """
    model, into = arguments
    roots = WeightRoots.from_environment(os.environ, models_dir=Path(into), cache_dir=Path(into))
    try:
        if model in recognisers():
            print(bake_recogniser(model, Path(into), roots=roots))
            return 0
        policy = PinPolicy.from_settings(
            os.environ.get("F5_PINS", ""), os.environ.get("F5_ALLOW_UNPINNED", "").strip().lower() in TRUE
        )
        found = bake(model, Path(into), roots=roots, policy=policy)
    except (ModelUnavailable, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for note in found.notes:
        print(note)
    print(f"{found.directory}: {model} from {found.source}, revision {found.revision}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
