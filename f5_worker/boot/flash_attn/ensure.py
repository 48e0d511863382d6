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
from f5_worker.boot.flash_attn.wheels import WheelManifest, load_manifest
from f5_worker.boot.probe.probe import ProbeResult

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
    wanted: bool = True,
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
        wanted: whether the engine gains from it on this GPU; if not, `auto` downloads nothing.
        base_url: another server with the layout of GitHub's releases.
        verifier: the program that verifies a build; takes no argument and prints a result like verify_child.py.
    """
    manifest = manifest or load_manifest()
    run = InstallRun(facts, manifest, cache_dir, overlay_dir, seconds_left, base_url, limits, build_limits, verifier)
    outcome, removed = None, None
    if facts.flash_attn is not None:
        outcome, removed = _check_installed(run, mode)
    if outcome is None:
        outcome = _off() if mode == "off" else obtain(run, build, wanted or mode == "require")
    if removed is not None:
        outcome = _after_removal(outcome, removed)
    return replace(
        outcome,
        attempts=tuple(run.attempts),
        log_tail="" if outcome.backend == "flash_attn" else run.log,
        fatal=mode == "require" and outcome.backend != "flash_attn",
        seconds=round(time.monotonic() - run.started, 3),
    )


def _off() -> FlashAttnOutcome:
    return FlashAttnOutcome("off", "sdpa", "F5_FLASH_ATTN is off")


def _check_installed(run: InstallRun, mode: Mode) -> tuple[FlashAttnOutcome | None, removal.Removal | None]:
    """Keep the flash-attn of the image if it is verified, ignore it if it is harmless, remove it if it is broken."""
    installed, facts = run.facts.flash_attn, run.facts
    assert installed is not None  # noqa: S101 - checked by the caller
    name = f"installed {' '.join(installed.distributions) or 'flash_attn'} {installed.version or ''}".strip()
    error, blame, log = installed.error or "", "build", ""
    if installed.importable:
        if mode == "off":
            return FlashAttnOutcome("off", "sdpa", f"F5_FLASH_ATTN is off; {name} imports and is not changed"), None
        if not facts.cuda_available:
            return use_sdpa(f"{name} imports, but cannot be verified without a GPU: {facts.cuda_error}"), None
        verification = run.run_verification()
        if verification.ok:
            version = verification.version or installed.version
            return FlashAttnOutcome("kept", "flash_attn", f"{name} passed verification", version), None
        error, blame, log = verification.error or "", verification.blame or "build", verification.log
    run.note(name, error, log)
    if blame == "host":
        return use_sdpa(f"{name} could not be verified: {error}"), None
    if blame == "old":
        return None, None
    removed = removal.remove(installed, overlay_dir=run.overlay_dir, python=facts.executable)
    run.note(name, removed.detail)
    return None, replace(removed, detail=f"{name} is broken ({error}); {removed.detail}")


def _after_removal(outcome: FlashAttnOutcome, removed: removal.Removal) -> FlashAttnOutcome:
    """Add the removal to the outcome. An overlay hides what could not be removed; without one, the mask has to."""
    reason = f"{removed.detail}; {outcome.reason}"
    if outcome.backend == "flash_attn" or removed.how == "failed":
        return replace(outcome, reason=reason)
    mask = str(removed.mask) if removed.mask else None
    return replace(outcome, decision=removed.how, reason=reason, overlay=mask)
