"""Loading: onto each device, whose CUDA graphs are captured while the first jobs run."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from f5_worker.audio.decode import decode
from f5_worker.audio.encode import encode
from f5_worker.boot.report import REPORT_VARIABLE, BootReport, read_report
from f5_worker.cancellation import JobControl
from f5_worker.engine.engine import Engine
from f5_worker.engine.group import EngineGroup
from f5_worker.errors import HostUnfit
from f5_worker.log import logger
from f5_worker.models import placement
from f5_worker.models.f5.runner import F5Runner
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.server import liveness, startup
from f5_worker.server.startup import load_worker, tune_in_background
from f5_worker.settings import Settings, load_settings
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak
from tests.audio.signals import tone


def tune(runner: SimpleNamespace, *engines: Engine, flash_attn: Future[bool] | None = None) -> None:
    """Tune a model on its devices, and wait until that is done."""
    runner.engine = "own"
    runner.replicas = getattr(runner, "replicas", ())
    for thread in tune_in_background(cast(F5Runner, runner), EngineGroup(engines), 3.0, flash_attn):
        thread.join(10)


def added_flash_attn(verified: Callable[[], bool]) -> list[str]:
    """What is done to a model, in order, when boot has hidden a flash-attn that is verified meanwhile."""
    engine, done = Engine(cast(Any, None), 8_192), list[str]()
    runner = SimpleNamespace(
        name="extra",
        add_flash_attn=lambda: done.append("add"),
        tune=lambda run: done.append("tune"),
        capture_graphs=lambda limit_s, run: 0,
    )
    flash_attn = startup._in_background(verified, "test")
    tune(runner, engine, flash_attn=flash_attn)
    engine.close()
    return done


def test_a_flash_attn_takes_part_in_the_choice_once_it_is_verified() -> None:
    assert added_flash_attn(lambda: True) == ["add", "tune"]
    assert added_flash_attn(lambda: False) == ["tune"]


def test_the_choice_does_not_wait_longer_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "FLASH_ATTN_WAIT_S", 0.2)
    never = threading.Event()
    assert added_flash_attn(never.wait) == ["tune"]
    never.set()
    assert "flash-attn is not used: its verification takes more than" in caplog.text


def log_of(capture_graphs: Callable[..., int], caplog: pytest.LogCaptureFixture) -> str:
    engine = Engine(cast(Any, None), 8_192)
    runner = SimpleNamespace(name="extra", tune=lambda run: None, capture_graphs=capture_graphs)
    with caplog.at_level(logging.INFO):
        tune(runner, engine)
    engine.close()
    return caplog.text


def test_graphs_are_captured_between_the_steps_of_jobs(caplog: pytest.LogCaptureFixture) -> None:
    def capture_graphs(limit_s: float, run_on_device: Callable[[Callable[[], str]], str]) -> int:
        return 7 if limit_s == 3.0 and run_on_device(lambda: "done") == "done" else 0

    assert "CUDA graphs of 7 sizes are captured for extra" in log_of(capture_graphs, caplog)


def test_each_device_measures_after_the_other_and_captures_in_its_own_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engines = [Engine(cast(Any, None), 8_192) for _ in range(2)]
    threads = [engine.run(threading.get_ident) for engine in engines]
    measuring, captured = threading.Lock(), list[tuple[int, int]]()

    def measure(run_on_device: Callable[[Callable[[], None]], None]) -> None:
        assert measuring.acquire(blocking=False)
        run_on_device(lambda: time.sleep(0.05))
        measuring.release()

    def runner(index: int) -> SimpleNamespace:
        def capture(limit_s: float, run_on_device: Callable[[Callable[[], int]], int]) -> int:
            captured.append((index, run_on_device(threading.get_ident)))
            return 0

        return SimpleNamespace(name="extra", tune=measure, capture_graphs=capture)

    first = runner(0)
    first.replicas = [runner(1)]
    tune(first, *engines)
    for engine in engines:
        engine.close()
    assert "it is not measured" not in caplog.text
    assert sorted(captured) == list(enumerate(threads))


def test_an_error_while_measuring_does_not_cost_the_graphs(caplog: pytest.LogCaptureFixture) -> None:
    def fail(run_on_device: object) -> None:
        raise RuntimeError("no room to measure")

    engine = Engine(cast(Any, None), 8_192)
    runner = SimpleNamespace(name="extra", tune=fail, capture_graphs=lambda limit_s, run: 7)
    with caplog.at_level(logging.INFO):
        tune(runner, engine)
    engine.close()
    assert "it is not measured what is fastest for extra: no room to measure" in caplog.text
    assert "CUDA graphs of 7 sizes are captured for extra" in caplog.text


def test_an_error_while_capturing_is_logged_and_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def capture_graphs(limit_s: float, run_on_device: object) -> int:
        raise RuntimeError("no room for another graph")

    assert "no more CUDA graphs are captured for extra: no room for another graph" in log_of(capture_graphs, caplog)


@pytest.mark.parametrize(
    ("environ", "devices", "concurrency"),
    [
        ({}, ["cpu"], 2),
        ({}, ["cuda"], 32),
        ({}, ["cuda:0", "cuda:1"], 64),
        ({"F5_CONCURRENCY": "2"}, ["cuda"], 2),
        ({"F5_CONCURRENCY": "4"}, ["cpu"], 4),
    ],
)
def test_gpus_have_jobs_enough_unless_the_operator_says_how_many(
    environ: dict[str, str], devices: list[str], concurrency: int
) -> None:
    settings = load_settings({"F5_MODEL": "f5-tiny", **environ})
    assert startup._with_concurrency(settings, devices).concurrency == concurrency


def test_what_is_imported_is_not_collected() -> None:
    gc.unfreeze()
    with startup._kept_objects():
        assert not gc.isenabled()
        imported = [object]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1_000
    assert not any(found is imported for found in gc.get_objects())
    gc.unfreeze()
    with pytest.raises(ImportError), startup._kept_objects():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'torch'"), "ModuleNotFoundError: No module named 'torch'"),
        (ImportError("/opt/a/libtorch_cuda.so: undefined symbol: x\nmore"), ": libtorch_cuda.so: undefined symbol: x;"),
        (OSError("libcudart.so.12: cannot open shared object file"), "OSError: libcudart.so.12: cannot open"),
    ],
)
def test_a_torch_that_cannot_be_imported_makes_the_machine_unfit_and_the_log_says_where(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    with pytest.raises(HostUnfit) as raised, startup._unfit_without_torch():
        raise error
    assert f"torch cannot be imported: {type(error).__name__}" in str(raised.value)
    assert told in str(raised.value)
    assert "/opt" not in str(raised.value)
    assert "Traceback" in caplog.text


@pytest.mark.model
def test_the_report_and_the_log_tell_how_long_each_phase_of_a_start_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(liveness, "start", lambda engines: None)
    monkeypatch.setenv(REPORT_VARIABLE, str(tmp_path / "boot.json"))
    BootReport("1", phases_ms={"probe": 1.0}).write(tmp_path / "boot.json")
    with caplog.at_level(logging.INFO):
        worker = load_worker(Settings(model="f5-tiny", device="cpu", asr_model="off"))
    worker.engine.close()
    phases_ms = (read_report() or {})["phases_ms"]
    loading = ["weights_read", "weights_moved", "kernels"]
    assert list(phases_ms) == ["probe", "torch", "devices", *loading, "warm_up", "reader"]
    assert ", ".join(f"{name} {ms:.0f} ms" for name, ms in list(phases_ms.items())[1:]) in caplog.text


@pytest.mark.model
def test_a_worker_of_several_devices_speaks_what_one_of_a_single_device_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)  # restored afterwards
    monkeypatch.setattr(liveness, "start", lambda engines: None)
    settings = Settings(model="f5-tiny", device="cpu", precision="fp32", asr_model="off")
    request = SynthesizeInput.model_validate(
        {"text": "One. [pause:200ms] Two.", "voice": "joe", "seed": 1, "nfe_step": 4, "format": "wav"}
    )
    spoken = []
    for n_devices in (1, 2):
        monkeypatch.setattr(placement, "choose_devices", lambda settings, has_gpu, n=n_devices: ("cpu",) * n)
        worker = load_worker(settings)
        reply = speak(Job(request, worker, JobControl(60)))
        worker.engine.close()
        assert len(worker.engine.engines) == n_devices
        assert all(engine.load.n_segments for engine in worker.engine.engines)
        spoken.append(decode(reply.audio.data or b"", max_bytes=10**9, max_s=3_600).samples)
    np.testing.assert_allclose(spoken[1], spoken[0], atol=2 / 32_768)


@pytest.mark.gpu
def test_a_worker_on_a_gpu_encodes_in_processes_of_their_own() -> None:
    worker = load_worker(load_settings({"F5_MODEL": "f5-tiny", "F5_DEVICE": "cuda"}))
    signal, elsewhere_s = tone(1.0), list[float]()
    assert worker.encoders.encode(signal, "mp3", 24_000, elsewhere_s.append) == encode(signal, "mp3", 24_000)
    assert all(elsewhere_s)
    worker.encoders.close()
    worker.engine.close()


@pytest.mark.parametrize(
    ("devices", "n_cores", "n"),
    [(["cpu"], 16, 0), (["cuda"], 1, 1), (["cuda"], 4, 4), (["cuda"], 64, 8), (["cuda:0", "cuda:1"], 64, 16)],
)
def test_gpus_have_an_encoder_for_each_core(devices: list[str], n_cores: int, n: int) -> None:
    assert startup.n_encoders(devices, n_cores) == n
