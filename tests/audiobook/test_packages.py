"""The group `book` of pyproject.toml: all that scripts/book.py imports, and what a machine without it is told."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.audiobook.endpoint import Endpoint
from tests.conftest import ROOT

# Runs the command as if nothing but the packages named first, and what they require, were installed.
PROGRAM = """
import sys
from tests.used_packages import OnlyThese, requirements_of
sys.meta_path.insert(0, OnlyThese(requirements_of(sys.argv[1].split(","))))
sys.argv[1:] = sys.argv[2:]
import runpy
runpy.run_path("scripts/book.py", run_name="__main__")
"""
MARKDOWN = "# Café\n\nA text that is not in UTF-8 but as old editors wrote it, déjà vu, très bien.\n"


def run(packages: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, ",".join(packages), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_group_has_all_that_is_imported(endpoint: Endpoint, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = [re.split("==", entry)[0] for entry in project["dependency-groups"]["book"]]
    book = tmp_path / "book.md"
    book.write_bytes(MARKDOWN.encode("cp1252"))
    arguments = [str(book), "--voice", "ann", "--endpoint", "ep", "--captions", "--chapters", str(tmp_path / "parts")]
    done = run(packages, *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "book.m4b").exists()
    assert "1 Café.mp3" in [path.name for path in (tmp_path / "parts").iterdir()]
    without = run([package for package in packages if package != "lxml"], *arguments)
    assert (without.returncode, without.stderr) == (1, "book: lxml is not installed; pip install --group book\n")
