"""Log lines: plain text, or on an endpoint JSON in RunPod's form, so that its console can filter by job."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("f5_worker")


class _RunPodFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"requestId": getattr(record, "job", None), "message": super().format(record), "level": record.levelname}
        return json.dumps(line)


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        job = getattr(record, "job", None)
        return f"{record.levelname:<7} {f'{job}: ' if job else ''}{super().format(record)}"


def configure(level: str) -> None:
    """Send the worker's log to stdout. `import runpod` configures the root logger, so lines are not propagated."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_RunPodFormatter() if os.environ.get("RUNPOD_ENDPOINT_ID") else _PlainFormatter())
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def for_job(job_id: str) -> logging.LoggerAdapter[logging.Logger]:
    """Return a logger whose lines carry the job's id."""
    return logging.LoggerAdapter(logger, {"job": job_id})


def failure(job_id: str, error: Exception) -> None:
    """Log where an unexpected error was raised; its message, which may quote the job, only at DEBUG."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    for_job(job_id).error(
        "%s at %s:%s in %s", type(error).__name__, Path(frame.filename).name, frame.lineno, frame.name
    )
    for_job(job_id).debug("traceback", exc_info=error)


@contextmanager
def timed(phases_ms: MutableMapping[str, float], name: str) -> Iterator[None]:
    """Measure how long the block takes, as a phase of a start."""
    started = time.monotonic()
    try:
        yield
    finally:
        phases_ms[name] = round((time.monotonic() - started) * 1e3, 1)
