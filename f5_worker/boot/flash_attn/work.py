"""What one try for flash-attn is about: the order, the limits, what was tried, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from f5_worker.boot.flash_attn import build, download, verify
from f5_worker.boot.flash_attn.wheels import WheelManifest
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.storage import files as cache

Mode = Literal["auto", "off", "require"]
BuildMode = Literal["auto", "background", "always", "never"]
InstallDecision = Literal["kept", "wheel", "built", "sdpa", "removed", "masked", "off"]

PROOF_S = 30.0  # set aside for the proof when a download or a build is given its time


@dataclass(frozen=True)
class Attempt:
    """One thing tried and what came of it."""

    candidate: str
    result: str


@dataclass(frozen=True)
class FlashAttnOutcome:
    """What the worker goes on with.

    `overlay` has to be first on the PYTHONPATH of the handler; `environment` says how. `fatal` is set where
    flash-attn was required and is not there. `log_tail` is the end of the last pip, build or proof that failed.
    """

    decision: InstallDecision
    backend: Literal["flash_attn", "sdpa"]
    reason: str
    version: str | None = None
    filename: str | None = None
    attempts: tuple[Attempt, ...] = ()
    overlay: str | None = None
    log_tail: str = ""
    fatal: bool = False
    seconds: float = 0.0

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment for the handler; nothing is set in this process."""
        return verify.with_overlay(Path(self.overlay), environ) if self.overlay else dict(environ)


@dataclass
class Work:
    """One call of `ensure`: what was asked for, and what has happened so far."""

    facts: ProbeResult
    manifest: WheelManifest
    cache_dir: Path
    overlay_dir: Path
    seconds: float
    base_url: str | None
    limits: download.DownloadLimits
    build_limits: build.BuildLimits
    proof: Path
    started: float = field(default_factory=time.monotonic)
    attempts: list[Attempt] = field(default_factory=list)
    log: str = ""

    @property
    def left_s(self) -> float:
        return self.started + self.seconds - time.monotonic()

    def note(self, candidate: str, result: str, log: str = "") -> None:
        self.attempts.append(Attempt(candidate, result))
        self.log = log or self.log

    def prove(self, overlay: Path | None = None) -> verify.Proof:
        limit = max(1.0, min(verify.TIMEOUT_S, self.left_s))
        return verify.verify(overlay=overlay, program=self.proof, python=self.facts.executable, timeout_s=limit)

    def open(self, fingerprint: str) -> None:
        """Make the directories; without a usable cache the container's own disk has to do."""
        self.overlay_dir /= fingerprint
        self.overlay_dir.mkdir(parents=True, exist_ok=True)
        shared = self.cache_dir / fingerprint
        try:
            cache.make_usable(shared)
        except OSError as error:
            self.note(f"cache {self.cache_dir}", f"not usable ({cache.explain(error)}); this container's disk is used")
            shared = self.overlay_dir / "cache"
            shared.mkdir(exist_ok=True)
        self.cache_dir = shared
        cache.sweep(self.cache_dir)
        cache.sweep(self.overlay_dir)


def sdpa(reason: str) -> FlashAttnOutcome:
    """torch's own attention, and why."""
    return FlashAttnOutcome("sdpa", "sdpa", reason)
