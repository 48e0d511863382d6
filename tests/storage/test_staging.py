"""Staging directories: a dead process's is removed at once, a living one's never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from f5_worker.storage import files, staging
from f5_worker.storage.staging import staging_directory, sweep
from tests.conftest import ROOT

FILL = """
import sys, time
from pathlib import Path
from f5_worker.storage.staging import staging_directory
with staging_directory(Path(sys.argv[1])) as made:
    (made.path / "model.safetensors").write_bytes(b"half")
    print(made.path, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def filler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that fills a directory, and the directory, as old as one of a start that takes a while."""
    command = [sys.executable, "-c", FILL, str(tmp_path / "model")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        grow_old(path, staging.MIN_AGE_S + 1)
        yield process, path
        process.kill()


def grow_old(path: Path, age_s: float) -> None:
    os.utime(path, (time.time() - age_s,) * 2)


def test_the_directory_of_a_killed_process_is_removed_at_once(filler: tuple[subprocess.Popen[str], Path]) -> None:
    process, path = filler
    sweep(path.parent)
    assert (path / "model.safetensors").exists(), "its process fills it"
    process.send_signal(signal.SIGKILL)
    process.wait()
    sweep(path.parent)
    assert not path.exists()


def test_the_directory_of_a_living_process_is_kept_however_old(filler: tuple[subprocess.Popen[str], Path]) -> None:
    _, path = filler
    grow_old(path, 7 * 86_400)
    sweep(path.parent)
    assert path.exists()


@pytest.mark.parametrize("kind", ["nfs4", "fuse.mfs", "9p"])
def test_where_locks_may_not_be_seen_the_age_decides(
    kind: str, filler: tuple[subprocess.Popen[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, path = filler
    process.kill()
    process.wait()
    device = path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 {os.major(device)}:{os.minor(device)} / /v rw,noatime shared:1 - {kind} server:/ rw\n")
    monkeypatch.setattr(staging, "MOUNTS", mounts)
    grow_old(path, staging.STALE_S - 60)
    sweep(path.parent)
    assert path.exists(), "a process on another host may fill it"
    grow_old(path, staging.STALE_S + 60)
    sweep(path.parent)
    assert not path.exists()


def test_a_heartbeat_renews_it_and_the_end_removes_it(tmp_path: Path) -> None:
    with staging_directory(tmp_path / "model") as made:
        grow_old(made.path, 3_600)
        made.heartbeat()
        assert files.age_s(made.path) < 60
        (made.path / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_into_place_stays(tmp_path: Path) -> None:
    with staging_directory(tmp_path / "model") as made:
        (made.path / "file").touch()
        made.path.rename(tmp_path / "model")
    sweep(tmp_path)
    assert (tmp_path / "model" / "file").exists()


def test_without_locks_it_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(staging.fcntl, "flock", refuse)
    with staging_directory(tmp_path / "model") as made:
        made.path.rename(tmp_path / "model")
    assert (tmp_path / "model").is_dir()


def test_old_temporary_files_are_swept_with_them(tmp_path: Path) -> None:
    old = tmp_path / f".old{files.TEMPORARY}"
    old.touch()
    grow_old(old, files.STALE_TEMPORARY_S + 60)
    sweep(tmp_path)
    assert not old.exists()
    sweep(tmp_path / "missing")
