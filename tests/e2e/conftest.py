"""One worker for the tests that do not end it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fake_api import FakeApi
from tests.e2e.worker_process import READY, WorkerProcess


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home directory."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def api() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


@pytest.fixture(scope="module")
def worker(api: FakeApi, home: Path) -> Iterator[WorkerProcess]:
    """Loaded and taking jobs."""
    with WorkerProcess(api.environment(), home) as process:
        process.wait_for(READY)
        yield process
