"""Gets a flash-attn that passes its proof: from the releases, from the cache, from the source, in this order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from f5_worker.boot.flash_attn import build as source
from f5_worker.boot.flash_attn import download, install
from f5_worker.boot.flash_attn.wheels import Environment, Wheel, estimate_build, fingerprint, resolve, why_no_build
from f5_worker.boot.flash_attn.work import PROOF_S, BuildMode, FlashAttnOutcome, Work, sdpa
from f5_worker.storage import files as cache

REJECTED_TTL_S = 7 * 86_400.0

Get = Callable[[cache.Lease], Path]


def provide(work: Work, mode: BuildMode, wanted: bool) -> FlashAttnOutcome:
    env = work.facts.environment()
    if env is None:
        return sdpa(work.facts.torch_error or "the probe learned too little about torch")
    if not work.facts.cuda_available:
        return sdpa(f"no GPU is usable: {work.facts.cuda_error}" if env.cuda else "torch is built without CUDA")
    answer = resolve(env, work.manifest)
    if answer.decision == "sdpa":
        return sdpa(answer.reason)
    if not wanted:
        return sdpa("the engine gains nothing from flash-attn on this GPU")
    try:
        work.open(fingerprint(env))
    except OSError as error:
        return sdpa(f"the overlay directory cannot be used: {cache.explain(error)}")
    for wheel in answer.candidates if answer.decision == "wheel" else ():
        outcome = _try(work, wheel.filename, partial(_fetch, work, wheel))
        if outcome is not None:
            return replace(outcome, version=outcome.version or wheel.version)
    why = answer.reason if answer.decision == "source" else _summary(work)
    return _build(work, env, mode, why)


def _try(work: Work, filename: str, get: Get) -> FlashAttnOutcome | None:
    """Get, install, prove one build. None: the next one may do; an outcome: that is it."""
    notes, overlay = cache.Notes(work.cache_dir), work.overlay_dir / filename.removesuffix(".whl")
    if reason := notes.get(f"{filename}.rejected"):
        work.note(filename, f"rejected earlier: {reason}")
        return None
    if work.left_s < PROOF_S:
        return sdpa(f"no time is left for {filename}: {max(0.0, work.left_s):.0f} s, {PROOF_S:.0f} s are needed")
    try:
        if not overlay.is_dir():
            _lay(work, filename, overlay, get)
    except download.DownloadFailed as error:
        work.note(filename, str(error))
        return None
    except install.InstallFailed as error:
        work.note(filename, str(error), error.log)
        if error.damaged:
            (work.cache_dir / filename).unlink(missing_ok=True)
        return None
    proof = work.prove(overlay)
    if proof.ok:
        work.note(filename, "passed its proof")
        return FlashAttnOutcome(
            "wheel", "flash_attn", f"{filename} passed its proof", proof.version, filename, (), str(overlay)
        )
    work.note(filename, f"failed its proof: {proof.error}", proof.log)
    cache.remove_tree(overlay)
    if proof.blame == "host":
        return sdpa(f"{filename} could not be proven, nor could another: {proof.error}")
    # Every worker of this kind would find the same; the note spares them 250 MB and half a minute.
    notes.put(f"{filename}.rejected", str(proof.error), REJECTED_TTL_S)
    (work.cache_dir / filename).unlink(missing_ok=True)
    return None


def _lay(work: Work, filename: str, overlay: Path, get: Get) -> None:
    """Wheel into the cache, cache into the overlay; one process at a time does each, if all goes well."""
    wait_s = min(work.limits.total_s, work.left_s - PROOF_S)
    cached = work.cache_dir / filename
    with cache.lease(cached.with_name(f"{filename}.lease"), wait_s=wait_s, done=cached.exists) as turn:
        wheel = get(turn)
    with cache.lease(overlay.with_name(f"{overlay.name}.lease"), wait_s=wait_s, done=overlay.is_dir) as turn:
        if not overlay.is_dir():
            limit = max(1.0, min(install.TIMEOUT_S, work.left_s - PROOF_S))
            install.install(wheel, overlay, python=work.facts.executable, timeout_s=limit, on_tick=turn.heartbeat)


def _fetch(work: Work, wheel: Wheel, turn: cache.Lease) -> Path:
    if wheel.url and work.base_url:
        wheel = replace(wheel, url=wheel.url.replace(work.manifest.base_url, work.base_url.rstrip("/"), 1))
    limits = replace(work.limits, total_s=max(1.0, min(work.limits.total_s, work.left_s - PROOF_S)))
    return download.fetch(wheel, work.cache_dir, limits, turn.heartbeat)


def _summary(work: Work) -> str:
    tried = [f"{attempt.candidate}: {attempt.result}" for attempt in work.attempts if "whl" in attempt.candidate]
    return "no wheel served (" + "; ".join(tried) + ")"


# -- what can be built ---------------------------------------------------------------------------------


def _build(work: Work, env: Environment, mode: BuildMode, why: str) -> FlashAttnOutcome:
    """The last resort, and whatever an earlier build of this or another worker has left in the cache."""
    sdist = work.manifest.sdist
    if done := source.built_wheel(work.cache_dir, sdist.version):
        outcome = _built(work, done, "built earlier")
        if outcome is not None:
            return outcome
        return sdpa(f"{why}; {_last(work)}")
    order, refusal = _order(work, env, mode)
    if order is None:
        return sdpa(f"{why}; not built: {refusal}")
    if mode == "background":
        try:
            pid = source.start_detached(order)
        except OSError as error:
            return sdpa(f"{why}; the builder did not start: {cache.explain(error)}")
        return sdpa(f"{why}; it is being built for the next start (process {pid}, {order.jobs} jobs)")
    started = time.monotonic()
    try:
        wheel = _build_here(work, order)
    except source.BuildFailed as error:
        work.note(sdist.filename, str(error), error.log)
        return sdpa(f"{why}; {error}")
    outcome = _built(work, wheel, f"built in {time.monotonic() - started:.0f} s with {order.jobs} jobs")
    return outcome or sdpa(f"{why}; {_last(work)}")


def _build_here(work: Work, order: source.BuildRequest) -> Path:
    cached = work.cache_dir
    with cache.lease(
        cached / source.LEASE_NAME,
        wait_s=order.total_s,
        done=lambda: source.built_wheel(cached, order.version) is not None,
    ) as turn:
        return source.built_wheel(cached, order.version) or source.build(order, turn.heartbeat)


def _built(work: Work, wheel: Path, how: str) -> FlashAttnOutcome | None:
    outcome = _try(work, wheel.name, lambda _: wheel)
    if outcome is None and not wheel.exists():  # rejected, and gone from the cache
        reason = f"the build {work.attempts[-1].result}"
        cache.Notes(work.cache_dir).put(source.FAILED_NOTE, reason, work.build_limits.failed_ttl_s)
    if outcome is None or outcome.backend == "sdpa":
        return outcome
    return replace(outcome, decision="built", reason=f"{wheel.name}, {how}, passed its proof")


def _order(work: Work, env: Environment, mode: BuildMode) -> tuple[source.BuildRequest | None, str]:
    """The build to make, or why there is none."""
    if mode == "never":
        return None, "F5_FLASH_ATTN_BUILD is never"
    obstacle = why_no_build(env) or source.obstacle(work.facts, work.build_limits, work.overlay_dir)
    if obstacle:
        return None, obstacle
    earlier = cache.Notes(work.cache_dir).get(source.FAILED_NOTE)
    if earlier and mode != "always":
        return None, f"tried lately, {earlier}"
    if mode == "background" and source.under_way(work.cache_dir):
        return None, "another builder is at work"
    order = source.request(work.facts, work.manifest.sdist, work.cache_dir, work.overlay_dir, work.build_limits)
    if mode == "auto":
        needed, left = estimate_build(work.facts.cores, work.facts.memory_bytes).seconds, work.left_s - PROOF_S
        if needed > left:
            estimate = f"it is estimated at {needed:.0f} s with {order.jobs} jobs"
            return None, f"{estimate}, and {max(0.0, left):.0f} s are left"
        order = replace(order, total_s=min(order.total_s, left))
    return order, ""


def _last(work: Work) -> str:
    return f"{work.attempts[-1].candidate}: {work.attempts[-1].result}"
