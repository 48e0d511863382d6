"""flash-attn proven on this GPU, or absent: keep, fetch, build or remove, and say why.

A file name that fits proves nothing (flash-attention #1783), and an import proves little: what counts is a
forward pass in a fresh process, compared with the same in fp32. What does not pass is gone when this returns,
because a flash_attn that does not load kills `import f5_tts`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from f5_worker.boot.flash_attn import build as source
from f5_worker.boot.flash_attn import download, obtain, removal, verify
from f5_worker.boot.flash_attn.wheels import WheelManifest, load_manifest
from f5_worker.boot.flash_attn.work import Attempt, BuildMode, FlashAttnOutcome, Mode, Work, sdpa
from f5_worker.boot.probe.probe import ProbeResult

__all__ = ["Attempt", "BuildMode", "FlashAttnOutcome", "Mode", "ensure"]

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
    proof: Path = verify.PROGRAM,
) -> FlashAttnOutcome:
    """Make flash-attn usable or make sure that it is absent. Never raises for what it finds or fetches.

    Args:
        cache_dir: for wheels and notes, shared by the workers of an endpoint; made when needed.
        overlay_dir: for installed wheels, of this container.
        seconds_left: until the worker has to be up. Nothing is begun that cannot end before.
        wanted: whether the engine gains from it on this GPU; with `auto`, if not, nothing is fetched.
        base_url: another server with the layout of GitHub's releases.
        proof: the program that proves a build; takes no argument and ends like verify_child.py.
    """
    manifest = manifest or load_manifest()
    work = Work(facts, manifest, cache_dir, overlay_dir, seconds_left, base_url, limits, build_limits, proof)
    outcome, removed = None, None
    if facts.flash_attn is not None:
        outcome, removed = _judge_installed(work, mode)
    if outcome is None:
        outcome = _off() if mode == "off" else obtain.provide(work, build, wanted or mode == "require")
    if removed is not None:
        outcome = _after_removal(outcome, removed)
    return replace(
        outcome,
        attempts=tuple(work.attempts),
        log_tail="" if outcome.backend == "flash_attn" else work.log,
        fatal=mode == "require" and outcome.backend != "flash_attn",
        seconds=round(time.monotonic() - work.started, 3),
    )


def _off() -> FlashAttnOutcome:
    return FlashAttnOutcome("off", "sdpa", "F5_FLASH_ATTN is off")


# -- what the image brought ----------------------------------------------------------------------------


def _judge_installed(work: Work, mode: Mode) -> tuple[FlashAttnOutcome | None, removal.Removal | None]:
    """Keep what is proven, leave what is harmless, remove what is broken."""
    found, facts = work.facts.flash_attn, work.facts
    assert found is not None  # noqa: S101 - the caller asked
    name = f"installed {' '.join(found.distributions) or 'flash_attn'} {found.version or ''}".strip()
    error, blame, log = found.error or "", "build", ""
    if found.importable:
        if mode == "off":
            return FlashAttnOutcome("off", "sdpa", f"F5_FLASH_ATTN is off; {name} imports and is left alone"), None
        if not facts.cuda_available:
            return sdpa(f"{name} imports, but nothing can be proven without a GPU: {facts.cuda_error}"), None
        proof = work.prove()
        if proof.ok:
            version = proof.version or found.version
            return FlashAttnOutcome("kept", "flash_attn", f"{name} passed its proof", version), None
        error, blame, log = proof.error or "", proof.blame or "build", proof.log
    work.note(name, error, log)
    if blame == "host":
        return sdpa(f"{name} could not be proven: {error}"), None
    if blame == "old":
        return None, None
    gone = removal.remove(found, overlay_dir=work.overlay_dir, python=facts.executable)
    work.note(name, gone.detail)
    return None, replace(gone, detail=f"{name} is broken ({error}); {gone.detail}")


def _after_removal(outcome: FlashAttnOutcome, gone: removal.Removal) -> FlashAttnOutcome:
    """An overlay hides what could not be removed; without one the mask has to."""
    reason = f"{gone.detail}; {outcome.reason}"
    if outcome.backend == "flash_attn" or gone.how == "failed":
        return replace(outcome, reason=reason)
    mask = str(gone.mask) if gone.mask else None
    return replace(outcome, decision=gone.how, reason=reason, overlay=mask)
