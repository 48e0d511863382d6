"""The user that the worker continues as. Tests of what root does need root, as CI has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from f5_worker.boot.user import WORKER_ID, RunAs, choose_user
from f5_worker.settings import REPOSITORY
from f5_worker.storage.files import temporary_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def disk() -> Iterator[Path]:
    """A directory that all may enter, as pytest's own is not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def environ(disk: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings whose directories the user may write to, and a directory for temporary files."""
    (disk / "tmp").mkdir()
    (disk / "tmp").chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(disk / "tmp"))
    monkeypatch.setenv("TMPDIR", str(disk / "tmp"))
    names = {"F5_CACHE_DIR": "cache", "F5_OVERLAY_DIR": "overlay", "F5_VOICES_DIR": "voices", "F5_MODELS_DIR": "models"}
    for name in names.values():
        (disk / name).mkdir()
        os.chown(disk / name, WORKER_ID, WORKER_ID)
    return {"HOME": str(disk)} | {variable: str(disk / name) for variable, name in names.items()}


@as_root
def test_root_is_left_where_the_user_may_do_the_same(environ: dict[str, str]) -> None:
    before = os.getresuid(), os.getresgid(), os.getgroups()
    assert choose_user(environ) == RunAs(WORKER_ID, "root is not needed")
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before


@as_root
@pytest.mark.parametrize("variable", ["F5_CACHE_DIR", "F5_OVERLAY_DIR", "F5_VOICES_DIR"])
def test_root_stays_where_only_root_may_write(environ: dict[str, str], variable: str) -> None:
    os.chown(environ[variable], 0, 0)
    assert choose_user(environ) == RunAs(0, f"only root may write {environ[variable]}")


@as_root
def test_a_directory_that_is_not_there_yet_is_judged_by_the_one_above(environ: dict[str, str], disk: Path) -> None:
    environ["F5_SAVE_DIR"] = str(disk / "new" / "results")
    assert choose_user(environ) == RunAs(0, f"only root may write {disk}")
    os.chown(disk, WORKER_ID, WORKER_ID)
    assert choose_user(environ).uid == WORKER_ID


@as_root
def test_what_a_worker_that_ran_as_root_left_counts(environ: dict[str, str], disk: Path) -> None:
    (disk / "voices" / "by-key").mkdir()
    assert choose_user(environ) == RunAs(0, f"only root may write {disk / 'voices' / 'by-key'}")


@as_root
def test_files_of_an_earlier_start_in_the_container_count(environ: dict[str, str]) -> None:
    path = temporary_directory() / "f5-worker-alive"
    path.touch(0o644)
    assert choose_user(environ) == RunAs(0, f"only root may write {path}")


@as_root
def test_a_model_that_only_root_may_read_counts(environ: dict[str, str], disk: Path) -> None:
    weights = disk / "mine" / "model.safetensors"
    weights.parent.mkdir()
    weights.touch(0o644)
    environ["F5_MODEL"] = str(weights.parent)
    assert choose_user(environ).uid == WORKER_ID
    weights.chmod(0o600)
    assert choose_user(environ) == RunAs(0, f"only root may read {weights}")


@as_root
@pytest.mark.parametrize("variable", ["HOME", "HF_HOME", "HF_HUB_CACHE"])
def test_a_checkpoint_in_a_cache_that_only_root_may_enter_counts(
    environ: dict[str, str], disk: Path, variable: str
) -> None:
    """Such as root's own, which `docker run -v ~/.cache/huggingface:/root/.cache/huggingface` fills."""
    home = disk / "root"
    hub = home / {"HOME": ".cache/huggingface/hub", "HF_HOME": "hub", "HF_HUB_CACHE": ""}[variable]
    hub.mkdir(parents=True)
    home.chmod(0o700)
    environ |= {"HOME": "/nonexistent", variable: str(home)}
    assert choose_user(environ).uid == WORKER_ID
    (hub / "models--SWivid--F5-TTS").mkdir()
    assert choose_user(environ) == RunAs(0, f"only root may read {hub / 'models--SWivid--F5-TTS'}")


@as_root
def test_pronunciations_that_only_root_may_read_count(environ: dict[str, str], disk: Path) -> None:
    environ["F5_PRONUNCIATIONS"] = str(disk / "pronunciations.json")
    assert choose_user(environ).uid == WORKER_ID
    (disk / "pronunciations.json").touch(0o600)
    assert choose_user(environ) == RunAs(0, f"only root may read {disk / 'pronunciations.json'}")


@as_root
def test_root_stays_for_a_port_that_only_root_may_listen_on(
    environ: dict[str, str], disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port of load-balancing endpoints is 80."""
    monkeypatch.setattr("f5_worker.boot.user.FIRST_PORT", disk / "first")
    (disk / "first").write_text("1024\n")
    assert choose_user(environ | {"PORT": "80"}) == RunAs(0, "only root may listen on port 80")
    assert choose_user(environ | {"PORT": "8000", "PORT_HEALTH": "81"}).reason.endswith("port 81")
    (disk / "first").write_text("0\n")
    assert choose_user(environ | {"PORT": "80"}).uid == WORKER_ID


@as_root
def test_root_can_be_asked_for(environ: dict[str, str]) -> None:
    assert choose_user(environ | {"F5_USER": "root"}) == RunAs(0, "F5_USER=root")


@as_root
def test_faulty_settings_are_left_to_boot() -> None:
    assert choose_user({"F5_CONCURRENCY": "many"}).uid in (0, WORKER_ID)


@as_root
def test_the_change_is_for_good_and_for_programs_too(environ: dict[str, str]) -> None:
    program = (
        "import json, os, subprocess; from f5_worker.boot.user import leave_root\n"
        "leave_root(os.environ)\n"
        "child = subprocess.run(['id', '-u'], capture_output=True, text=True)\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    back = False\nelse:\n    back = True\n"
        "print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), child.stdout, os.environ['HOME'], back,"
        " len(os.listdir('/proc/self/fd')) > 0]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environ, cwd=REPOSITORY, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    users, groups, further, child, home, back, sees_files = json.loads(done.stdout)
    assert users == groups == [WORKER_ID] * 3
    assert (further, child.strip(), back, sees_files) == ([], str(WORKER_ID), False, True)
    assert home != "/root"


def test_a_container_that_was_started_as_a_user_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert choose_user({}) == RunAs(1234, "the container was started as this user")
