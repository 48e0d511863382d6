"""The steps of a container's start, in order: environment, probe, flash-attn, weights, report.

Nothing here imports torch: a subprocess examines it, from its files if they say enough.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict
from pathlib import Path

from f5_worker import __version__
from f5_worker.boot import starts
from f5_worker.boot.alloc_conf.check import installed_torch_version, policy_of, resolve_environment
from f5_worker.boot.flash_attn.ensure import ensure
from f5_worker.boot.probe.probe import Imports, ProbeResult, probe
from f5_worker.boot.report import BootReport
from f5_worker.boot.user import choose_user
from f5_worker.boot.volume import volume_fault
from f5_worker.boot.weights.pins import PinPolicy
from f5_worker.boot.weights.recogniser import FoundRecogniser, find_recogniser
from f5_worker.boot.weights.weights import CopyPrecision, FoundModel, WeightRoots, find_model
from f5_worker.errors import ModelUnavailable, SettingsInvalid
from f5_worker.models.speaker.checkpoint import find_speaker_weights
from f5_worker.settings import VOLUME, Settings, join_model_dirs, load_settings, unknown_variables, variable
from f5_worker.storage import files
from f5_worker.storage.s3_config import bucket_for, bucket_warnings

RESERVE_S = 120.0  # the part of a cold start's time that is reserved for loading and warming up after boot


def boot(environ: MutableMapping[str, str] = os.environ, report: BootReport | None = None) -> BootReport:
    """Run the steps that are needed to serve, and change `environ` to the environment for the handler.

    Findings never raise; they are in the report, which is also filled while the steps run. A worker that will not serve
    downloads nothing, because the time of its start is billed.
    """
    report = report or BootReport(__version__)
    _prepare(environ, report, time.monotonic())
    failure = report.error or (report.host_fault and f"HOST_UNFIT: {report.host_fault}")
    starts.note(report.to_json(), "failed" if failure else "loading", failure, environ)
    return report


def _prepare(environ: MutableMapping[str, str], report: BootReport, started: float) -> None:
    """Run the steps; the first error ends them."""
    if report.host_fault:  # the volume does not answer: no step may look at it
        return
    settings = check_environment(environ, report)
    limit_s = _number(environ, "RUNPOD_INIT_TIMEOUT", starts.INIT_TIMEOUT_S, report)
    report.starts = starts.begin(environ, limit_s)
    if settings is None:
        return
    with report.phase("probe"):
        facts = run_probe(settings, report, imports="torch" if must_import_torch(report) else "needed")
    check_gpu(environ, settings, facts, report)
    if report.serves:
        with report.phase("flash_attn"):
            ensure_flash_attn(environ, settings, facts, report, started + limit_s - RESERVE_S)
    if report.serves:
        with report.phase("weights"):
            ensure_weights(environ, settings, report)
    if report.serves:
        with report.phase("extras"):
            ensure_extras(environ, settings, report)
            keep_compiled_kernels(environ, settings, report)


def diagnose(environ: MutableMapping[str, str]) -> BootReport:
    """Run the same checks and change nothing: neither packages nor files nor `environ`."""
    if fault := volume_fault():
        return BootReport(__version__, host_fault=fault)
    report = BootReport(__version__, user=choose_user(environ))
    copy = dict(environ)
    settings = check_environment(copy, report)
    report.starts = starts.look(copy)
    facts = run_probe(settings or Settings(), report)
    check_gpu(copy, settings or Settings(), facts, report)
    if facts.flash_attn is not None and facts.flash_attn.importable is False:
        report.problems.append(f"flash-attn is installed and broken: {facts.flash_attn.error}; `run` removes it")
    if settings is not None:
        find_weights(copy, settings, report, dry=True)
        find_extra_models(copy, settings, report, dry=True)
        find_asr_model(copy, settings, report, dry=True)
        find_speaker_encoder(settings, report)
    return report


def check_environment(environ: MutableMapping[str, str], report: BootReport) -> Settings | None:
    """Repair the allocator string in `environ` and return the settings, or None if they cannot be used."""
    with report.phase("environment"):
        policy = policy_of(environ)
        resolved = resolve_environment(environ, installed_torch_version(), policy)
        report.problems += [problem.message for problem in resolved.problems]
        report.problems += [f"PYTORCH_CUDA_ALLOC_CONF was repaired: {repair}" for repair in resolved.verdict.repairs]
        report.allocator = {
            "source": resolved.source,
            "export": resolved.export,
            "verdict": resolved.verdict.verdict,
            "measured": resolved.measured,
        }
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


def must_import_torch(report: BootReport) -> bool:
    """Return whether the handler's `import torch` may end it without a word, so that the probe has to try it first.

    What raises an error there, the handler reports itself (`server/startup.py`).
    """
    last_died = (report.starts or {}).get("last_died", True)  # also where starts are not counted
    return last_died or not (report.allocator or {}).get("measured", False)


def run_probe(settings: Settings, report: BootReport, *, imports: Imports = "all") -> ProbeResult:
    """Probe the machine and the directories that the settings name."""
    paths = dict.fromkeys([settings.shared_cache, settings.cache_dir, settings.overlay_dir, settings.models_dir])
    facts = probe(timeout_s=settings.probe_timeout_s, paths=list(paths), imports=imports)
    report.facts = asdict(facts)
    return facts


def check_gpu(environ: MutableMapping[str, str], settings: Settings, facts: ProbeResult, report: BootReport) -> None:
    """Report a host fault if a GPU is expected and torch sees none: it is a fault of this machine, not the endpoint.

    On a GPU, where a start takes seconds, what makes each of them longer is a problem, too.
    """
    if facts.torch_error is not None:
        report.problems.append(f"torch could not be examined: {facts.torch_error}")
    expects_gpu = settings.device.startswith("cuda") or _number(environ, "RUNPOD_GPU_COUNT", 0, report) > 0
    if settings.device != "cpu" and expects_gpu and not facts.cuda_available:
        report.host_fault = f"torch sees no GPU: {facts.cuda_error or facts.torch_error or 'no reason given'}"
    if facts.cuda_available and facts.torch_compiled is False:
        report.problems.append(
            "the image has no compiled form of torch's modules: Python compiles them at each start, some 4 s; build it "
            "with `RUN python -m compileall -q` of torch's directory, without PYTHONDONTWRITEBYTECODE"
        )


def ensure_flash_attn(
    environ: MutableMapping[str, str], settings: Settings, facts: ProbeResult, report: BootReport, until_s: float
) -> None:
    """Keep, install, build or remove flash-attn; one that is kept was verified by running it.

    Where the model can be loaded without it, the handler verifies an installed one meanwhile.

    Args:
        until_s: when it has to be done, by `time.monotonic()`.
    """
    outcome = ensure(
        facts,
        mode=settings.flash_attn,
        build=settings.flash_attn_build,
        cache_dir=settings.shared_cache / "flash-attn",
        overlay_dir=settings.overlay_dir,
        seconds_left=until_s - time.monotonic(),
        unused=why_flash_attn_unused(settings),
        defer=settings.attention_backend == "auto",
    )
    report.flash_attn = asdict(outcome)
    environ.update(outcome.environment(environ))
    if outcome.fatal:
        report.error = f"FLASH_ATTN_REQUIRED: F5_FLASH_ATTN=require, but {outcome.reason}"


def why_flash_attn_unused(settings: Settings) -> str | None:
    """Return which setting leaves a flash-attn that is not required without use, or None if it may be used."""
    if settings.flash_attn == "require":
        return None
    for name, value in (("attention", "triton"), ("attention", "torch"), ("device", "cpu"), ("precision", "fp32")):
        if getattr(settings, name) == value:
            return f"{variable(name)}={value} does not use flash-attn"
    return None


def ensure_weights(environ: MutableMapping[str, str], settings: Settings, report: BootReport) -> None:
    """Find or make the model's directory and set F5_MODEL_DIR for the handler."""
    found = find_weights(environ, settings, report, dry=False)
    if found is not None:
        environ["F5_MODEL_DIR"] = str(found.directory)


def ensure_extras(environ: MutableMapping[str, str], settings: Settings, report: BootReport) -> None:
    """Find or make the optional files: further models of all kinds. A worker serves without them, too."""
    extra_models = find_extra_models(environ, settings, report, dry=False)
    if extra_models:
        environ["F5_EXTRA_MODEL_DIRS"] = join_model_dirs(extra_models)
    recogniser = find_asr_model(environ, settings, report, dry=False)
    if recogniser.directory is not None:
        environ["F5_ASR_DIR"] = str(recogniser.directory)
    find_speaker_encoder(settings, report)


def keep_compiled_kernels(environ: MutableMapping[str, str], settings: Settings, report: BootReport) -> None:
    """Let Triton cache compiled kernels in the shared directory: the first worker of an endpoint compiles for all.

    The names in Triton's cache are hashes of source, compiler and GPU, so that different workers can share it.
    """
    directory = settings.shared_cache / "triton"
    if environ.get("TRITON_CACHE_DIR"):
        return
    try:
        files.ensure_writable(directory)
    except OSError as error:
        report.problems.append(f"kernels are compiled again at each start: {directory}: {files.explain(error)}")
        return
    environ["TRITON_CACHE_DIR"] = str(directory)


def find_extra_models(
    environ: Mapping[str, str], settings: Settings, report: BootReport, *, dry: bool
) -> dict[str, Path]:
    """Return the directories of the extra models that are available; the others become problems in the report."""
    found = {}
    for name in settings.extra_model_names:
        try:
            found[Path(name).name] = _find_model(name, environ, settings, dry=dry).directory
        except ModelUnavailable as error:
            report.problems.append(f"extra model {name!r} is left out: {error.message}")
    report.extra_models = {name: str(directory) for name, directory in found.items()}
    return found


def find_asr_model(environ: Mapping[str, str], settings: Settings, report: BootReport, *, dry: bool) -> FoundRecogniser:
    """Find or download the recogniser that the settings name, and put it into the report."""
    found = find_recogniser(settings.asr_model, roots=_roots(environ, settings), offline=_is_offline(environ), dry=dry)
    report.recogniser = {
        "name": settings.asr_model,
        "source": found.source,
        "directory": None if found.directory is None else str(found.directory),
        "made": found.made,
    }
    report.problems += [f"recogniser: {note}" for note in found.notes]
    return found


def find_speaker_encoder(settings: Settings, report: BootReport) -> None:
    """Find and check the speaker encoder that the settings name, and put it or the problem into the report."""
    try:
        weights = find_speaker_weights(settings)
    except ModelUnavailable as error:
        report.problems.append(f"speaker encoder: {error.message}")
    else:
        report.speaker_encoder = None if weights is None else str(weights)


def _roots(environ: Mapping[str, str], settings: Settings) -> WeightRoots:
    return WeightRoots.from_environment(
        environ, models_dir=settings.models_dir, cache_dir=settings.cache_dir, volume=VOLUME
    )


def _is_offline(environ: Mapping[str, str]) -> bool:
    return environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def _find_model(model: str, environ: Mapping[str, str], settings: Settings, *, dry: bool) -> FoundModel:
    precision: CopyPrecision = "fp32" if settings.precision == "fp32" else "fp16"
    return find_model(
        model,
        roots=_roots(environ, settings),
        offline=_is_offline(environ),
        precision=precision,
        dry=dry,
        policy=PinPolicy.from_settings(settings.pins, settings.allow_unpinned),
    )


def find_weights(
    environ: MutableMapping[str, str], settings: Settings, report: BootReport, *, dry: bool
) -> FoundModel | None:
    """Find or make the directory of F5_MODEL, and put it or the error into the report."""
    try:
        found = _find_model(settings.model, environ, settings, dry=dry)
    except ModelUnavailable as error:
        report.error = report.error or str(error)
        return None
    report.weights = {
        "source": found.source,
        "directory": str(found.directory),
        "revision": found.revision,
        "made": found.made,
        "reason": f"{settings.model} from {found.source}" + (", made now" if found.made else ""),
    }
    report.problems += [f"weights: {note}" for note in found.notes]
    return found


def _number(environ: Mapping[str, str], name: str, default: float, report: BootReport) -> float:
    """Return a number from the environment; if it cannot be read, report a problem and return the default."""
    value = environ.get(name, "").strip()
    try:
        return float(value) if value else default
    except ValueError:
        report.problems.append(f"{name}={value!r} is not a number; {default:g} is used")
        return default
