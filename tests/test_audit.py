"""What `make audit` concludes from pip-audit's report."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from scripts import audit

TODAY = date(2026, 12, 1)
VULNERABLE = {
    "name": "torch",
    "version": "2.4.1",
    "vulns": [{"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["2.6.0"], "description": ""}],
}
GOOD = {"name": "six", "version": "1.17.0", "vulns": []}
SKIPPED = {"name": "av", "skip_reason": "Dependency not found on PyPI"}


def exception(name: str = "CVE-1", until: date = TODAY) -> audit.VulnerabilityException:
    return audit.VulnerabilityException(name, until, "not called")


@pytest.mark.parametrize(
    ("packages", "exceptions", "lines", "code"),
    [
        ([GOOD], [], [], 0),
        ([GOOD, VULNERABLE, VULNERABLE], [], ["torch 2.4.1: GHSA-1 CVE-1, fixed in 2.6.0"], 1),
        ([GOOD, VULNERABLE], [exception()], [], 0),
        ([GOOD, VULNERABLE], [exception("GHSA-1")], [], 0),
        ([GOOD, VULNERABLE], [exception("CVE-2")], ["torch 2.4.1: GHSA-1 CVE-1, fixed in 2.6.0"], 1),
        ([GOOD], [exception(until=date(2026, 11, 30))], ["expired on 2026-11-30: CVE-1 (not called)"], 1),
        ([GOOD, SKIPPED], [], ["could not be looked up (1): av"], 3),
        (
            [SKIPPED, VULNERABLE],
            [],
            ["torch 2.4.1: GHSA-1 CVE-1, fixed in 2.6.0", "could not be looked up (1): av"],
            1,
        ),
    ],
)
def test_the_verdict(
    packages: list[dict[str, Any]], exceptions: list[audit.VulnerabilityException], lines: list[str], code: int
) -> None:
    assert audit.judge(packages, exceptions, TODAY) == (lines, code)


def test_each_exception_has_a_date_and_a_reason() -> None:
    for entry in audit.read_exceptions():
        assert isinstance(entry.until, date)
        assert len(entry.reason) > 20


def test_without_a_database_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\n ...\nConnectionError: no route\n")

    monkeypatch.setattr(subprocess, "run", fail)
    assert audit.main() == audit.NOT_LOOKED_UP
    assert capsys.readouterr().out == "requirements-grammars.txt: could not be looked up: ConnectionError: no route\n"


def test_packages_that_another_python_needs_are_looked_up_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pip-audit passes over a package whose marker does not hold where it runs."""
    given = []

    def read(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        given.append(Path(command[command.index("--requirement") + 1]).read_text(encoding="utf-8"))
        return subprocess.CompletedProcess(command, 0, '{"dependencies": []}', "")

    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "six==1.17.0 ; python_full_version >= '3.99' \\\n    --hash=sha256:00\nav==1 \\\n    --hash=sha256:01\n"
    )
    monkeypatch.setattr(subprocess, "run", read)
    assert audit.look_up(lock) == []
    assert given == ["six==1.17.0 \\\n    --hash=sha256:00\nav==1 \\\n    --hash=sha256:01\n"]
