"""Waiting that takes no time, and an endpoint that speaks tones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.audiobook import worker
from tests.audiobook.endpoint import Endpoint, running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT_S", "MAX_WAIT_S", "FIRST_POLL_S", "MAX_POLL_S"):
        monkeypatch.setattr(worker, name, 0.01)


@pytest.fixture
def endpoint(quick: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with running(monkeypatch) as endpoint:
        yield endpoint
