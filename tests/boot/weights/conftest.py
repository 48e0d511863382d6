"""Fixtures of the tests of weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from f5_worker.boot.weights.weights import WeightRoots


@pytest.fixture
def roots(tmp_path: Path) -> WeightRoots:
    for name in ("shipped", "baked", "hub", "volume", "local"):
        (tmp_path / name).mkdir()
    return WeightRoots(
        shipped=tmp_path / "shipped",
        baked=tmp_path / "baked",
        hub_caches=(tmp_path / "hub",),
        caches=(tmp_path / "volume", tmp_path / "local"),
    )
