"""The locks: complete, with the hash of each file, in agreement with each other, and without what nothing imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from f5_worker.settings import REPOSITORY
from tests.used_packages import locked

PYTHONS = ("3.11", "3.12", "3.13")
LOCKS = sorted(path.name for path in REPOSITORY.glob("requirements*.txt"))
# Packages of the image's lock that tests.used_packages does not see imported.
USED_OTHERWISE = {
    "hf-xet": "huggingface_hub downloads with it where the hub offers its protocol",
    "psutil": "the SDK measures memory with it before it takes jobs",
    "websockets": "uvicorn serves WebSockets with it",
}


def test_there_are_six() -> None:
    names = ["", "-grammars", "-local", "-test", "-torch24", "-upstream"]
    assert sorted(f"requirements{name}.txt" for name in names) == LOCKS


def requirements(lock: str) -> list[tuple[Requirement, list[str]]]:
    """What a lock requires, each with its hashes."""
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)
    entries = [line.split(" --hash=") for line in text.replace("\\\n", "").splitlines() if line.strip()]
    return [(Requirement(entry), [value.strip() for value in hashes]) for entry, *hashes in entries]


def here(python: str) -> dict[str, str]:
    """The environment of markers for a Python of this project: CPython on x86-64 Linux."""
    return {
        "python_version": python, "python_full_version": f"{python}.4", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "platform_machine": "x86_64", "platform_system": "Linux",
        "sys_platform": "linux", "os_name": "posix",
    }  # fmt: skip


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_a_version_and_hashes(lock: str) -> None:
    """With --require-hashes pip and uv install these files and no others."""
    found = requirements(lock)
    assert len(found) == len(locked(REPOSITORY / lock)) > 0, "a package has one version, whatever the Python"
    for requirement, hashes in found:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+]+", f"{requirement.name}{requirement.specifier}")
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_nothing_is_for_other_systems_alone(lock: str) -> None:
    """A lock is resolved for all systems; pyproject.toml names what is then to be left out."""
    for requirement, _ in requirements(lock):
        marker = requirement.marker
        assert marker is None or any(marker.evaluate(here(python)) for python in PYTHONS), requirement


def test_the_image_gets_the_same_on_every_python() -> None:
    """So that the bill of materials and the audit need not ask for which one the image was built."""
    for requirement, _ in requirements("requirements.txt"):
        assert requirement.marker is None or all(requirement.marker.evaluate(here(python)) for python in PYTHONS)


def test_the_code_is_checked_for_the_oldest_python() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    allowed = SpecifierSet(project["project"]["requires-python"])
    every = [f"3.{minor}" for minor in range(30)]
    assert tuple(allowed.filter(every)) == PYTHONS
    assert project["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert project["tool"]["ruff"]["target-version"] == "py" + PYTHONS[0].replace(".", "")
    script = (REPOSITORY / "scripts" / "lock.sh").read_text(encoding="utf-8")
    assert f"pip compile -q --universal --python-version {PYTHONS[0]} --fork-strategy fewest " in script
    assert f'has_wheels "{" ".join(PYTHONS)}" requirements.txt\n' in script


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
