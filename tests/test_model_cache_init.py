"""The container's entry point, run as the container runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY

FLASH_ATTN = "flash_attn-2.8.3+cu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"


def run(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("F5_", "PYTORCH_", "RUNPOD_"))}
    mine = {"HOME": str(home), "F5_CACHE_DIR": str(home / "cache"), "F5_OVERLAY_DIR": str(home / "overlay")}
    return subprocess.run(
        [sys.executable, "-u", "model_cache_init.py", *arguments],
        cwd=ROOT,
        env=clean | mine | {"F5_MODEL": "f5-tiny", "HF_HUB_OFFLINE": "1", "F5_ASR_MODEL": "off"} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_resolve_names_the_wheel_of_the_f5_tts_image(tmp_path: Path) -> None:
    environment = "--python 3.11 --torch 2.4.0 --cuda 12.4 --abi false --machine x86_64 --glibc 2.35 --capability 8.9"
    decision = json.loads(run(tmp_path, "resolve", *environment.split()).stdout)
    assert (decision["decision"], decision["filename"]) == ("wheel", FLASH_ATTN)
    assert decision["sha256"].startswith("8c44e8ec")
    assert decision["sha256"].endswith("405a0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_the_next_program_inherits_process_and_environment(tmp_path: Path) -> None:
    program = "import os; print('F5', os.getpid(), os.environ['F5_MODEL_DIR'], os.environ['PYTORCH_CUDA_ALLOC_CONF'])"
    done = run(
        tmp_path, "run", "--then", sys.executable, "-c", program, PYTORCH_CUDA_ALLOC_CONF="'max_split_size_mb:512'"
    )
    boot, printed = done.stdout.splitlines()
    report = json.loads(boot.removeprefix("BOOT "))
    assert report["error"] is None
    assert report["facts"]["torch"]
    assert printed.split()[2:] == [str(TINY), "max_split_size_mb:512"]


@pytest.mark.model
def test_doctors_exit_code_is_the_severity(tmp_path: Path) -> None:
    assert run(tmp_path, "doctor").returncode == 0
    done = run(tmp_path, "doctor", "--json", F5_MODEL="unknown", PYTORCH_CUDA_ALLOC_CONF="ax_split_size_mb:1024")
    assert done.returncode == 2
    report = json.loads(done.stdout)
    assert report["error"].startswith("MODEL_UNAVAILABLE")
    assert any("max_split_size_mb" in problem for problem in report["problems"])
    assert not (tmp_path / "cache").exists()


@pytest.mark.e2e
def test_a_container_that_cannot_serve_answers_every_job_with_the_reason(tmp_path: Path) -> None:
    job = json.dumps({"input": {"text": "Hello.", "voice": "joe"}})
    done = run(tmp_path, F5_MODEL="unknown", RUNPOD_DEBUG_LEVEL="INFO")
    assert "BOOT_FAILED: MODEL_UNAVAILABLE: F5_MODEL='unknown'" in done.stdout + done.stderr, job
