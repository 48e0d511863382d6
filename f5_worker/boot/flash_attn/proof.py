"""What verification said about a flash-attn, kept for later starts; and verification while the handler loads.

A proof is for one build on one kind of machine: GPU, driver, torch, interpreter. Where there is none yet, boot hides
the package from the handler, whose loading need not wait: the handler runs `DeferredProof` beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f5_worker.boot.flash_attn import verify
from f5_worker.boot.flash_attn.verify import Verification, without_overlay
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.log import logger
from f5_worker.storage import files

VERIFIED_TTL_S = 30 * 86_400.0
REJECTED_TTL_S = 7 * 86_400.0
HASHED_BYTES = 1 << 20  # larger files are identified by their size and their ends
END_BYTES = 1 << 16
MODULES = ("flash_attn", "flash_attn_2_cuda")


@dataclass(frozen=True)
class Proof:
    """The result of a verification in a directory that all workers share; `key` names build and kind of machine."""

    directory: Path
    key: str

    @classmethod
    def of(cls, location: Path, facts: ProbeResult, program: Path, directory: Path) -> Proof:
        """Return the proof of the flash-attn in `location` on this machine by `program`.

        Raises:
            OSError: its files cannot be read.
        """
        machine = [facts.python, facts.torch, facts.torch_git, facts.driver, [device.name for device in facts.devices]]
        text = json.dumps([machine, _identity(location), files.sha256_of(program)])
        return cls(directory, hashlib.sha256(text.encode()).hexdigest()[:16])

    def earlier(self) -> Verification | None:
        """Return what an earlier verification said, or None if there is none that still counts."""
        if version := self._notes.get(f"{self.key}.verified"):
            return Verification(True, None, version, None, "", earlier=True)
        if error := self._notes.get(f"{self.key}.rejected"):
            return Verification(False, error, None, "build", "", earlier=True)
        return None

    def keep(self, verification: Verification) -> None:
        """Keep a result for the next starts, unless it is the machine's fault and may be another one there."""
        with suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True)
        if verification.ok:
            self._notes.put(f"{self.key}.verified", str(verification.version), VERIFIED_TTL_S)
        elif verification.blame == "build":
            self._notes.put(f"{self.key}.rejected", str(verification.error), REJECTED_TTL_S)

    @property
    def _notes(self) -> files.ExpiringNotes:
        return files.ExpiringNotes(self.directory)


@dataclass(frozen=True)
class DeferredProof:
    """A verification that boot left to the handler; the boot report carries it there.

    Attributes:
        directory, key: where the result is kept.
        mask: the directory on PYTHONPATH by which boot hides the package.
    """

    directory: str
    key: str
    mask: str

    @classmethod
    def from_report(cls, report: Mapping[str, Any] | None) -> DeferredProof | None:
        """Return the one in a boot report, if there is one."""
        found = ((report or {}).get("flash_attn") or {}).get("deferred")
        return cls(**found) if found else None

    def run(self, program: Path = verify.PROGRAM) -> bool:
        """Verify the hidden flash-attn in a new process; let this process import it only if it passed."""
        verification = verify.verify(program=program, environ=without_overlay(Path(self.mask), os.environ))
        Proof(Path(self.directory), self.key).keep(verification)
        if not verification.ok:
            logger.warning("flash-attn is not used: %s", verification.error)
            return False
        logger.info("flash-attn %s passed verification", verification.version)
        for name in MODULES:
            if name in sys.modules and sys.modules[name] is None:
                del sys.modules[name]
        return True


def _identity(location: Path) -> list[list[str]]:
    """Return names and digests of the files that an import of flash_attn loads, and of the list of all others."""
    found = [*location.glob("flash_attn/*.py"), *location.glob("flash_attn_2_cuda*.so")]
    found += location.glob("flash_attn-*.dist-info/RECORD")
    return [[str(path.relative_to(location)), _digest(path)] for path in sorted(found)]


def _digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= HASHED_BYTES:
        return files.sha256_of(path)
    with path.open("rb") as file:
        begin = file.read(END_BYTES)
        file.seek(-END_BYTES, os.SEEK_END)
        return hashlib.sha256(f"{size} ".encode() + begin + file.read()).hexdigest()
