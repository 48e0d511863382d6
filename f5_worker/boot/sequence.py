"""The way of a container, from top to bottom: environment, probe, flash-attn, weights, report.

Nothing here imports torch: what torch has to say is asked of a subprocess.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict
from pathlib import Path

from f5_worker import __version__
from f5_worker.boot.alloc_conf.check import installed_torch_version, policy_of, resolve_environment
from f5_worker.boot.flash_attn.ensure import ensure
from f5_worker.boot.probe.probe import ProbeResult, probe
from f5_worker.boot.report import BootReport
from f5_worker.boot.weights.recogniser import FoundRecogniser, find_recogniser
from f5_worker.boot.weights.weights import CopyPrecision, Located, WeightRoots, resolve
from f5_worker.errors import ModelUnavailable, SettingsInvalid
from f5_worker.settings import VOLUME, Settings, join_model_dirs, load_settings, unknown_variables
from f5_worker.storage import files as cache
from f5_worker.storage.s3_config import bucket_for, bucket_warnings

INIT_TIMEOUT_S = 420.0  # RunPod's limit for a cold start, unless RUNPOD_INIT_TIMEOUT raises it
RESERVE_S = 120.0  # of that, for loading and warming up after boot
# The engine has an attention kernel of its own, and gains nothing from flash-attn: none is fetched for it.
ENGINE_USES_FLASH_ATTN = False


def boot(environ: MutableMapping[str, str] = os.environ) -> BootReport:
    """Run the steps, as far as they are needed to serve; `environ` is changed to what the handler is to be given.

    Never raises for a finding. A worker that will not serve fetches nothing: its start is paid for.
    """
    started = time.monotonic()
    report = BootReport(__version__)
    settings = check_environment(environ, report)
    if settings is None:
        return report
    with report.phase("probe"):
        facts = measure(settings, report)
    judge_host(environ, settings, facts, report)
    if report.serves:
        with report.phase("flash_attn"):
            provide_flash_attn(environ, settings, facts, report, started)
    if report.serves:
        with report.phase("weights"):
            provide_weights(environ, settings, report)
    if report.serves:
        with report.phase("extras"):
            provide_extras(environ, settings, report)
            keep_kernels(environ, settings, report)
    return report


def diagnose(environ: MutableMapping[str, str]) -> BootReport:
    """The same checks, changing nothing: neither packages nor files nor `environ`."""
    report = BootReport(__version__)
    copy = dict(environ)
    settings = check_environment(copy, report)
    facts = measure(settings or Settings(), report)
    judge_host(copy, settings or Settings(), facts, report)
    if facts.flash_attn is not None and not facts.flash_attn.importable:
        report.problems.append(f"flash-attn is installed and broken: {facts.flash_attn.error}; `run` removes it")
    if settings is not None:
        find_weights(copy, settings, report, dry=True)
        find_extra_models(copy, settings, report, dry=True)
        look_for_recogniser(copy, settings, report, dry=True)
    return report


def check_environment(environ: MutableMapping[str, str], report: BootReport) -> Settings | None:
    """Repair the allocator string in `environ`, read the settings; None if they cannot be used."""
    with report.phase("environment"):
        policy = policy_of(environ)
        resolved = resolve_environment(environ, installed_torch_version(), policy)
        report.problems += [problem.message for problem in resolved.problems]
        report.problems += [f"PYTORCH_CUDA_ALLOC_CONF was repaired: {repair}" for repair in resolved.verdict.repairs]
        report.allocator = {"source": resolved.source, "export": resolved.export, "verdict": resolved.verdict.verdict}
        if policy == "fail" and resolved.verdict.faulty:
            report.error = f"SETTINGS_INVALID: {resolved.problems[0].message}"
        resolved.apply(environ)
        report.problems += unknown_variables(environ)
        try:
            settings = load_settings(environ)
            bucket_for(settings, environ)
            report.problems += bucket_warnings(environ)
        except SettingsInvalid as error:
            report.error = str(error)
            return None
    return None if report.error else settings


def measure(settings: Settings, report: BootReport) -> ProbeResult:
    paths = dict.fromkeys([shared_cache(settings), settings.cache_dir, settings.overlay_dir, settings.models_dir])
    facts = probe(timeout_s=settings.probe_timeout_s, paths=list(paths))
    report.facts = asdict(facts)
    return facts


def judge_host(environ: MutableMapping[str, str], settings: Settings, facts: ProbeResult, report: BootReport) -> None:
    """A GPU that was promised and that torch does not see is this machine's fault, not the endpoint's."""
    if facts.torch_error is not None:
        report.problems.append(f"torch could not be asked: {facts.torch_error}")
    promised = settings.device == "cuda" or _number(environ, "RUNPOD_GPU_COUNT", 0, report) > 0
    if settings.device != "cpu" and promised and not facts.cuda_available:
        report.host_fault = f"torch sees no GPU: {facts.cuda_error or facts.torch_error or 'no reason given'}"


def provide_flash_attn(
    environ: MutableMapping[str, str], settings: Settings, facts: ProbeResult, report: BootReport, started: float
) -> None:
    """Keep, install, build or remove; what is kept was proven by running it."""
    limit_s = _number(environ, "RUNPOD_INIT_TIMEOUT", INIT_TIMEOUT_S, report)
    outcome = ensure(
        facts,
        mode=settings.flash_attn,
        build=settings.flash_attn_build,
        cache_dir=shared_cache(settings) / "flash-attn",
        overlay_dir=settings.overlay_dir,
        seconds_left=limit_s - RESERVE_S - (time.monotonic() - started),
        wanted=ENGINE_USES_FLASH_ATTN,
    )
    report.flash_attn = asdict(outcome)
    environ.update(outcome.environment(environ))
    if outcome.fatal:
        report.error = f"FLASH_ATTN_REQUIRED: F5_FLASH_ATTN=require, but {outcome.reason}"


def shared_cache(settings: Settings) -> Path:
    """On a volume, if one is mounted: there one worker's work serves all."""
    return VOLUME / "f5-worker" if VOLUME.is_dir() else settings.cache_dir


def provide_weights(environ: MutableMapping[str, str], settings: Settings, report: BootReport) -> None:
    """Find or make the model's directory and tell the handler of it."""
    located = find_weights(environ, settings, report, dry=False)
    if located is not None:
        environ["F5_MODEL_DIR"] = str(located.directory)


def provide_extras(environ: MutableMapping[str, str], settings: Settings, report: BootReport) -> None:
    """What a worker serves without, but better with: further checkpoints and the recogniser."""
    extra_models = find_extra_models(environ, settings, report, dry=False)
    if extra_models:
        environ["F5_EXTRA_MODEL_DIRS"] = join_model_dirs(extra_models)
    recogniser = look_for_recogniser(environ, settings, report, dry=False)
    if recogniser.directory is not None:
        environ["F5_ASR_DIR"] = str(recogniser.directory)


def keep_kernels(environ: MutableMapping[str, str], settings: Settings, report: BootReport) -> None:
    """Have Triton keep what it compiles for this GPU beside the weights: an endpoint's first worker does it for all.

    Its names for what it keeps stand for source, compiler and GPU, so that workers of all kinds may share the place.
    """
    directory = shared_cache(settings) / "triton"
    if environ.get("TRITON_CACHE_DIR"):
        return
    try:
        cache.make_usable(directory)
    except OSError as error:
        report.problems.append(f"kernels are compiled anew at each start: {directory}: {cache.explain(error)}")
        return
    environ["TRITON_CACHE_DIR"] = str(directory)


def find_extra_models(
    environ: Mapping[str, str], settings: Settings, report: BootReport, *, dry: bool
) -> dict[str, Path]:
    """The directories of those extra_models that can be had; the others are problems, not an end."""
    found = {}
    for name in settings.extra_model_names:
        try:
            found[Path(name).name] = _resolve(name, environ, settings, dry=dry).directory
        except ModelUnavailable as error:
            report.problems.append(f"pack {name!r} is left out: {error.message}")
    report.extra_models = {name: str(directory) for name, directory in found.items()}
    return found


def look_for_recogniser(
    environ: Mapping[str, str], settings: Settings, report: BootReport, *, dry: bool
) -> FoundRecogniser:
    found = find_recogniser(settings.asr_model, roots=_roots(environ, settings), offline=_is_offline(environ), dry=dry)
    report.recogniser = {
        "name": settings.asr_model,
        "source": found.source,
        "directory": None if found.directory is None else str(found.directory),
        "made": found.made,
    }
    report.problems += [f"recogniser: {note}" for note in found.notes]
    return found


def _roots(environ: Mapping[str, str], settings: Settings) -> WeightRoots:
    return WeightRoots.from_environment(
        environ, models_dir=settings.models_dir, cache_dir=settings.cache_dir, volume=VOLUME
    )


def _is_offline(environ: Mapping[str, str]) -> bool:
    return environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def _resolve(model: str, environ: Mapping[str, str], settings: Settings, *, dry: bool) -> Located:
    precision: CopyPrecision = "fp32" if settings.precision == "fp32" else "fp16"
    return resolve(model, roots=_roots(environ, settings), offline=_is_offline(environ), precision=precision, dry=dry)


def find_weights(
    environ: MutableMapping[str, str], settings: Settings, report: BootReport, *, dry: bool
) -> Located | None:
    try:
        located = _resolve(settings.model, environ, settings, dry=dry)
    except ModelUnavailable as error:
        report.error = report.error or str(error)
        return None
    report.weights = {
        "source": located.source,
        "directory": str(located.directory),
        "revision": located.revision,
        "made": located.made,
        "reason": f"{settings.model} from {located.source}" + (", made now" if located.made else ""),
    }
    report.problems += [f"weights: {note}" for note in located.notes]
    return located


def _number(environ: Mapping[str, str], name: str, default: float, report: BootReport) -> float:
    """A number that the platform or the operator set; one that cannot be read is named and the default taken."""
    value = environ.get(name, "").strip()
    try:
        return float(value) if value else default
    except ValueError:
        report.problems.append(f"{name}={value!r} is no number; {default:g} is used")
        return default
