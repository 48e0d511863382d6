"""A network volume that cannot be read ends the start on this machine; one that is absent or empty does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from f5_worker.boot import volume
from f5_worker.boot.volume import volume_fault
from f5_worker.settings import REPOSITORY


def test_a_volume_that_answers_or_is_absent_is_no_fault(tmp_path: Path) -> None:
    assert volume_fault(tmp_path) is None
    (tmp_path / "file").touch()
    assert volume_fault(tmp_path) is None
    assert volume_fault(tmp_path / "file") is None
    assert volume_fault(tmp_path / "absent") is None


def test_an_error_of_the_disk_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "volume"
    loop.symlink_to(loop)
    assert volume_fault(loop) == "the network volume cannot be read: Too many levels of symbolic links"


def test_a_volume_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "_LOOK", "import time; time.sleep(60)")
    started = time.monotonic()
    assert str(volume_fault(tmp_path, 0.2)).startswith("the network volume cannot be read: no answer within")
    assert time.monotonic() - started < 10


def test_boot_hands_the_fault_to_the_handler_and_looks_at_nothing_more(tmp_path: Path) -> None:
    program = (
        "import sys; from f5_worker.boot import user, volume; import model_cache_init\n"
        "volume.volume_fault = lambda: 'the network volume cannot be read: Stale file handle'\n"
        "user.leave_root = None\n"
        "model_cache_init.main(['run', '--then', sys.executable, '-c',"
        " 'import os; print(open(os.environ[\"F5_BOOT_REPORT\"]).read())'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"TMPDIR": str(tmp_path)}, cwd=REPOSITORY,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    line, read = done.stdout.splitlines()
    assert line.removeprefix("BOOT ") == json.dumps(json.loads(read), separators=(",", ":"))
    report = json.loads(read)
    assert report["host_fault"] == "the network volume cannot be read: Stale file handle"
    assert (report["user"], report["starts"], report["facts"]) == (None, None, None)
