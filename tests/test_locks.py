"""The locks: complete, with the hash of each file, in agreement with each other, and without what nothing imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import tomllib

from f5_worker.settings import REPOSITORY
from tests.used_packages import locked

LOCKS = sorted(path.name for path in REPOSITORY.glob("requirements*.txt"))
# Packages of the image's lock that tests.used_packages does not see imported.
USED_OTHERWISE = {
    "hf-xet": "huggingface_hub downloads with it where the hub offers its protocol",
    "psutil": "the SDK measures memory with it before it takes jobs",
}


def test_there_are_six() -> None:
    names = ["", "-grammars", "-local", "-test", "-torch24", "-upstream"]
    assert sorted(f"requirements{name}.txt" for name in names) == LOCKS


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_a_version_and_hashes(lock: str) -> None:
    """With --require-hashes pip and uv install these files and no others."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    entries = [line.split() for line in text.splitlines() if line.strip()]
    assert len(entries) == len(locked(REPOSITORY / lock)) > 0
    for requirement, *rest in entries:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+]+", requirement)
        hashes = [word for word in rest if word.startswith("--hash=")]
        assert hashes, requirement
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in hashes), requirement


def test_the_locks_agree() -> None:
    """What is tested is what is served: the same versions, except for the torch of the image in one."""
    serving = locked(REPOSITORY / "requirements.txt")
    for lock in ("requirements-local.txt", "requirements-test.txt", "requirements-torch24.txt"):
        other = locked(REPOSITORY / lock)
        assert {name: other.get(name) for name in serving} == serving, lock
    assert locked(REPOSITORY / "requirements-torch24.txt")["torch"].startswith("2.4.")


def test_each_direct_dependency_is_locked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    names = {re.split(r"[^\w-]", entry)[0].replace("_", "-") for entry in project["project"]["dependencies"]}
    assert names - set(locked(REPOSITORY / "requirements.txt")) == {"numpy"}  # the image has one
    assert not {*project["tool"]["uv"]["exclude-dependencies"]} & set(locked(REPOSITORY / "requirements-test.txt"))


def test_everything_is_installed_by_hash() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    installs = [line for line in makefile.splitlines() if "pip install" in line and " -r " in line]
    assert len(installs) == 4
    assert all("$(LOCKED)" in line for line in installs)
    assert "LOCKED := --no-deps --require-hashes" in makefile


@pytest.mark.slow
def test_the_lock_of_the_image_has_what_the_worker_imports_and_no_more() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.used_packages", "requirements.txt"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, env={"RUNPOD_DEBUG_LEVEL": "INFO"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"missing": [], "unused": sorted(USED_OTHERWISE)}
