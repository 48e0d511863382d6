"""Loading: what goes on beside the first jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from f5_worker.engine.engine import Engine
from f5_worker.models.f5.runner import F5Runner
from f5_worker.server.startup import record_beside


def recorded(record: Callable[..., int], caplog: pytest.LogCaptureFixture) -> str:
    engine = Engine(cast(Any, None), 8_192)
    runner = cast(F5Runner, SimpleNamespace(name="pack", record=record))
    with caplog.at_level(logging.INFO):
        record_beside(runner, engine, limit_s=3.0).join(10)
    engine.close()
    return caplog.text


def test_steps_are_recorded_between_those_of_jobs(caplog: pytest.LogCaptureFixture) -> None:
    def record(limit_s: float, on_device: Callable[[Callable[[], str]], str]) -> int:
        return 7 if limit_s == 3.0 and on_device(lambda: "done") == "done" else 0

    assert "7 recordings of pack are ready" in recorded(record, caplog)


def test_a_fault_while_recording_is_told_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def record(limit_s: float, on_device: object) -> int:
        raise RuntimeError("no room for another graph")

    assert "no more of pack is recorded: no room for another graph" in recorded(record, caplog)
