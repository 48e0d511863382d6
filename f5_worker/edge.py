"""A job from the SDK's event loop to a thread and back: replies, limits, cancelling, failing in words."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from f5_worker import __version__, log
from f5_worker.boot.report import read_report
from f5_worker.control import JobControl
from f5_worker.delivery.inline import check_fits
from f5_worker.delivery.save import save
from f5_worker.errors import BootFailed, GpuLost, InputError, InternalError, QueueFull, WorkerError
from f5_worker.pipeline import Service, synthesize
from f5_worker.schema import DiagnoseInput, HealthInput, HealthReply, SynthesizeInput, parse_input

Reply = dict[str, Any]


class Edge:
    """Takes jobs from the SDK's event loop to threads and back.

    A job's work runs in a thread, so that the loop can take, cancel and post other jobs meanwhile:
    a plain `def handler` would block it, and with it every result (runpod 1.12.0, rp_job.py).
    """

    def __init__(self, service: Service, stop_worker: Callable[[], None]) -> None:
        self._service = service
        self._settings = service.settings
        self._stop_worker = stop_worker
        self._threads = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="job")
        self._running = 0
        self._started = time.monotonic()

    async def answer(self, job: Mapping[str, Any]) -> Reply:
        """The reply to one job; every failure becomes `{"error": "CODE: what; what to do"}`."""
        job_id = str(job.get("id", ""))
        try:
            reply = await self._do(job_id, job.get("input"))
            check_fits(reply, self._settings.max_reply_bytes)
            return reply
        except WorkerError as error:
            if isinstance(error, GpuLost):
                self._stop_worker()
            log.for_job(job_id).log(logging.INFO if isinstance(error, InputError) else logging.ERROR, error.code)
            return {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - the edge: an escaping error would post a traceback
            log.failure(job_id, error)
            return {"error": str(InternalError("the worker failed on this job; its log names the place"))}

    async def _do(self, job_id: str, value: object) -> Reply:
        request = parse_input(value)
        if isinstance(request, HealthInput):
            return self._health()
        if isinstance(request, DiagnoseInput):
            return diagnosis()
        if self._running >= self._settings.concurrency + self._settings.queue_jobs:
            raise QueueFull(
                f"{self._running} jobs are here already, at most {self._settings.concurrency} run and "
                f"{self._settings.queue_jobs} wait (F5_CONCURRENCY, F5_QUEUE_JOBS); send it again later"
            )
        control = JobControl(self._settings.job_timeout_s, log.progress(job_id))
        received = time.monotonic()
        self._running += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, lambda: self._synthesize(job_id, request, control, received)
            )
        except asyncio.CancelledError:
            control.cancel()  # the thread stops at the model's next step
            log.for_job(job_id).info("cancelled")
            raise
        finally:
            self._running -= 1

    def _synthesize(self, job_id: str, request: SynthesizeInput, control: JobControl, received: float) -> Reply:
        control.check()
        reply = synthesize(request, self._service, control, queued_s=time.monotonic() - received)
        if self._settings.save_dir is not None:
            save(reply, self._settings.save_dir, job_id)
        metrics = reply.metrics
        log.for_job(job_id).info(
            "done: %.1f s of %s in %.0f ms, RTF %.3f, NFE %d",
            reply.audio.duration_s, request.format, metrics.total_ms, metrics.rtf, metrics.nfe,
        )  # fmt: skip
        return reply.model_dump()

    def _health(self) -> Reply:
        return HealthReply(
            version=__version__,
            model=self._service.model,
            device=self._service.device,
            precision=self._service.precision,
            voices=self._service.voices.names(),
            uptime_s=round(time.monotonic() - self._started, 1),
            jobs_running=self._running,
        ).model_dump()


class FailedEdge:
    """Stands where the worker could not start for a reason that any worker of the endpoint would have.

    Jobs are answered with that reason at once, instead of waiting in the queue until they expire.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def answer(self, job: Mapping[str, Any]) -> Reply:
        try:
            request = parse_input(job.get("input"))
            if isinstance(request, DiagnoseInput):
                return diagnosis()
            raise BootFailed(self._reason)
        except WorkerError as error:
            return {"error": str(error)}


def diagnosis() -> Reply:
    """The boot report, as a reply of its own; empty where the worker was started without boot."""
    return {"boot": read_report() or {}}
