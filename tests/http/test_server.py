"""The start of the HTTP server's process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from f5_worker.boot import starts
from f5_worker.boot.starts import StartLog
from f5_worker.errors import ModelUnavailable
from f5_worker.http import server
from f5_worker.http.service import Service
from f5_worker.settings import Settings

UNEXPECTED = "INTERNAL_ERROR: the worker could not be loaded; its log names the place"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelUnavailable("no weights"), "MODEL_UNAVAILABLE: no weights"),
        (
            OSError("/secret/model.safetensors"),
            UNEXPECTED,
        ),
    ],
)
def test_a_worker_that_cannot_be_loaded_has_failed_and_is_counted(
    error: Exception, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_worker(settings: Settings) -> None:
        raise error

    monkeypatch.setattr(server, "load_worker", load_worker)
    monkeypatch.setenv("F5_CACHE_DIR", str(tmp_path))
    boot = {"starts": starts.begin({"F5_CACHE_DIR": str(tmp_path)}, 420.0)}
    service = Service(Settings())
    server._load(service, boot)
    assert service.state == "failed"
    assert service.runner._failure == code
    deadline = time.monotonic() + 5
    while (start := StartLog(tmp_path / starts.FILE).read()[-1]).state != "failed" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert start.error == code
