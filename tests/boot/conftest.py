"""What the tests of boot share."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from f5_worker.boot import install


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unzip instead of pip, 0.7 s a time, where pip is not what is looked at."""

    def unpack(wheel: Path, room: Path, *_: object) -> None:
        zipfile.ZipFile(wheel).extractall(room / "site")

    monkeypatch.setattr(install, "_pip", unpack)


PROCESS_TESTS = ("test_flash_attn", "test_probe", "test_weights_races", "test_weights_child")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start pip, servers or many processes are marked `slow`, and left out of `make fast`."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.stem.startswith(PROCESS_TESTS):
            item.add_marker(pytest.mark.slow)
