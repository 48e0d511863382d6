"""Waiting that takes no time, and an endpoint that speaks tones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.audiobook import worker
from tests.audiobook.endpoint import KEY, Endpoint


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT_S", "MAX_WAIT_S", "FIRST_POLL_S", "MAX_POLL_S"):
        monkeypatch.setattr(worker, name, 0.01)


@pytest.fixture
def endpoint(quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Endpoint() as running:
        monkeypatch.setenv("RUNPOD_ENDPOINT_BASE_URL", f"{running.url}/v2")
        monkeypatch.setenv("RUNPOD_API_KEY", KEY)
        yield running
