"""Installation of a flash-attn that passes verification: from the releases, from the cache, or built from source."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from f5_worker.boot.flash_attn import build as source
from f5_worker.boot.flash_attn import download, install
from f5_worker.boot.flash_attn.install_run import VERIFY_S, BuildMode, FlashAttnOutcome, InstallRun, use_sdpa
from f5_worker.boot.flash_attn.proof import REJECTED_TTL_S
from f5_worker.boot.flash_attn.wheels import Wheel, estimate_build, fingerprint, resolve, why_no_build
from f5_worker.boot.probe.probe import Environment
from f5_worker.storage import files

GetWheel = Callable[[files.Lease], Path]


class OutOfTime(Exception):
    """The worker has to be ready before a wheel could be; the message is one line."""


def obtain(run: InstallRun, build_mode: BuildMode) -> FlashAttnOutcome:
    """Install the first flash-attn that passes verification, or return the reason why there is none."""
    env = run.facts.environment()
    if env is None:
        return use_sdpa(run.facts.torch_error or "the probe learned too little about torch")
    if not run.facts.cuda_available:
        return use_sdpa(f"no GPU is usable: {run.facts.cuda_error}" if env.cuda else "torch is built without CUDA")
    resolution = resolve(env, run.manifest)
    if resolution.decision == "sdpa":
        return use_sdpa(resolution.reason)
    try:
        run.make_directories(fingerprint(env))
    except OSError as error:
        return use_sdpa(f"the overlay directory cannot be used: {files.explain(error)}")
    for wheel in resolution.candidates if resolution.decision == "wheel" else ():
        try:
            outcome = _try_wheel(run, wheel.filename, partial(_fetch, run, wheel))
        except OutOfTime as error:
            return use_sdpa(f"{error}; {_fetch_later(run, wheel)}")
        if outcome is not None:
            return replace(outcome, version=outcome.version or wheel.version)
    reason = resolution.reason if resolution.decision == "source" else _failed_wheels(run)
    return _build(run, env, build_mode, reason)


def _try_wheel(run: InstallRun, filename: str, get_wheel: GetWheel) -> FlashAttnOutcome | None:
    """Get, install and verify one wheel. Return None if another one should be tried, else the outcome.

    Raises:
        OutOfTime: nothing is wrong with it so far.
    """
    notes, overlay = files.ExpiringNotes(run.cache_dir), run.overlay_dir / filename.removesuffix(".whl")
    if reason := notes.get(f"{filename}.rejected"):
        run.note(filename, f"rejected earlier: {reason}")
        return None
    if run.left_s < VERIFY_S:
        raise OutOfTime(f"no time is left for {filename}: {max(0.0, run.left_s):.0f} s, {VERIFY_S:.0f} s are needed")
    try:
        if not overlay.is_dir():
            _install(run, filename, overlay, get_wheel)
    except download.DownloadFailed as error:
        run.note(filename, str(error))
        if error.is_late:
            raise OutOfTime(f"no time is left for {filename}: {error}") from None
        return None
    except install.InstallFailed as error:
        run.note(filename, str(error), error.log)
        if error.damaged:
            (run.cache_dir / filename).unlink(missing_ok=True)
        return None
    try:
        verification = run.run_verification(run.proof_of(overlay), overlay)
    except OSError as error:
        run.note(filename, f"installed, but cannot be read: {files.explain(error)}")
        return None
    if verification.ok:
        run.note(filename, "passed verification")
        return FlashAttnOutcome(
            "wheel", "flash_attn", f"{filename} passed verification", verification.version, filename, (), str(overlay)
        )
    run.note(filename, f"failed verification: {verification.error}", verification.log)
    with suppress(OSError):
        files.remove_tree(overlay)
    if verification.blame == "host":
        return use_sdpa(f"{filename} could not be verified, nor could another: {verification.error}")
    # Every worker of this kind would get the same result; the note saves them 250 MB and half a minute.
    notes.put(f"{filename}.rejected", str(verification.error), REJECTED_TTL_S)
    (run.cache_dir / filename).unlink(missing_ok=True)
    return None


def _install(run: InstallRun, filename: str, overlay: Path, get_wheel: GetWheel) -> None:
    """Get the wheel into the cache and install it into the overlay; leases let one process at a time do each."""
    wait_s = min(run.limits.total_s, run.left_s - VERIFY_S)
    cached = run.cache_dir / filename
    with files.lease(cached.with_name(f"{filename}.lease"), wait_s=wait_s, done=cached.exists) as lease:
        wheel = get_wheel(lease)
    with files.lease(overlay.with_name(f"{overlay.name}.lease"), wait_s=wait_s, done=overlay.is_dir) as lease:
        if not overlay.is_dir():
            timeout_s = max(1.0, min(install.TIMEOUT_S, run.left_s - VERIFY_S))
            install.install(wheel, overlay, python=run.facts.executable, timeout_s=timeout_s, on_tick=lease.heartbeat)


def _fetch(run: InstallRun, wheel: Wheel, lease: files.Lease) -> Path:
    wheel = _at_server(run, wheel)
    limits = replace(run.limits, total_s=max(1.0, min(run.limits.total_s, run.left_s - VERIFY_S)))
    return download.fetch(wheel, run.cache_dir, limits, lease.heartbeat)


def _fetch_later(run: InstallRun, wheel: Wheel) -> str:
    """Let the wheel be downloaded for the next start while the worker serves, and return what is done."""
    if (run.cache_dir / wheel.filename).exists():
        return "it is in the cache for the next start"
    try:
        pid = download.fetch_later(_at_server(run, wheel), run.cache_dir, run.limits, run.facts.executable)
    except OSError as error:
        return f"its download for the next start did not begin: {files.explain(error)}"
    return f"it is being downloaded for the next start (process {pid})"


def _at_server(run: InstallRun, wheel: Wheel) -> Wheel:
    if not wheel.url or not run.base_url:
        return wheel
    return replace(wheel, url=wheel.url.replace(run.manifest.base_url, run.base_url.rstrip("/"), 1))


def _failed_wheels(run: InstallRun) -> str:
    results = [f"{attempt.candidate}: {attempt.result}" for attempt in run.attempts if "whl" in attempt.candidate]
    return "no wheel works (" + "; ".join(results) + ")"


def _build(run: InstallRun, env: Environment, mode: BuildMode, reason: str) -> FlashAttnOutcome:
    """Install the wheel of an earlier build by this or another worker, or build one, as `mode` allows.

    Args:
        reason: why no published wheel is used.
    """
    sdist = run.manifest.sdist
    if wheel := source.built_wheel(run.cache_dir, sdist.version):
        outcome = _try_built(run, wheel, "built earlier")
        if outcome is not None:
            return outcome
        return use_sdpa(f"{reason}; {_last_attempt(run)}")
    request, refusal = _build_request(run, env, mode)
    if request is None:
        return use_sdpa(f"{reason}; not built: {refusal}")
    if mode == "background":
        try:
            pid = source.start_detached(request)
        except OSError as error:
            return use_sdpa(f"{reason}; the builder did not start: {files.explain(error)}")
        return use_sdpa(f"{reason}; it is being built for the next start (process {pid}, {request.jobs} jobs)")
    started = time.monotonic()
    try:
        wheel = _build_here(run, request)
    except source.BuildFailed as error:
        run.note(sdist.filename, str(error), error.log)
        return use_sdpa(f"{reason}; {error}")
    outcome = _try_built(run, wheel, f"built in {time.monotonic() - started:.0f} s with {request.jobs} jobs")
    return outcome or use_sdpa(f"{reason}; {_last_attempt(run)}")


def _build_here(run: InstallRun, request: source.BuildRequest) -> Path:
    cache_dir = run.cache_dir
    with files.lease(
        cache_dir / source.LEASE_NAME,
        wait_s=request.total_s,
        done=lambda: source.built_wheel(cache_dir, request.version) is not None,
    ) as lease:
        return source.built_wheel(cache_dir, request.version) or source.build(request, lease.heartbeat)


def _try_built(run: InstallRun, wheel: Path, origin: str) -> FlashAttnOutcome | None:
    """Install and verify a wheel that was built here; `origin` is for the reason."""
    try:
        outcome = _try_wheel(run, wheel.name, lambda _: wheel)
    except OutOfTime as error:
        return use_sdpa(str(error))
    if outcome is None and not wheel.exists():  # rejected, and deleted from the cache
        problem = f"the build {run.attempts[-1].result}"
        files.ExpiringNotes(run.cache_dir).put(source.FAILED_NOTE, problem, run.build_limits.failed_ttl_s)
    if outcome is None or outcome.backend == "sdpa":
        return outcome
    return replace(outcome, decision="built", reason=f"{wheel.name}, {origin}, passed verification")


def _build_request(run: InstallRun, env: Environment, mode: BuildMode) -> tuple[source.BuildRequest | None, str]:
    """Return the build to run, or None and the reason why there is none."""
    if mode == "never":
        return None, "F5_FLASH_ATTN_BUILD is never"
    obstacle = why_no_build(env) or source.obstacle(run.facts, run.build_limits, run.overlay_dir)
    if obstacle:
        return None, obstacle
    earlier = files.ExpiringNotes(run.cache_dir).get(source.FAILED_NOTE)
    if earlier and mode != "always":
        return None, f"tried recently, {earlier}"
    if mode == "background" and source.is_running(run.cache_dir):
        return None, "another builder is running"
    request = source.request_for(run.facts, run.manifest.sdist, run.cache_dir, run.overlay_dir, run.build_limits)
    if mode == "auto":
        needed_s, left_s = estimate_build(run.facts.cores, run.facts.memory_bytes).seconds, run.left_s - VERIFY_S
        if needed_s > left_s:
            estimate = f"it is estimated at {needed_s:.0f} s with {request.jobs} jobs"
            return None, f"{estimate}, and {max(0.0, left_s):.0f} s are left"
        request = replace(request, total_s=min(request.total_s, left_s))
    return request, ""


def _last_attempt(run: InstallRun) -> str:
    return f"{run.attempts[-1].candidate}: {run.attempts[-1].result}"
