"""From settings to a service that is ready for jobs: load the model, run it once, open voices, ears and bucket."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from f5_worker.asr.whisper import recogniser_from
from f5_worker.delivery.s3 import folder
from f5_worker.engine.engine import Batcher
from f5_worker.errors import StorageFailed
from f5_worker.log import logger
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES
from f5_worker.models.f5.tokenizer import tokenize
from f5_worker.models.registry import Models
from f5_worker.reference.prepare import examine, prepare
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import bucket_for
from f5_worker.synthesis.context import Service
from f5_worker.text.normalize import normalize
from f5_worker.voices.library import Library, open_stores

if TYPE_CHECKING:
    from f5_worker.models.f5.runner import Engine

CPU_BATCH_FRAMES = 2 * MAX_SEGMENT_FRAMES


def load_service(settings: Settings) -> Service:
    """Load and warm up the model.

    Raises:
        ModelUnavailable: its files are missing or do not belong together.
        SettingsInvalid: the bucket's variables contradict each other, or voices are to be kept in none.
        StorageFailed: results are to go to the bucket, always, and it does not take them.
    """
    logger.info("loading %s", settings.model)
    started = time.monotonic()
    # Threads that spin while they wait take the cores they wait for, wherever cores are shared or limited:
    # one other busy process made a synthesis on two cores more than ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is imported
    bucket = open_bucket(settings)
    with ThreadPoolExecutor(1, thread_name_prefix="probe") as beside:
        probed = beside.submit(bucket.probe, folder(settings.s3_prefix)) if bucket else None
        from f5_worker.models.f5.runner import load_checkpoint, load_engine  # torch: seconds, not at import

        engine = load_engine(settings)
        loaded = time.monotonic()
        tokenize(normalize("1, 2").text)  # reads dictionaries, once
        engine.warm_up()
        ready = time.monotonic()
        logger.info(
            "%s ready on %s in %s: loaded in %.1f s, warmed up in %.1f s",
            engine.name, engine.device, engine.precision, loaded - started, ready - loaded,
        )  # fmt: skip
        bucket_state = _judged(probed, settings)
    recogniser = recogniser_from(settings)
    batcher = Batcher(engine, _batch_frames(engine.device, settings))

    def load_beside(name: str, directory: Path) -> Engine:
        """A further model, while jobs run."""
        further = load_checkpoint(name, directory, settings, batcher.run)
        further.warm_up(batcher.run)
        record_beside(further, batcher, settings.warm_up_s)
        return further

    record_beside(engine, batcher, settings.warm_up_s)
    return Service(
        settings=settings,
        models=Models(
            engine,
            settings.pack_directories,
            load_beside,
            settings,
        ),
        voices=Library(
            engine.directory / "voices",
            settings,
            stores=open_stores(settings, bucket),
            prepare=partial(prepare, recogniser=recogniser),
            examine=partial(examine, recogniser=recogniser),
            prepare_shipped=prepare,
        ),
        batcher=batcher,
        recogniser=recogniser,
        bucket=bucket,
        bucket_state=bucket_state,
    )


def record_beside(engine: Engine, batcher: Batcher, limit_s: float) -> threading.Thread:
    """Record what the model computes again and again, in a thread of its own, while jobs run already."""

    def work() -> None:
        try:
            n_recordings = engine.record(limit_s, batcher.run)
        except Exception as error:  # noqa: BLE001 - what is not recorded works as well, slower
            logger.warning("no more of %s is recorded: %s", engine.name, error)
            return
        if n_recordings:
            logger.info("%d recordings of %s are ready", n_recordings, engine.name)

    thread = threading.Thread(target=work, name="record", daemon=True)
    thread.start()
    return thread


def open_bucket(settings: Settings) -> Bucket | None:
    """The operator's bucket, if the environment names one."""
    config = bucket_for(settings, os.environ)
    return None if config is None else Bucket(config, settings)


def _judged(probed: Future[None] | None, settings: Settings) -> str:
    """What the probe of the bucket found, for `health`; fatal only where every result is to go there."""
    if probed is None:
        return "none"
    try:
        probed.result()
    except StorageFailed as error:
        if settings.delivery == "s3":
            raise
        logger.error("the bucket cannot be used: %s", error.message)
        return str(error)
    return "ok"


def _batch_frames(device: str, settings: Settings) -> int:
    """A CPU gains nothing from larger forwards, and a job stops only between two: room for one of the longest
    segments, or for a usual one of a long job and a short job beside it."""
    return min(settings.batch_frames, CPU_BATCH_FRAMES) if device == "cpu" else settings.batch_frames
