"""The state of one call of `ensure`: its parameters, what was tried, and the outcome."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from f5_worker.boot.flash_attn import build, download, verify
from f5_worker.boot.flash_attn.proof import DeferredProof, Proof
from f5_worker.boot.flash_attn.verify import with_overlay
from f5_worker.boot.flash_attn.wheels import WheelManifest
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.storage import files
from f5_worker.storage.staging import sweep

Mode = Literal["auto", "off", "require"]
BuildMode = Literal["auto", "background", "always", "never"]
InstallDecision = Literal["kept", "deferred", "wheel", "built", "sdpa", "removed", "masked", "off"]

VERIFY_S = 30.0  # reserved for the verification when a download or a build gets its time limit


@dataclass(frozen=True)
class Attempt:
    """One candidate and the result of trying it."""

    candidate: str
    result: str


@dataclass(frozen=True)
class FlashAttnOutcome:
    """The decision about flash-attn, and what it means for the handler.

    `overlay` has to be first on the PYTHONPATH of the handler, see `environment`. `fatal` is set if flash-attn
    was required and is not available. `log_tail` is the end of the last pip, build or verification that failed.
    `deferred` is the verification that the handler runs while it loads.
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
    deferred: DeferredProof | None = None

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for the handler; the environment of this process is not changed."""
        return with_overlay(Path(self.overlay), environ) if self.overlay else dict(environ)


@dataclass
class InstallRun:
    """One call of `ensure`: its parameters, and what has been tried so far."""

    facts: ProbeResult
    manifest: WheelManifest
    cache_dir: Path
    overlay_dir: Path
    limit_s: float
    base_url: str | None
    limits: download.DownloadLimits
    build_limits: build.BuildLimits
    verifier: Path
    started: float = field(default_factory=time.monotonic)
    attempts: list[Attempt] = field(default_factory=list)
    log: str = ""
    proofs_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        """Keep proofs beside the directories of the environments."""
        self.proofs_dir = self.cache_dir / "proofs"

    @property
    def left_s(self) -> float:
        """Return the seconds left until `limit_s`."""
        return self.started + self.limit_s - time.monotonic()

    def note(self, candidate: str, result: str, log: str = "") -> None:
        """Record an attempt; an empty `log` keeps the one before."""
        self.attempts.append(Attempt(candidate, result))
        self.log = log or self.log

    def proof_of(self, location: Path) -> Proof:
        """Return the proof of the flash-attn in a directory, on this machine.

        Raises:
            OSError: its files cannot be read.
        """
        return Proof.of(location, self.facts, self.verifier, self.proofs_dir)

    def run_verification(self, proof: Proof | None, overlay: Path | None = None) -> verify.Verification:
        """Verify the flash-attn in `overlay`, or the installed one, in the time that is left, unless it was before.

        Args:
            proof: None if nothing can be known of earlier starts, or kept for later ones.
        """
        if proof is not None and (earlier := proof.earlier()):
            return earlier
        verification = verify.verify(
            environ=with_overlay(overlay, os.environ) if overlay else os.environ,
            program=self.verifier,
            python=self.facts.executable,
            timeout_s=max(1.0, min(verify.TIMEOUT_S, self.left_s)),
        )
        if proof is not None:
            proof.keep(verification)
        return verification

    def make_directories(self, fingerprint: str) -> None:
        """Create the directories of this environment; if the cache is not usable, use the container's own disk.

        Raises:
            OSError: the overlay directory cannot be created.
        """
        self.overlay_dir /= fingerprint
        self.overlay_dir.mkdir(parents=True, exist_ok=True)
        shared = self.cache_dir / fingerprint
        try:
            files.ensure_writable(shared)
        except OSError as error:
            problem = f"not usable ({files.explain(error)}); the container's own disk is used"
            self.note(f"cache {self.cache_dir}", problem)
            shared = self.overlay_dir / "cache"
            shared.mkdir(exist_ok=True)
        self.cache_dir = shared
        sweep(self.cache_dir)
        sweep(self.overlay_dir)


def use_sdpa(reason: str) -> FlashAttnOutcome:
    """Return the outcome that torch's own attention is used, with the reason."""
    return FlashAttnOutcome("sdpa", "sdpa", reason)
