"""Loading: CUDA graphs are captured while the first jobs run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from f5_worker.engine.engine import Engine
from f5_worker.models.f5.runner import F5Runner
from f5_worker.server.startup import tune_in_background


def log_of(capture_graphs: Callable[..., int], caplog: pytest.LogCaptureFixture) -> str:
    engine = Engine(cast(Any, None), 8_192)
    runner = cast(F5Runner, SimpleNamespace(name="extra", tune=lambda run: None, capture_graphs=capture_graphs))
    with caplog.at_level(logging.INFO):
        tune_in_background(runner, engine, limit_s=3.0).join(10)
    engine.close()
    return caplog.text


def test_graphs_are_captured_between_the_steps_of_jobs(caplog: pytest.LogCaptureFixture) -> None:
    def capture_graphs(limit_s: float, run_on_device: Callable[[Callable[[], str]], str]) -> int:
        return 7 if limit_s == 3.0 and run_on_device(lambda: "done") == "done" else 0

    assert "CUDA graphs of 7 sizes are captured for extra" in log_of(capture_graphs, caplog)


def test_an_error_while_capturing_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def capture_graphs(limit_s: float, run_on_device: object) -> int:
        raise RuntimeError("no room for another graph")

    assert "no more CUDA graphs are captured for extra: no room for another graph" in log_of(capture_graphs, caplog)
