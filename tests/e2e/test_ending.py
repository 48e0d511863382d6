"""How a worker ends, and what it refuses to send."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import requests

from tests.e2e.fake_api import FakeApi
from tests.e2e.test_worker import JOB, LONG
from tests.e2e.worker_process import READY, WorkerProcess

pytestmark = pytest.mark.e2e


def test_sigterm_while_working_finishes_and_posts_the_job(api: FakeApi, home: Path) -> None:
    with WorkerProcess(api.environment(), home) as worker:
        worker.wait_for(READY)
        job_id = api.submit(LONG | {"nfe_step": 8})
        worker.wait_for(f'"{job_id}", "message": "  ')
        assert worker.terminate() == 0
        assert "audio" in api.wait(job_id, timeout_s=5)["output"]


def test_sigterm_while_loading_ends_at_once(api: FakeApi, home: Path) -> None:
    with WorkerProcess(api.environment() | {"F5_LOG_LEVEL": "DEBUG"}, home) as worker:
        worker.wait_for("loading")
        begun = time.monotonic()
        assert worker.terminate() == 143
        assert time.monotonic() - begun < 2


def test_an_oversized_result_is_an_error_and_no_lost_job(api: FakeApi, home: Path) -> None:
    with WorkerProcess(api.environment() | {"F5_MAX_REPLY_BYTES": "50000"}, home) as worker:
        worker.wait_for(READY)
        error = api.run(JOB)["error"]
        assert error.startswith("RESULT_TOO_LARGE: the reply is 0.")
        assert "audio" in api.run(JOB | {"format": "opus"})["output"]


def test_bad_settings_end_the_worker_with_one_line(api: FakeApi, home: Path) -> None:
    with WorkerProcess(api.environment() | {"F5_CONCURRENCY": "0", "F5_DEVICE": "tpu"}, home) as worker:
        assert worker.process.wait(30) == 1
        worker.wait_for("SETTINGS_INVALID: F5_DEVICE='tpu' is not accepted (auto | cuda | cpu); F5_CONCURRENCY='0'")
        assert "Traceback" not in worker.log


def test_the_local_api_answers_runsync(home: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port))
    with WorkerProcess({}, home, *arguments) as worker:
        worker.wait_for("Uvicorn running on")
        answer = requests.post(f"http://127.0.0.1:{port}/runsync", json={"input": JOB}, timeout=60).json()
        assert answer["status"] == "COMPLETED"
        assert answer["output"]["audio"]["bytes"] > 10_000
        answer = requests.post(f"http://127.0.0.1:{port}/runsync", json={"input": {"text": "x"}}, timeout=60).json()
        assert answer["status"] == "FAILED"
        assert answer["error"].startswith("INVALID_INPUT: ")
