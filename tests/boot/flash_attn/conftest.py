"""Fixtures of the flash-attn tests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn import install
from tests.boot.flash_attn.release_server import Releases, serve


@pytest.fixture(scope="module")
def server() -> Iterator[Releases]:
    with serve() as releases:
        yield releases


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unzip instead of running pip, which takes 0.7 s each time, in tests that are not about pip."""

    def unpack(wheel: Path, staging_dir: Path, *_: object) -> None:
        zipfile.ZipFile(wheel).extractall(staging_dir / "site")

    monkeypatch.setattr(install, "_pip", unpack)
