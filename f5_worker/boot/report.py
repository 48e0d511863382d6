"""The findings and decisions of boot: one JSON line for the log, one file for the handler and `action: "diagnose"`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from f5_worker.boot.user import RunAs
from f5_worker.log import timed
from f5_worker.storage import files

REPORT_VARIABLE = "F5_BOOT_REPORT"
FILE_NAME = "f5-worker-boot.json"


@dataclass
class BootReport:
    """The result of the probe, the decisions with their reasons, and the time of each phase.

    error: a fault that every worker of this endpoint would have; the handler answers each job with it.
    host_fault: a fault of this machine only; the handler reports the machine as unfit, and the worker ends.
    """

    version: str
    error: str | None = None
    host_fault: str | None = None
    problems: list[str] = field(default_factory=list)
    starts: dict[str, Any] | None = None
    user: RunAs | None = None
    allocator: dict[str, Any] | None = None
    facts: dict[str, Any] | None = None
    flash_attn: dict[str, Any] | None = None
    weights: dict[str, Any] | None = None
    extra_models: dict[str, str] | None = None
    recogniser: dict[str, Any] | None = None
    speaker_encoder: str | None = None
    phases_ms: dict[str, float] = field(default_factory=dict)  # and of the handler's, by `add_phases`

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Measure the time of a phase."""
        return timed(self.phases_ms, name)

    @property
    def serves(self) -> bool:
        """Return whether the worker can serve jobs."""
        return not (self.error or self.host_fault)

    @property
    def severity(self) -> int:
        """Return 0 if all is well, 1 if the worker serves but has problems, 2 if it does not serve."""
        if not self.serves:
            return 2
        return 1 if self.problems else 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as the content of the boot report file and of `doctor --json`."""
        return asdict(self)

    def line(self) -> str:
        """Return the report as one line for the log."""
        return "BOOT " + json.dumps(self.to_json(), ensure_ascii=False, separators=(",", ":"))

    def hand_over(self, environ: MutableMapping[str, str]) -> None:
        """Write the report to a file on the container's disk, and name it in the handler's environment."""
        directory = files.temporary_directory()
        environ.setdefault("TMPDIR", str(directory))
        environ[REPORT_VARIABLE] = str(directory / FILE_NAME)
        self.write(directory / FILE_NAME)

    def write(self, path: Path) -> None:
        """Write the report to a file, as JSON."""
        files.write(path, json.dumps(self.to_json()).encode())

    def table(self) -> str:
        """Return the report as text for people: one finding a line, then the problems and errors."""
        facts, flash = self.facts or {}, self.flash_attn or {}
        device = (facts.get("devices") or [{}])[0]
        rows = {
            "user": f"{self.user.uid}: {self.user.reason}" if self.user else None,
            "python": facts.get("python"),
            "torch": facts.get("torch") or facts.get("torch_error"),
            "CUDA of torch": facts.get("cuda"),
            "C++11 ABI": facts.get("abi"),
            "GPU": device.get("name") or facts.get("cuda_error"),
            "capability": device.get("capability"),
            "driver": facts.get("driver"),
            "nvcc": facts.get("nvcc"),
            "glibc": facts.get("glibc"),
            "memory": _gigabytes(facts.get("memory_bytes")),
            "cores": facts.get("cores"),
            "flash-attn": f"{flash.get('decision')}: {flash.get('reason')}" if flash else None,
            "weights": (self.weights or {}).get("reason"),
            "extra models": ", ".join(self.extra_models) if self.extra_models else None,
            "recogniser": _recogniser_row(self.recogniser),
            "speaker model": self.speaker_encoder,
        }
        lines = [f"{name:<14} {value}" for name, value in rows.items() if value is not None]
        lines += [_path_row(path) for path in facts.get("paths", ())]
        lines += _start_rows(self.starts)
        lines += [f"{'problem':<14} {problem}" for problem in self.problems]
        lines += [f"{kind:<14} {text}" for kind, text in (("ERROR", self.error), ("HOST", self.host_fault)) if text]
        return "\n".join(lines)


def read_report(environ: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """Return the report of the boot that started this process, or None if there was no boot."""
    path = environ.get(REPORT_VARIABLE)
    if not path:
        return None
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report


def add_phases(phases_ms: Mapping[str, float], environ: Mapping[str, str] = os.environ) -> None:
    """Add what the handler measured of its start to the report of the boot that started it, if there was one."""
    report = read_report(environ)
    if report is not None:
        report["phases_ms"] = {**report.get("phases_ms", {}), **phases_ms}
        with suppress(OSError):
            files.write(Path(environ[REPORT_VARIABLE]), json.dumps(report).encode())


def _recogniser_row(recogniser: Mapping[str, Any] | None) -> str | None:
    if recogniser is None:
        return None
    return f"{recogniser['name']} from {recogniser['source']}" if recogniser["source"] else "none"


def _start_rows(starts: Mapping[str, Any] | None) -> list[str]:
    if starts is None:
        return []
    errors = [f"{'start died':<14} {error['at']}: {error['error']}" for error in starts["errors"]]
    return [f"{'starts':<14} {starts['verdict']}", *errors]


def _gigabytes(size: int | None) -> str | None:
    return f"{size / 2**30:.1f} GiB" if size else None


def _path_row(path: Mapping[str, Any]) -> str:
    state = "writable" if path.get("writable") else f"not writable ({path.get('error')})"
    return f"{'disk':<14} {path.get('path')}: {state}, {_gigabytes(path.get('free_bytes'))} free"
