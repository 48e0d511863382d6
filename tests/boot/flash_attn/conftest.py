"""Fixtures of the flash-attn tests."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn import install
from tests.boot.flash_attn.release_server import Releases, serve
from tests.boot.flash_attn.support import site_packages


@pytest.fixture(scope="module")
def server() -> Iterator[Releases]:
    with serve() as releases:
        yield releases


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a separate environment, with the pip of this one."""
    home = tmp_path_factory.mktemp("scratch")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    if (pip := importlib.util.find_spec("pip")) is not None:
        (site_packages(home) / "pip.pth").write_text(str(Path(str(pip.origin)).parents[1]))
    return home / "bin" / "python"


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unzip instead of running pip, which takes 0.7 s each time, in tests that are not about pip."""

    def unpack(wheel: Path, staging_dir: Path, *_: object) -> None:
        zipfile.ZipFile(wheel).extractall(staging_dir / "site")

    monkeypatch.setattr(install, "_pip", unpack)
