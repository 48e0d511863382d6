"""A job from the SDK's event loop to a thread and back: replies, limits, cancelling, failing in words."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from f5_worker import __version__, log
from f5_worker.api import actions
from f5_worker.api.contracts import Contract, contract_of
from f5_worker.boot.report import read_report
from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import check_fits
from f5_worker.errors import BootFailed, GpuLost, InputError, InternalError, QueueFull, WorkerError
from f5_worker.schema.requests import DiagnoseInput, HealthInput, parse_input
from f5_worker.schema.responses import HealthResponse
from f5_worker.server.progress import Progress, send_to_runpod
from f5_worker.synthesis.context import Worker

Json = dict[str, Any]
T = TypeVar("T")

MAX_PIECE_BYTES = 950_000  # RunPod takes 1 MB for one item of a stream


class Edge:
    """Takes jobs from the SDK's event loop to threads and back.

    A job's work runs in a thread, so that the loop can take, cancel and post other jobs meanwhile:
    a plain `def handler` would block it, and with it every result (runpod 1.12.0, rp_job.py).
    """

    def __init__(self, worker: Worker, stop_worker: Callable[[], None]) -> None:
        self._service = worker
        self._settings = worker.settings
        self._stop_worker = stop_worker
        self._threads = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="job")
        self._running = 0
        self._started = time.monotonic()

    async def answer(self, job: Mapping[str, Any]) -> Json:
        """The reply to one job; every failure becomes `{"error": "CODE: what; what to do"}`."""
        job_id = str(job.get("id", ""))
        try:
            shape = contract_of(job.get("input"), job_id)
            reply = shape.reply(await self._reply(job, shape))
            check_fits(reply, self._settings.max_reply_bytes)
            return reply
        except Exception as error:  # noqa: BLE001 - the edge: an escaping error would post a traceback
            return self._failed(job_id, error)

    async def stream(self, job: Mapping[str, Any]) -> AsyncIterator[Json | str]:
        """The same for a worker that streams: pieces as they are made, then the rest of the reply.

        What does not stream is one item. After an error nothing follows (runpod 1.12.0 drops it).
        """
        job_id = str(job.get("id", ""))
        try:
            shape = contract_of(job.get("input"), job_id)
            if not (shape.streams and actions.speaks(shape.request)):
                reply = shape.reply(await self._reply(job, shape))
                check_fits(reply, min(self._settings.max_reply_bytes, MAX_PIECE_BYTES))
                yield reply
                return
            received = time.monotonic()
            with self._admitted(job, send=False) as control:
                async for item in self._pieces(lambda: actions.stream(job, shape, self._service, control, received)):
                    yield item
        except Exception as error:  # noqa: BLE001 - see `answer`
            yield self._failed(job_id, error)

    async def _reply(self, job: Mapping[str, Any], shape: Contract) -> Json:
        if isinstance(shape.request, HealthInput):
            return self._health()
        if isinstance(shape.request, DiagnoseInput):
            return diagnosis()
        received = time.monotonic()
        with self._admitted(job) as control:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads,
                lambda: actions.answer(job, shape.request, self._service, control, received),
            )

    @contextmanager
    def _admitted(self, job: Mapping[str, Any], *, send: bool = True) -> Iterator[JobControl]:
        """Count the job as running; when it is cancelled its thread stops at the model's next step."""
        if self._running >= self._settings.concurrency + self._settings.queue_jobs:
            raise QueueFull(
                f"{self._running} jobs are here already, at most {self._settings.concurrency} run and "
                f"{self._settings.queue_jobs} wait (F5_CONCURRENCY, F5_QUEUE_JOBS); send it again later"
            )
        control = JobControl(self._settings.job_timeout_s, Progress(job, send_to_runpod if send else None))
        self._running += 1
        try:
            yield control
        except (asyncio.CancelledError, GeneratorExit):
            control.cancel()
            log.for_job(str(job.get("id", ""))).info("cancelled")
            raise
        finally:
            self._running -= 1

    async def _pieces(self, work: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """What a generator yields, run in a job's thread."""
        loop, items = asyncio.get_running_loop(), asyncio.Queue[tuple[bool, Any]]()

        def run() -> None:
            try:
                for item in work():
                    loop.call_soon_threadsafe(items.put_nowait, (True, item))
            except Exception as error:  # noqa: BLE001 - raised again in the loop's thread
                loop.call_soon_threadsafe(items.put_nowait, (False, error))
            else:
                loop.call_soon_threadsafe(items.put_nowait, (False, None))

        self._threads.submit(run)
        while True:
            more, item = await items.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item

    def _failed(self, job_id: str, error: Exception) -> Json:
        if not isinstance(error, WorkerError):
            log.failure(job_id, error)
            return {"error": str(InternalError("the worker failed on this job; its log names the place"))}
        if isinstance(error, GpuLost):
            self._stop_worker()
        log.for_job(job_id).log(logging.INFO if isinstance(error, InputError) else logging.ERROR, error.code)
        return {"error": str(error)}

    def _health(self) -> Json:
        worker = self._service
        return HealthResponse(
            version=__version__,
            model=worker.models.default.name,
            models=worker.models.names(),
            device=worker.models.default.device,
            precision=worker.models.default.precision,
            voices=worker.voices.names_here(),
            recogniser=worker.recogniser is not None,
            bucket=worker.bucket_state,
            streaming=self._settings.streaming,
            uptime_s=round(time.monotonic() - self._started, 1),
            jobs_running=self._running,
        ).to_json()


class FailedEdge:
    """Stands where the worker could not start for a reason that any worker of the endpoint would have.

    Jobs are answered with that reason at once, instead of waiting in the queue until they expire.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def answer(self, job: Mapping[str, Any]) -> Json:
        try:
            request = parse_input(job.get("input"))
            if isinstance(request, DiagnoseInput):
                return diagnosis()
            raise BootFailed(self._reason)
        except WorkerError as error:
            return {"error": str(error)}


def diagnosis() -> Json:
    """The boot report, as a reply of its own; empty where the worker was started without boot."""
    return {"boot": read_report() or {}}
