"""Fixtures of the flash-attn tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn import install


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unzip instead of running pip, which takes 0.7 s each time, in tests that are not about pip."""

    def unpack(wheel: Path, staging_dir: Path, *_: object) -> None:
        zipfile.ZipFile(wheel).extractall(staging_dir / "site")

    monkeypatch.setattr(install, "_pip", unpack)
