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


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path that the kernel's table has as a mount."""
    path, table = tmp_path / "volume", tmp_path / "mountinfo"
    table.write_text(f"22 1 0:21 / / rw - overlay overlay rw\n36 22 0:44 / {path} rw,relatime - nfs4 host:/share rw\n")
    monkeypatch.setattr(volume, "MOUNTS", table)
    return path


def test_a_volume_that_answers_is_no_fault(mounted: Path) -> None:
    mounted.touch()
    assert volume_fault(mounted) is None
    mounted.unlink()
    mounted.mkdir()
    assert volume_fault(mounted) is None
    (mounted / "file").touch()
    assert volume_fault(mounted) is None


def test_where_none_is_mounted_nothing_looks_for_it(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("f5_worker.process.run", None)
    assert volume_fault(mounted / "elsewhere") is None
    monkeypatch.setattr(volume, "MOUNTS", mounted / "absent")
    assert volume_fault(mounted) is None


def test_an_error_of_the_disk_is_named(mounted: Path) -> None:
    mounted.symlink_to(mounted)
    assert volume_fault(mounted) == "the network volume cannot be read: Too many levels of symbolic links"


def test_a_volume_that_hangs_is_left_behind(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "_LOOK", "import time; time.sleep(60)")
    started = time.monotonic()
    assert str(volume_fault(mounted, 0.2)).startswith("the network volume cannot be read: no answer within")
    assert time.monotonic() - started < 10


DEAD_MOUNT = """
import ctypes, os, sys
from pathlib import Path
from f5_worker.boot.volume import volume_fault
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
libc, path = ctypes.CDLL(None, use_errno=True), os.fsencode(sys.argv[1])
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
if (
    libc.unshare(CLONE_NEWNS)
    or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    or libc.mount(b"dead", path, b"fuse", 0, options)
):
    sys.exit(f"skip: {os.strerror(ctypes.get_errno())}")
print(volume_fault(Path(sys.argv[1]), 0.6))
os.close(device)
print(volume_fault(Path(sys.argv[1]), 10.0))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK), reason="only root can mount")
def test_a_mount_without_a_server_is_a_fault_and_so_is_one_that_lost_it(tmp_path: Path) -> None:
    """A FUSE file system that does not answer, and then is disconnected; in a mount namespace of its own."""
    done = subprocess.run(
        [sys.executable, "-c", DEAD_MOUNT, tmp_path], cwd=REPOSITORY, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    if done.stderr.startswith("skip: "):
        pytest.skip(done.stderr.removeprefix("skip: ").strip())
    assert done.stdout.splitlines() == [
        "the network volume cannot be read: no answer within 1 s",
        "the network volume cannot be read: Transport endpoint is not connected",
    ], done.stderr


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
