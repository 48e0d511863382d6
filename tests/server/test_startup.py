"""Loading: CUDA graphs are captured while the first jobs run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from f5_worker.audio.encode import encode
from f5_worker.engine.engine import Engine
from f5_worker.models.f5.runner import F5Runner
from f5_worker.server import startup
from f5_worker.server.startup import tune_in_background
from f5_worker.settings import load_settings
from tests.audio.signals import tone


def added_flash_attn(verified: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to a model, in order, when boot has hidden a flash-attn that is verified meanwhile."""
    monkeypatch.setattr(startup, "FLASH_ATTN_WAIT_S", 0.2)
    engine, done = Engine(cast(Any, None), 8_192), list[str]()
    runner = SimpleNamespace(
        name="extra",
        add_flash_attn=lambda: done.append("add"),
        tune=lambda run: done.append("tune"),
        capture_graphs=lambda limit_s, run: 0,
    )
    flash_attn = startup._in_background(verified, "test")
    tune_in_background(cast(F5Runner, runner), engine, 3.0, flash_attn).join(10)
    engine.close()
    return done


def test_a_flash_attn_takes_part_in_the_choice_once_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    assert added_flash_attn(lambda: True, monkeypatch) == ["add", "tune"]
    assert added_flash_attn(lambda: False, monkeypatch) == ["tune"]


def test_the_choice_does_not_wait_longer_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    never = threading.Event()
    assert added_flash_attn(never.wait, monkeypatch) == ["tune"]
    never.set()
    assert "flash-attn is not used: its verification takes more than" in caplog.text


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


def test_an_error_while_measuring_does_not_cost_the_graphs(caplog: pytest.LogCaptureFixture) -> None:
    def tune(run_on_device: object) -> None:
        raise RuntimeError("no room to measure")

    engine = Engine(cast(Any, None), 8_192)
    runner = cast(F5Runner, SimpleNamespace(name="extra", tune=tune, capture_graphs=lambda limit_s, run: 7))
    with caplog.at_level(logging.INFO):
        tune_in_background(runner, engine, limit_s=3.0).join(10)
    engine.close()
    assert "it is not measured what is fastest for extra: no room to measure" in caplog.text
    assert "CUDA graphs of 7 sizes are captured for extra" in caplog.text


def test_an_error_while_capturing_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def capture_graphs(limit_s: float, run_on_device: object) -> int:
        raise RuntimeError("no room for another graph")

    assert "no more CUDA graphs are captured for extra: no room for another graph" in log_of(capture_graphs, caplog)


@pytest.mark.parametrize(
    ("environ", "device", "concurrency"),
    [
        ({}, "cpu", 2),
        ({}, "NVIDIA H100", 32),
        ({"F5_CONCURRENCY": "2"}, "NVIDIA H100", 2),
        ({"F5_CONCURRENCY": "4"}, "cpu", 4),
    ],
)
def test_a_gpu_has_jobs_enough_unless_the_operator_says_how_many(
    environ: dict[str, str], device: str, concurrency: int
) -> None:
    settings = load_settings({"F5_MODEL": "f5-tiny", **environ})
    assert startup._with_concurrency(settings, device).concurrency == concurrency


@pytest.mark.gpu
def test_a_worker_on_a_gpu_encodes_in_processes_of_their_own() -> None:
    worker, elsewhere_s = (
        startup.load_worker(load_settings({"F5_MODEL": "f5-tiny", "F5_DEVICE": "cuda"})),
        list[float](),
    )
    signal = tone(1.0)
    assert worker.encoders.encode(signal, "mp3", 24_000, elsewhere_s.append) == encode(signal, "mp3", 24_000)
    assert all(elsewhere_s)
    worker.encoders.close()
    worker.engine.close()


@pytest.mark.parametrize(("device", "cores", "n"), [("cpu", 16.0, 0), ("L4", 0.5, 1), ("L4", 4.0, 4), ("L4", 64.0, 8)])
def test_a_gpu_has_an_encoder_for_each_core(device: str, cores: float, n: int) -> None:
    assert startup.n_encoders(device, cores) == n
