"""How a worker starts and ends, and RunPod's local API: each test has a worker of its own."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile

from f5_worker.boot.report import BootReport
from tests.boot.probe.planted import plant_torch
from tests.e2e.conftest import StartRig
from tests.e2e.fake_api import FakeApi
from tests.e2e.worker_process import START_S, WorkerProcess, free_port
from tests.models.cuda.fake_driver import compile_driver

pytestmark = pytest.mark.e2e

JOB = {"text": "The ferry waits for nobody.", "voice": "joe", "nfe_step": 12, "seed": 5}
SIGTERM_EXIT = 128 + 15


def test_sigterm_while_working_loses_no_result(start_rig: StartRig) -> None:
    rig = start_rig()
    rig.worker.ready()
    job_id = rig.api.submit(JOB)
    # Not before the SDK has begun it: one still in its queue may be dropped (rp_scale.py `run_jobs`).
    rig.worker.wait_for_line(job_id, "Started.")
    assert not rig.api.jobs[job_id].done.is_set()
    rig.worker.terminate(expected=0, timeout=90)
    assert rig.api.wait(job_id, timeout=5)["output"]["audio"]["duration_s"] > 1


def test_sigterm_while_starting_ends_at_once(start_rig: StartRig) -> None:
    rig = start_rig(F5_NO_SETTING="1")
    rig.worker.wait_for_line("F5_NO_SETTING")  # the warning before the model is loaded
    told_at = time.monotonic()
    rig.worker.terminate(expected=SIGTERM_EXIT)
    assert time.monotonic() - told_at < 5
    assert "ready" not in rig.worker.log
    assert rig.api.takes == []


def test_bad_settings_end_it_with_one_line(start_rig: StartRig) -> None:
    rig = start_rig(F5_CONCURRENCY="many", F5_JOB_TIMEOUT_S="0")
    assert rig.worker.wait() == 1
    assert [line for line in rig.worker.lines if "SETTINGS_INVALID" in line] == [rig.worker.lines[-1]]
    assert "F5_CONCURRENCY" in rig.worker.log
    assert "F5_JOB_TIMEOUT_S" in rig.worker.log
    assert "Traceback" not in rig.worker.log


def test_a_boot_that_failed_is_told_to_every_job(start_rig: StartRig, tmp_path: Path) -> None:
    BootReport("1", error="MODEL_UNAVAILABLE: no weights anywhere").write(tmp_path / "boot.json")
    rig = start_rig(F5_BOOT_REPORT=str(tmp_path / "boot.json"))
    assert rig.run(JOB) == {"error": "BOOT_FAILED: MODEL_UNAVAILABLE: no weights anywhere"}
    assert rig.run({"action": "diagnose"})["output"]["boot"]["error"] == "MODEL_UNAVAILABLE: no weights anywhere"


def test_diagnose_tells_of_the_starts_that_died_before_this_one(tmp_path: Path) -> None:
    """The whole container three times: killed while it loads, with a model that is not there, and as it should be."""
    shared = {"F5_CACHE_DIR": str(tmp_path / "cache"), "F5_OVERLAY_DIR": str(tmp_path / "overlay")}
    boot = ("-u", "model_cache_init.py")
    with FakeApi() as api, WorkerProcess(tmp_path, api, program=boot, overrides=shared) as worker:
        worker.wait_for_line("loading f5-tiny", timeout=START_S)
    missing = shared | {"F5_MODEL": "unknown", "HF_HUB_OFFLINE": "1"}
    with FakeApi() as api, WorkerProcess(tmp_path, api, program=boot, overrides=missing) as worker:
        assert api.wait(api.submit(JOB))["error"].startswith("BOOT_FAILED: MODEL_UNAVAILABLE")
    with FakeApi() as api, WorkerProcess(tmp_path, api, program=boot, overrides=shared) as worker:
        worker.ready()
        starts = api.wait(api.submit({"action": "diagnose"}))["output"]["boot"]["starts"]
        assert starts["verdict"] == (
            "2 of the last 2 starts of the last hour died before they were ready: "
            "ended without an error while the model was loaded, MODEL_UNAVAILABLE"
        )
        assert len(starts["errors"]) == 2
    assert [start["state"] for start in json.loads((tmp_path / "cache" / "starts.json").read_text())] == [
        "loading", "failed", "ready"
    ]  # fmt: skip


def test_a_fault_of_this_machine_is_reported_and_the_worker_leaves(start_rig: StartRig, tmp_path: Path) -> None:
    BootReport("1", host_fault="torch sees no GPU: driver too old").write(tmp_path / "boot.json")
    rig = start_rig(F5_BOOT_REPORT=str(tmp_path / "boot.json"))
    assert rig.worker.wait() == 1
    [report] = [ping for ping in rig.api.pings if ping.get("status") == "unhealthy"]
    assert report["check"] == "host_can_run_the_model"
    assert "driver too old" in report["reason"]
    assert rig.api.takes == []


@pytest.mark.parametrize(
    ("imported", "exit_code", "first", "second"),
    [
        (
            "raise OSError('libcudart.so.12: cannot open shared object file')",
            1,
            "torch cannot be imported: OSError: libcudart.so.12: cannot open shared object file",
            "import torch: OSError: libcudart.so.12: cannot open shared object file",
        ),
        (
            "import os; os.abort()",
            -signal.SIGABRT,
            None,
            "the probe ended while it examined torch: killed by SIGABRT",
        ),
    ],
)
def test_a_torch_that_does_not_import_is_found_though_its_files_are_in_order(
    tmp_path: Path, imported: str, exit_code: int, first: str | None, second: str
) -> None:
    """The first start reads torch's files only. An import that raises it reports itself, any other the next start."""
    plant_torch(tmp_path, imported)
    compile_driver(tmp_path)
    overrides = {
        "F5_CACHE_DIR": str(tmp_path / "cache"),
        "F5_OVERLAY_DIR": str(tmp_path / "overlay"),
        "F5_DEVICE": "auto",
        "RUNPOD_GPU_COUNT": "1",
        "PYTHONPATH": str(tmp_path),
        "LD_LIBRARY_PATH": str(tmp_path),
    }

    def start() -> tuple[Any, int, str | None]:
        """Its boot report, how it ended, and why it told RunPod that the machine is unfit."""
        program = ("-u", "model_cache_init.py")
        with FakeApi() as api, WorkerProcess(tmp_path, api, program=program, overrides=overrides) as worker:
            code = worker.wait()
            (line,) = (line for line in worker.lines if line.startswith("BOOT "))
            reasons = [str(ping["reason"]) for ping in api.pings if ping.get("status") == "unhealthy"]
            assert api.takes == []
            return json.loads(line.removeprefix("BOOT ")), code, "".join(reasons) or None

    boot, code, reason = start()
    assert (boot["facts"]["torch_imported"], boot["host_fault"], code) == (False, None, exit_code)
    assert reason is None if first is None else first in str(reason)
    boot, code, reason = start()
    assert (boot["facts"]["torch_imported"], code) == (True, 1)
    assert boot["host_fault"].startswith(f"torch sees no GPU: {second}")
    assert second in str(reason)


def test_the_local_api_answers(start_worker: Callable[[Sequence[str]], WorkerProcess]) -> None:
    port = free_port()
    worker = start_worker(["--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)])
    worker.ready().wait_for_line("Uvicorn running")
    url = f"http://127.0.0.1:{port}/runsync"

    spoken = post(url, {"input": JOB | {"nfe_step": 4, "format": "flac"}})
    assert spoken["status"] == "COMPLETED"
    audio = spoken["output"]["audio"]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(audio["base64"])))
    assert len(samples) / rate == pytest.approx(audio["duration_s"], abs=0.001)

    refused = post(url, {"input": {"text": 3}})
    assert refused["status"] == "FAILED"
    assert refused["error"].startswith("INVALID_INPUT: ")
    assert post(url, {"input": {"action": "health"}})["output"]["status"] == "ok"

    # It has no key, so it posts nothing to where a caller says.
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        webhook = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        assert post(url, {"input": {"action": "health"}, "webhook": webhook})["status"] == "COMPLETED"
        begun = post(url.removesuffix("sync"), {"input": {"action": "health"}, "webhook": webhook})
        status = post(f"http://127.0.0.1:{port}/status/{begun['id']}", {})
        assert status["output"]["status"] == "ok"
        elsewhere.settimeout(1.0)
        with pytest.raises(TimeoutError):
            elsewhere.accept()

    # A caller that disconnects cancels its job.
    body = json.dumps({"input": JOB | {"text": JOB["text"] * 200, "format": "opus"}}).encode()
    head = f"POST /runsync HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(head.encode() + body)
        worker.wait_for_line(" %")
    worker.wait_for_line("cancelled")
    assert post(url, {"input": JOB | {"nfe_step": 4}})["status"] == "COMPLETED"
    assert post(url, {"input": {"action": "health"}})["output"]["jobs_running"] == 0


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=60) as response:
        return dict(json.load(response))
