"""The state of the server: ping, health, metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from f5_worker.boot.report import REPORT_VARIABLE, BootReport, add_phases
from f5_worker.engine.engine import Engine
from f5_worker.engine.group import EngineGroup
from f5_worker.engine.types import Segment
from f5_worker.errors import GpuLost
from f5_worker.synthesis.context import Worker
from tests.conftest import ToneDevice
from tests.http.conftest import running
from tests.http.routes.test_native import SPEECH


def samples(client: httpx2.Client) -> dict[tuple[str, str], float]:
    """The value of each metric, by its name and its labels' values."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, " ".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_lost_device_is_said_to_load_balancers_and_callers(client: httpx2.Client, device: ToneDevice) -> None:
    def fail(segment: Segment, step: int) -> None:
        raise GpuLost("the device was lost; the worker restarts")

    assert client.get("/ping").status_code == client.head("/ping").status_code == 200
    device.before = fail
    for _ in range(2):
        lost = client.post("/v1/synthesize", json=SPEECH)
        assert (lost.status_code, lost.json()["error"]["code"]) == (503, "GPU_LOST")
    assert client.get("/ping").status_code == 503


def test_health_is_the_action(client: httpx2.Client) -> None:
    health = client.get("/health").json()
    assert (health["status"], health["model"]) == ("ok", "tones")


def test_metrics_tell_how_long_each_phase_of_the_start_took(
    client: httpx2.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPORT_VARIABLE, str(tmp_path / "boot.json"))
    BootReport("1", phases_ms={"probe": 2_000.0}).write(tmp_path / "boot.json")
    add_phases({"torch": 1_500.0})  # the server is up before the model is loaded
    found = samples(client)
    assert (found["f5_boot_phase_seconds", "probe"], found["f5_boot_phase_seconds", "torch"]) == (2.0, 1.5)


def test_metrics_count_what_happened(client: httpx2.Client, until: Callable[[Callable[[], bool]], None]) -> None:
    client.post("/v1/synthesize", json=SPEECH)
    client.post("/v1/synthesize", json=SPEECH, headers={"Accept": "audio/*"})
    client.post("/v1/synthesize", json=SPEECH | {"voice": "nowhere"})
    client.get("/v1/nothing")
    until(lambda: ("f5_http_requests_total", "GET none 404") in samples(client))  # counted after it was answered
    found = samples(client)
    assert found["f5_http_requests_total", "POST /v1/synthesize 200"] == 2
    assert found["f5_http_requests_total", "POST /v1/synthesize 404"] == 1
    assert found["f5_errors_total", "UNKNOWN_VOICE"] == 1
    assert found["f5_first_audio_seconds_count", ""] == 1
    assert found["f5_job_seconds_count", ""] == found["f5_real_time_factor_count", ""] == 2
    assert found["f5_audio_seconds_total", ""] == pytest.approx(2 * 1.9, abs=1.0)
    assert found["f5_engine_forwards_total", "0"] == 8
    assert found["f5_engine_segments_total", "0"] == 8
    assert 0 < found["f5_engine_frames_total", "0"] / 8 < found["f5_engine_frames_max", "0"]
    assert found["f5_engine_busy_seconds_total", "0"] > 0
    assert found["process_cpu_seconds_total", ""] > 0
    assert all(found["f5_cpu_seconds_total", stage] > 0 for stage in ("text", "reference", "encode"))
    assert found["f5_reference_cache_total", "voices yes"] == found["f5_reference_cache_total", "voices no"] == 1
    assert found["f5_jobs_running", ""] == found["f5_jobs_waiting", ""] == 0
    assert found["f5_ready", ""] == 1
    assert ("f5_device_bytes", "0") not in found


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_errors_of_a_batchs_items_are_counted(client: httpx2.Client, accept: str) -> None:
    batch = {"items": [{"text": "Hello."}, {"text": "Hello.", "voice": "nowhere"}, {"text": "..."}, {}]}
    answer = client.post("/v1/batch", json={"defaults": {"voice": "joe"}, **batch}, headers={"Accept": accept})
    assert answer.status_code == 200
    counted = {code: value for (name, code), value in samples(client).items() if name == "f5_errors_total"}
    assert counted == {"UNKNOWN_VOICE": 1, "TEXT_UNSPEAKABLE": 1, "INVALID_INPUT": 1}


def test_each_device_is_told(worker: Worker, device: ToneDevice) -> None:
    other, device.device_bytes = ToneDevice(), (3, 80)
    other.device, other.device_bytes = "another one", (4, 90)
    device.replicas = [other]
    engines = EngineGroup([*worker.engine.engines, Engine(other, worker.settings.batch_frames)])
    with (
        running(dataclasses.replace(worker, engine=engines)) as server,
        httpx2.Client(base_url=server.url, timeout=30) as client,
    ):
        client.post("/v1/synthesize", json=SPEECH | {"text": "This is said. " * 40})
        health, found = client.get("/health").json(), samples(client)
    engines.close()
    assert (health["device"], health["devices"]) == ("cpu", ["cpu", "another one"])
    assert [found["f5_device_reserved_bytes", label] for label in "01"] == [3, 4]
    assert [found["f5_device_bytes", label] for label in "01"] == [80, 90]
    steps = [found["f5_engine_segments_total", label] for label in "01"]
    assert min(steps) > 0
    assert sum(steps) == sum(segment.nfe for segment in [*device.segments, *other.segments])
