"""Fixtures of the flash-attn tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn import install


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unzip instead of pip, 0.7 s a time, where pip is not what is looked at."""

    def unpack(wheel: Path, room: Path, *_: object) -> None:
        zipfile.ZipFile(wheel).extractall(room / "site")

    monkeypatch.setattr(install, "_pip", unpack)
