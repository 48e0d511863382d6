"""Storage of measurements: `bench/results/<name>.json`, one file for each command, printed too."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def record(name: str, result: Mapping[str, Any], directory: Path = RESULTS, *, quiet: bool = False) -> Path:
    """Write a result with the machine it was measured on; print it unless `quiet`. Return the file's path."""
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    text = json.dumps({**result, **machine}, indent=2)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(text + "\n", encoding="utf-8")
    if not quiet:
        print(text)
    return path


def read(name: str) -> Any:
    """Return a result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def read_all(pattern: str) -> list[Any]:
    """Return the results of one command on several devices, by name: `engine-*`."""
    return [read(path.stem) for path in sorted(RESULTS.glob(f"{pattern}.json"))]
