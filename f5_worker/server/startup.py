"""From settings to a worker that is ready for jobs: model, voices, recogniser and bucket."""

from __future__ import annotations

import atexit
import gc
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from f5_worker.asr.whisper import recogniser_from
from f5_worker.audio import isolated
from f5_worker.audio.encoders import EncoderPool
from f5_worker.boot.flash_attn.proof import DeferredProof
from f5_worker.boot.report import add_phases, read_report
from f5_worker.engine.engine import Engine
from f5_worker.engine.group import EngineGroup
from f5_worker.errors import HostUnfit, StorageFailed
from f5_worker.log import logger, timed
from f5_worker.models import ahead
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES
from f5_worker.models.f5.tokenizer import tokenize
from f5_worker.models.registry import ModelRegistry
from f5_worker.reference.prepare import examine, prepare
from f5_worker.resources import limits
from f5_worker.schema.text import load_pronunciations
from f5_worker.server import liveness
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket, key_prefix
from f5_worker.storage.s3_config import bucket_for
from f5_worker.synthesis.context import Worker
from f5_worker.verification.similarity import speaker_encoder_from
from f5_worker.voices.library import Library
from f5_worker.voices.places import open_stores

if TYPE_CHECKING:
    from f5_worker.models.f5.runner import F5Runner
    from f5_worker.models.load import Runner
    from f5_worker.models.placement import Device

T = TypeVar("T")

_tuning = threading.Lock()

# RunPod's SDK takes about so many jobs a second (runpod 1.12.0, rp_scale.py: it looks again after a second): with few
# at a time the GPU waits for jobs (docs/scaling.md).
GPU_CONCURRENCY = 32
CPU_BATCH_FRAMES = 2 * MAX_SEGMENT_FRAMES
MAX_ENCODERS = 8  # for a GPU; each takes 45 MB, and encodes a hundred seconds of MP3 in a second
FLASH_ATTN_WAIT_S = 30.0  # for its verification, once the model is loaded; a later result is for the next start


def load_worker(settings: Settings) -> Worker:
    """Load and warm up the model, and open everything that jobs need.

    Raises:
        ModelUnavailable: its files are missing or do not belong together.
        HostUnfit: torch cannot be imported, or sees no GPU, and one is asked for or was seen by boot.
        SettingsInvalid: there are GPUs, but not the one that is asked for, or less of its memory may be used than is
            needed; the bucket's variables contradict each other, voices are to be kept in a missing bucket, or the file
            of pronunciations cannot be used.
        StorageFailed: all results are to go to the bucket, and it does not take them.
        InternalError: the decoder of recordings cannot be started.
    """
    logger.info("loading %s", settings.model)
    # Threads that spin while they wait take the cores they wait for, wherever cores are shared or limited:
    # one other busy process made a synthesis on two cores more than ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is imported
    proof = DeferredProof.from_report(read_report())
    flash_attn = None if proof is None else _in_background(proof.run, "flash-attn")
    bucket = open_bucket(settings)
    pronunciations = load_pronunciations(settings.pronunciations) if settings.pronunciations else ()
    with ThreadPoolExecutor(1, thread_name_prefix="probe") as background:
        decoder = background.submit(isolated.POOL.warm_up, settings.reference_max_bytes)
        checked = background.submit(bucket.probe, key_prefix(settings.s3_prefix)) if bucket else None
        runner, devices = _load_model(settings)
        decoder.result()  # without it no recording can be read, the model's own voices included
        bucket_state = _bucket_state(checked, settings)
    from f5_worker.models.load import bound_memory, load, warm_up
    from f5_worker.text.expand.library import load_in_background

    load_in_background()  # so that the first job in a language does not wait for its grammar
    runners = (runner, *runner.replicas)
    engine = EngineGroup([Engine(one, _batch_frames(one.device, settings)) for one in runners])
    atexit.register(engine.close)  # a process that ends inside torch aborts; a stopped job leaves its last step behind
    devices = [device.owned_by(owner.run) for device, owner in zip(devices, engine.engines, strict=False)]
    # Beside the models, but not beside f5-tts, which computes with cuDNN.
    is_beside = runner.engine == "own" and devices[0].is_gpu
    recogniser = recogniser_from(settings, [device.beside() if is_beside else device for device in devices])
    if recogniser is not None and recogniser.is_kept:
        recogniser.preload()
    bound_memory(runner, devices, settings)

    def load_model(name: str, directory: Path) -> Runner:
        """Load a further model while jobs run."""
        further = load(name, directory, settings, devices)
        warm_up(further, devices)
        tune_in_background(further, engine, settings.warm_up_s)
        return further

    tune_in_background(runner, engine, settings.warm_up_s, flash_attn)
    liveness.start(engine.engines)
    return Worker(
        settings=_with_concurrency(settings, [device.name for device in devices]),
        models=ModelRegistry(runner, settings.extra_model_directories, load_model, settings),
        voices=Library(
            runner.directory / "voices",
            settings,
            shipped_with={name: path / "voices" for name, path in settings.extra_model_directories.items()},
            stores=open_stores(settings, bucket),
            prepare=partial(prepare, recogniser=recogniser),
            examine=partial(examine, recogniser=recogniser),
            prepare_shipped=prepare,
        ),
        engine=engine,
        recogniser=recogniser,
        speaker_encoder=speaker_encoder_from(settings, devices[0]),
        bucket=bucket,
        encoders=_start_encoders([device.name for device in devices]),
        bucket_state=bucket_state,
        pronunciations=pronunciations,
    )


def _load_model(settings: Settings) -> tuple[Runner, list[Device]]:
    """Load and warm up the model; the log and the boot report say how long each phase took."""
    started, phases_ms = time.monotonic(), ahead.begin(settings)
    boot_facts = (read_report() or {}).get("facts") or {}
    with timed(phases_ms, "torch"), _unfit_without_torch(), _kept_objects():
        from f5_worker.models.load import load_default, warm_up
        from f5_worker.models.placement import devices_at_start
    reader = _in_background(_load_reader, "reader")  # not beside the import: both compute with Python's lock
    with timed(phases_ms, "devices"):
        devices = devices_at_start(settings, has_gpu=bool(boot_facts.get("cuda_available")))
    runner = load_default(settings, devices)
    phases_ms |= runner.load_ms
    with timed(phases_ms, "warm_up"):
        warm_up(runner, devices)
    with timed(phases_ms, "reader"):
        reader.result()
    logger.info(
        "%s ready on %s in %s, engine %s, after %.1f s: %s",
        runner.name, ", ".join(one.device for one in (runner, *runner.replicas)), runner.precision, runner.engine,
        time.monotonic() - started, ", ".join(f"{name} {ms:.0f} ms" for name, ms in phases_ms.items()),
    )  # fmt: skip
    add_phases(phases_ms)
    return runner, devices


@contextmanager
def _unfit_without_torch() -> Iterator[None]:
    """Raise HostUnfit where the block cannot import torch, or what is used with it: boot may have read its files only.

    An import that ends the process or never returns, boot finds at the next start, whose probe imports torch.
    """
    try:
        yield
    except Exception as error:  # a broken installation may raise any error
        logger.error("torch cannot be imported", exc_info=error)
        reason = re.sub(r"[^\s'\"(:;,]*/", "", str(error).strip().partition("\n")[0])[:300]
        raise HostUnfit(
            f"torch cannot be imported: {type(error).__name__}: {reason}; it is incomplete or not for this machine: "
            "`python model_cache_init.py doctor` examines it"
        ) from error


@contextmanager
def _kept_objects() -> Iterator[None]:
    """Exempt what the block imports, and what was imported before it, from garbage collection.

    A full collection looks at 220,000 objects and stops all threads, the device's included, for 0.17 s; two fall into
    the import of torch and take 0.12 s of it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _load_reader() -> None:
    """Read the dictionaries and compile the patterns that every text needs."""
    from f5_worker.text.reading import read

    tokenize(read("1, 2").passages[0].text.text)


def _with_concurrency(settings: Settings, devices: Sequence[str]) -> Settings:
    """Return the settings with as many jobs at a time as suit the devices, unless the operator has set it."""
    if devices[0] == "cpu" or "concurrency" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"concurrency": GPU_CONCURRENCY * len(devices)})


def _start_encoders(devices: Sequence[str]) -> EncoderPool:
    encoders = EncoderPool(n_encoders(devices, limits().n_threads))
    _in_background(encoders.warm_up, "encoders")  # 3 ms for each
    return encoders


def n_encoders(devices: Sequence[str], n_cores: int) -> int:
    """Return how many processes encode: one for each core of a GPU's machine, none where the model needs the cores."""
    return 0 if devices[0] == "cpu" else min(MAX_ENCODERS * len(devices), n_cores)


def tune_in_background(
    runner: Runner, engine: EngineGroup, limit_s: float, flash_attn: Future[bool] | None = None
) -> list[threading.Thread]:
    """Measure what is fastest on a model's GPUs and capture its CUDA graphs there, while jobs run.

    Args:
        limit_s: longest time for the graphs of a GPU.
        flash_attn: whether the flash-attn that boot has hidden may be used, once that is known.

    Returns:
        The threads, one for each GPU; none for a model of f5-tts.
    """
    if runner.engine != "own":
        return []
    pairs = zip((runner, *runner.replicas), engine.engines, strict=True)
    return [_tune_in_background(one, owner, limit_s, flash_attn) for one, owner in pairs]


def _tune_in_background(
    runner: F5Runner, engine: Engine, limit_s: float, flash_attn: Future[bool] | None
) -> threading.Thread:
    def work() -> None:
        try:
            if flash_attn is not None and _is_verified(flash_attn):
                runner.add_flash_attn()
            with _tuning:  # GPUs of one kind then choose the same: what the first has measured is kept for the others
                runner.tune(engine.run)
        except Exception as error:  # noqa: BLE001 - what is chosen without measuring works too
            logger.warning("it is not measured what is fastest for %s: %s", runner.name, error)
        try:
            n_captured = runner.capture_graphs(limit_s, engine.run)
        except Exception as error:  # noqa: BLE001 - sizes without a graph work too, slower
            logger.warning("no more CUDA graphs are captured for %s: %s", runner.name, error)
            return
        if n_captured:
            logger.info("CUDA graphs of %d sizes are captured for %s", n_captured, runner.name)

    thread = threading.Thread(target=work, name="capture", daemon=True)
    thread.start()
    return thread


def _in_background(work: Callable[[], T], name: str) -> Future[T]:
    """Do some work in a thread that does not keep the process from ending."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - for the thread that takes the result
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def _is_verified(flash_attn: Future[bool]) -> bool:
    try:
        return flash_attn.result(FLASH_ATTN_WAIT_S)
    except TimeoutError:
        logger.warning("flash-attn is not used: its verification takes more than %.0f s", FLASH_ATTN_WAIT_S)
        return False


def open_bucket(settings: Settings) -> Bucket | None:
    """Return the operator's bucket, if the environment names one.

    Raises:
        SettingsInvalid: its variables contradict each other.
    """
    config = bucket_for(settings, os.environ)
    return None if config is None else Bucket(config, settings)


def _bucket_state(checked: Future[None] | None, settings: Settings) -> str:
    """Return the result of the bucket's check, for `health`; raise it only where every result is to go there."""
    if checked is None:
        return "none"
    try:
        checked.result()
    except StorageFailed as error:
        if settings.delivery == "s3":
            raise
        logger.error("the bucket cannot be used: %s", error.message)
        return str(error)
    return "ok"


def _batch_frames(device: str, settings: Settings) -> int:
    """Return the frames of a forward. A CPU gains nothing from larger ones, and a job stops only between two: on it,
    one holds one of the longest segments, or a usual one of a long job and a short job beside it.
    """
    return min(settings.batch_frames, CPU_BATCH_FRAMES) if device == "cpu" else settings.batch_frames
