"""What `make` says on a machine that lacks a Python: one line, with the command that installs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.fresh_machine import HINT, outcome
from f5_worker.settings import REPOSITORY


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def python(path: Path, minor: int, *, ensurepip: bool = True) -> None:
    """This Python, saying that it is another, with or without what Debian packages apart."""
    hidden = "" if ensurepip else "sys.modules['ensurepip'] = None; "
    pretend = f"import sys; sys.version_info = (3, {minor}, 4); {hidden}"
    program(path, f'[ "$1" = -c ] || exec echo made "$3" by "$0"\nexec {sys.executable} -c "{pretend}$2"')


def venv(bin_directory: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and all that the script prints where nothing else is installed."""
    for tool in ("sh", "echo"):
        shutil.copy2(f"/bin/{tool}", bin_directory)
    done = subprocess.run(
        ["/bin/sh", str(REPOSITORY / "scripts" / "venv.sh"), ".venv", *arguments],
        env={"PATH": str(bin_directory)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def named(said: str) -> str:
    """The packages that bench/fresh_machine.py would install."""
    hint = HINT.search(said)
    assert hint, said
    return hint[1]


@pytest.mark.parametrize(
    ("minors", "chosen"),
    [([11], "python3.11"), ([13, 12], "python3.12"), ([11, 12, 13], "python3.11"), ([9, 13], "python3.13")],
)
def test_the_oldest_python_that_fits_is_taken(tmp_path: Path, minors: Sequence[int], chosen: str) -> None:
    for minor in minors:
        python(tmp_path / f"python3.{minor}", minor)
    python(tmp_path / "python3", minors[0])
    assert venv(tmp_path) == (0, f"made .venv by {tmp_path / chosen}\n")


def test_a_python_that_is_named_is_taken(tmp_path: Path) -> None:
    python(tmp_path / "python3.11", 11)
    python(tmp_path / "mine", 12)
    assert venv(tmp_path, str(tmp_path / "mine")) == (0, f"made .venv by {tmp_path / 'mine'}\n")
    python(tmp_path / "mine", 10)
    code, said = venv(tmp_path, str(tmp_path / "mine"))
    assert code == 1
    assert said.startswith(f"make: Python 3.11 to 3.13 is needed, {tmp_path / 'mine'} is 3.10")


def test_no_python(tmp_path: Path) -> None:
    said = "make: Python 3.11 to 3.13 is missing; as root: apt-get install python3 python3-venv\n"
    assert venv(tmp_path) == (1, said)
    assert named(said) == "python3 python3-venv"


@pytest.mark.parametrize("minor", [10, 14])
def test_another_python(tmp_path: Path, minor: int) -> None:
    python(tmp_path / "python3", minor)
    code, said = venv(tmp_path)
    assert (code, said.count("\n")) == (1, 1)
    assert f"python3 is 3.{minor}, and apt-get has none; name another: make PYTHON=" in said
    program(tmp_path / "apt-cache", '[ "$2" = python3.12-venv ]')
    code, said = venv(tmp_path)
    assert (code, said.count("\n")) == (1, 1)
    assert f"Python 3.11 to 3.13 is needed, python3 is 3.{minor}; " in said
    assert named(said) == "python3.12-venv"


def test_what_the_trial_on_a_bare_machine_installs_is_what_the_line_names() -> None:
    said = "installing ...\nmake: git is missing; as root: apt-get install git\nmake: *** [Makefile:1: x] Error 1\n"
    assert named(said) == "git"
    recipe = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert 'echo "make: git is missing; as root: apt-get install git"; exit 1' in recipe
    assert HINT.search("make: *** [Makefile:105: .venv/bin/uv] Error 1\n") is None


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ("1 failed, 3947 passed, 3 skipped, 35 warnings in 256.56s (0:04:16)\n",
         {"failed": 1, "passed": 3947, "skipped": 3, "warnings": 35}),
        ("===== 7 passed, 2 deselected in 0.52s =====\nold-torch: SKIPPED, no wheels\n5 passed in 1.20s\n",
         {"passed": 12, "deselected": 2, "left_out": ["old-torch: SKIPPED, no wheels"]}),
        ("make: *** Error 1\n", {}),
    ],
)  # fmt: skip
def test_the_outcome_of_a_run_is_read_from_its_lines(said: str, counts: dict[str, object]) -> None:
    assert outcome(said) == counts


def test_no_venv(tmp_path: Path) -> None:
    python(tmp_path / "python3", 13, ensurepip=False)
    said = "make: Python's venv is missing; as root: apt-get install python3.13-venv\n"
    assert venv(tmp_path) == (1, said)
    assert named(said) == "python3.13-venv"
