"""Markers of the boot tests."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROCESS_TESTS = (
    "flash_attn/test_bake", "flash_attn/test_ensure", "flash_attn/test_build", "flash_attn/test_download",
    "flash_attn/test_installed", "flash_attn/test_verify", "probe/test_probe", "weights/test_races",
    "weights/test_weights_child",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that start pip, servers or many processes as `slow`, so that `make fast` leaves them out."""
    for item in items:
        if item.path.is_relative_to(HERE) and str(item.path.relative_to(HERE).with_suffix("")) in PROCESS_TESTS:
            item.add_marker(pytest.mark.slow)
