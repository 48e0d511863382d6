"""Look up the locked packages in a database of vulnerabilities, with pip-audit: `make audit`.

scripts/audit_exceptions.toml lists what is passed over, why, and until when. Exit codes: 0 nothing found, 1 a
vulnerability or an exception that has expired, 3 not or not completely looked up, as where no database can be reached.
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXCEPTIONS = ROOT / "scripts" / "audit_exceptions.toml"
FOUND, NOT_LOOKED_UP = 1, 3
MARKER = re.compile(r"; [^\\\n]*")  # pip-audit passes over what this Python does not need


@dataclass(frozen=True)
class VulnerabilityException:
    """A vulnerability that does not concern this project, until a date."""

    id: str
    until: datetime.date
    reason: str


def read_exceptions(path: Path = EXCEPTIONS) -> list[VulnerabilityException]:
    """Return the exceptions of a file.

    Raises:
        TypeError: an entry lacks a field, or has another.
    """
    return [VulnerabilityException(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["exception"]]


def look_up(lock: Path) -> list[Mapping[str, Any]] | None:
    """Return what pip-audit reports of each package of a lock; None, with one line printed, if it fails."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / lock.name
        path.write_text(MARKER.sub("", lock.read_text(encoding="utf-8")), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json"]
        command += ["--progress-spinner", "off", "--requirement", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        print(f"{lock.name}: could not be looked up: {lines[-1][:300] if lines else 'pip-audit said nothing'}")
        return None
    return packages


def judge(
    packages: Sequence[Mapping[str, Any]], exceptions: Iterable[VulnerabilityException], today: datetime.date
) -> tuple[list[str], int]:
    """Return what to print, each line once, and the exit code.

    Args:
        packages: as `pip-audit --format json` lists them under `dependencies`.
    """
    by_id = {exception.id: exception for exception in exceptions}
    expired = [exception for exception in by_id.values() if exception.until < today]
    problems = [f"expired on {exception.until}: {exception.id} ({exception.reason})" for exception in expired]
    skipped = {package["name"] for package in packages if "skip_reason" in package}
    for package in packages:
        for vulnerability in package.get("vulns", ()):
            names = [vulnerability["id"], *vulnerability["aliases"]]
            if not any(name in by_id for name in names):
                fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
                problems.append(f"{package['name']} {package['version']}: {' '.join(names)}, fixed in {fixed}")
    lines = list(dict.fromkeys(problems))
    if skipped:
        lines.append(f"could not be looked up ({len(skipped)}): {', '.join(sorted(skipped))[:200]}")
    return lines, FOUND if problems else NOT_LOOKED_UP if skipped else 0


def main() -> int:
    """Audit every lock and return the exit code."""
    packages: list[Mapping[str, Any]] = []
    for lock in sorted(ROOT.glob("requirements*.txt")):
        found = look_up(lock)
        if found is None:
            return NOT_LOOKED_UP
        packages += found
    lines, code = judge(packages, read_exceptions(), datetime.datetime.now(datetime.UTC).date())
    print("\n".join(lines) or f"{len(packages)} packages: no known vulnerability that is not an exception")
    return code


if __name__ == "__main__":
    sys.exit(main())
