"""RunPod's queue: a job from the SDK's event loop to a thread and back, within the limits of the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from f5_worker import log
from f5_worker.api.actions import ACTIONS
from f5_worker.api.call import Call, ServerStatus
from f5_worker.api.contracts import contract_of
from f5_worker.api.native import Contract, Json
from f5_worker.cancellation import JobControl
from f5_worker.errors import BootFailed, GpuLost, InputError, InternalError, WorkerError
from f5_worker.schema.responses import SpeechResponse
from f5_worker.server.admission import Admission
from f5_worker.server.limits import MAX_ITEM_BYTES, JsonLimit, StreamLimit, split_chunk, split_item
from f5_worker.server.progress import Progress, send_to_runpod
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk

T = TypeVar("T")


class QueueServer:
    """Serves the jobs of RunPod's queue.

    A job's work runs in a thread, so that the event loop can take, cancel and post other jobs meanwhile: a plain
    `def handler` would block it, and with it every result (runpod 1.12.0, rp_job.py).

    Args:
        worker: None if it could not start. Jobs are then answered with `failure` at once instead of waiting in the
            queue until they expire; `health` and `diagnose` work.
        stop_worker: called when this process can serve no more jobs.
        failure: why the worker could not start.
    """

    def __init__(
        self, worker: Worker | None, stop_worker: Callable[[], None] = lambda: None, failure: str | None = None
    ) -> None:
        self._worker = worker
        self._stop_worker = stop_worker
        self._failure = failure
        self._settings = worker.settings if worker else Settings()
        self._limit = JsonLimit(self._settings.max_reply_bytes)
        self._threads = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="job")
        self._admission = Admission(self._settings)
        self._started = time.monotonic()

    async def answer(self, job: Mapping[str, Any]) -> Json:
        """Return the response to one job; every failure becomes `{"error": "CODE: what happened; what to do"}`."""
        contract = contract_of(job.get("input"), _id(job))
        try:
            return await self._answer(job, contract, contract.read(), self._limit)
        except Exception as error:  # noqa: BLE001 - the edge: an escaping error would post a traceback
            return self._error(contract, job, error)

    async def stream(self, job: Mapping[str, Any]) -> AsyncIterator[Json | str]:
        """Yield the chunks of a job as they are made, then the rest of the response.

        A response that does not stream is one item. After an error nothing follows (runpod 1.12.0 would drop it).
        """
        contract = contract_of(job.get("input"), _id(job))
        try:
            request = contract.read()
            action = ACTIONS[type(request)]
            if contract.streams and action.stream is not None and self._worker is not None:
                async for item in self._stream(job, contract, request, action.stream):
                    yield item
            else:
                limit = JsonLimit(min(self._settings.max_reply_bytes, MAX_ITEM_BYTES))
                yield await self._answer(job, contract, request, limit)
        except Exception as error:  # noqa: BLE001 - see `answer`
            yield self._error(contract, job, error)

    async def _answer(self, job: Mapping[str, Any], contract: Contract, request: object, limit: JsonLimit) -> Json:
        action = ACTIONS[type(request)]

        def work(call: Call) -> Json:
            call.control.start()
            call.control.check()
            response = contract.response(action.answer(request, call))
            limit.check(response)
            return response

        if not action.needs_worker:  # in a thread of its own: it reads files, and jobs may have taken all others
            return await asyncio.to_thread(work, self._call(job, JobControl(self._settings.job_timeout_s)))
        if self._worker is None:
            raise BootFailed(self._failure or "the worker is not loaded")
        with self._admitted(job, send_progress=True) as call:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, call)

    async def _stream(
        self,
        job: Mapping[str, Any],
        contract: Contract,
        request: object,
        stream: Callable[[Any, Call], Iterator[Any]],
    ) -> AsyncIterator[Json | str]:
        with self._admitted(job, send_progress=False) as call:

            def work() -> Iterator[Json | str]:
                call.control.start()
                call.control.check()
                yield from _items(contract, stream(request, call), StreamLimit(self._limit))

            async for item in self._iterate_in_thread(work):
                yield item

    @contextmanager
    def _admitted(self, job: Mapping[str, Any], *, send_progress: bool) -> Iterator[Call]:
        """Count the job as running; when it is cancelled, its thread stops at the model's next step."""
        with self._admission.admit():
            progress = Progress(job, send_to_runpod if send_progress else None)
            control = JobControl(self._settings.job_timeout_s, progress)
            try:
                yield self._call(job, control)
            except (asyncio.CancelledError, GeneratorExit):
                control.cancel()
                log.for_job(_id(job)).info("cancelled")
                raise

    def _call(self, job: Mapping[str, Any], control: JobControl) -> Call:
        return Call(
            loaded=self._worker,
            status=ServerStatus(time.monotonic() - self._started, self._admission.n_jobs, self._failure),
            control=control,
            job_id=_id(job),
            own_bucket=job.get("s3Config"),
            limit=self._limit,
        )

    async def _iterate_in_thread(self, work: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Yield the items of a generator that runs in a job's thread."""
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
            has_item, item = await items.get()
            if has_item:
                yield item
            elif item is None:
                return
            else:
                raise item

    def _error(self, contract: Contract, job: Mapping[str, Any], error: Exception) -> Json:
        """Return the response to a failed job, and log it."""
        if not isinstance(error, WorkerError):
            log.failure(_id(job), error)
            return contract.error(InternalError("the worker failed on this job; its log names the place"))
        if isinstance(error, GpuLost):
            self._stop_worker()
        level = logging.INFO if isinstance(error, InputError) else logging.ERROR
        log.for_job(_id(job)).log(level, error.code)
        return contract.error(error)


def _items(
    contract: Contract, stream: Iterator[AudioChunk | SpeechResponse], total: StreamLimit
) -> Iterator[Json | str]:
    """Yield what a stream sends for chunks and response, each item and all together of a size that RunPod carries."""
    index, duration_s = 0, 0.0
    for item in stream:
        if isinstance(item, AudioChunk):
            duration_s = item.start_s + item.duration_s
            items = [contract.chunk(number, part) for number, part in enumerate(split_chunk(item), start=index)]
            index += len(items)
        else:
            items = _last_items(contract.last(item))
        for sent in items:
            total.add(sent, duration_s, contract.request.format)
            yield sent


def _last_items(last: Json | str) -> list[Json | str]:
    """Return the end of a stream as one item, or as several of which only the last is final."""
    if isinstance(last, str):
        return [last]
    *parts, final = split_item({name: value for name, value in last.items() if name != "final"})
    return [*({"final": False, **part} for part in parts), {"final": True, **final}]


def _id(job: Mapping[str, Any]) -> str:
    return str(job.get("id", ""))
