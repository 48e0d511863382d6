"""The decision about flash-attn at start: keep, download, build or remove it, with the reason.

A matching file name does not suffice (flash-attention #1783), nor does an import: what counts is a forward pass in
a new process, compared with the same in fp32. A flash_attn that fails this is removed before `ensure` returns,
because one that does not load makes `import f5_tts` fail.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from f5_worker.boot.flash_attn import build as source
from f5_worker.boot.flash_attn import download, removal, verify
from f5_worker.boot.flash_attn.install_run import BuildMode, FlashAttnOutcome, InstallRun, Mode, use_sdpa
from f5_worker.boot.flash_attn.obtain import obtain
from f5_worker.boot.flash_attn.proof import DeferredProof
from f5_worker.boot.flash_attn.wheels import WheelManifest, load_manifest, why_not_gpu
from f5_worker.boot.probe.probe import Installed, ProbeResult
from f5_worker.storage import files

LIMITS = download.DownloadLimits()
BUILD_LIMITS = source.BuildLimits()


def ensure(
    facts: ProbeResult,
    *,
    mode: Mode,
    build: BuildMode,
    cache_dir: Path,
    overlay_dir: Path,
    seconds_left: float,
    unused: str | None = None,
    defer: bool = False,
    manifest: WheelManifest | None = None,
    base_url: str | None = None,
    limits: download.DownloadLimits = LIMITS,
    build_limits: source.BuildLimits = BUILD_LIMITS,
    verifier: Path = verify.PROGRAM,
) -> FlashAttnOutcome:
    """Make flash-attn usable, or make sure that it is absent. Never raises for faulty installations or downloads.

    Args:
        cache_dir: for wheels and notes, shared by the workers of an endpoint; created if needed.
        overlay_dir: for installed wheels, of this container only.
        seconds_left: the time until the worker has to be ready. Nothing is started that cannot end before.
        unused: why the settings leave it unused, if they do: then nothing is downloaded.
        defer: an installed one may be hidden from the handler, which verifies it while it loads.
        base_url: another server with the layout of GitHub's releases.
        verifier: the program that verifies a build; takes no argument and prints a result like verify_child.py.
    """
    manifest = manifest or load_manifest()
    run = InstallRun(facts, manifest, cache_dir, overlay_dir, seconds_left, base_url, limits, build_limits, verifier)
    unused = "F5_FLASH_ATTN is off" if mode == "off" else unused
    outcome, removed = None, None
    if facts.flash_attn is not None:
        outcome, removed = _check_installed(run, facts.flash_attn, unused, defer)
    if outcome is None:
        outcome = FlashAttnOutcome("off", "sdpa", unused) if unused else obtain(run, build)
    if removed is not None:
        outcome = _after_removal(outcome, removed)
    elif facts.flash_attn is not None and facts.cuda_available:
        outcome = _hide_unverified(run, outcome)
    return replace(
        outcome,
        attempts=tuple(run.attempts),
        log_tail="" if outcome.backend == "flash_attn" else run.log,
        fatal=mode == "require" and outcome.backend != "flash_attn",
        seconds=round(time.monotonic() - run.started, 3),
    )


def _check_installed(
    run: InstallRun, installed: Installed, unused: str | None, defer: bool
) -> tuple[FlashAttnOutcome | None, removal.Removal | None]:
    """Keep the flash-attn of the image if it is verified, or leave that to the handler; remove it if it is broken.

    Returns:
        the outcome, or None if another one may be obtained; and the removal, if there was one.
    """
    facts = run.facts
    name = f"installed {' '.join(installed.distributions) or 'flash_attn'} {installed.version or ''}".strip()
    error, blame, log = installed.error or "", "build", ""
    if installed.importable is not False:
        if not facts.cuda_available:
            reason = unused or f"it cannot be verified without a GPU: {facts.cuda_error}"
            return FlashAttnOutcome("off" if unused else "sdpa", "sdpa", f"{name} imports; {reason}"), None
        if unused or (unused := why_not_gpu(facts.capability)):
            return FlashAttnOutcome("off", "sdpa", f"{unused}; {name} is not changed"), None
        verification = _verify(run, installed, name, defer)
        if isinstance(verification, FlashAttnOutcome):
            return verification, None
        if verification.ok:
            version, when = verification.version or installed.version, " at an earlier start" * verification.earlier
            return FlashAttnOutcome("kept", "flash_attn", f"{name} passed verification{when}", version), None
        error, blame, log = verification.error or "", verification.blame or "build", verification.log
    run.note(name, error, log)
    if blame == "host":
        return use_sdpa(f"{name} could not be verified: {error}"), None
    if blame == "old":
        return None, None
    removed = removal.remove(installed, overlay_dir=run.overlay_dir, python=facts.executable)
    run.note(name, removed.detail)
    return None, replace(removed, detail=f"{name} is broken ({error}); {removed.detail}")


def _verify(run: InstallRun, installed: Installed, name: str, defer: bool) -> verify.Verification | FlashAttnOutcome:
    """Return what verification says or said about an installed flash-attn, or the outcome that leaves it for later."""
    try:
        proof = run.proof_of(Path(installed.location))
        if not defer or proof.earlier():
            return run.run_verification(proof)
        mask = str(removal.hide(run.overlay_dir, run.facts.executable))
    except OSError as error:
        run.note(name, f"not verified later: {files.explain(error)}")
        return run.run_verification(None)
    deferred = DeferredProof(str(proof.directory), proof.key, mask)
    reason = f"{name} is verified while the model is loaded, and hidden until then"
    return FlashAttnOutcome("deferred", "sdpa", reason, installed.version, overlay=mask, deferred=deferred)


def _hide_unverified(run: InstallRun, outcome: FlashAttnOutcome) -> FlashAttnOutcome:
    """Hide the flash-attn of the image from the handler where it was not verified and is not replaced."""
    if outcome.backend == "flash_attn" or outcome.overlay:
        return outcome
    try:
        mask = removal.hide(run.overlay_dir, run.facts.executable)
    except OSError as error:
        return replace(outcome, reason=f"{outcome.reason}; it could not be hidden: {files.explain(error)}")
    return replace(outcome, overlay=str(mask))


def _after_removal(outcome: FlashAttnOutcome, removed: removal.Removal) -> FlashAttnOutcome:
    """Add the removal to the outcome. An overlay hides what could not be removed; without one, the mask has to."""
    reason = f"{removed.detail}; {outcome.reason}"
    if outcome.backend == "flash_attn" or removed.how == "failed":
        return replace(outcome, reason=reason)
    mask = str(removed.mask) if removed.mask else None
    return replace(outcome, decision=removed.how, reason=reason, overlay=mask)
