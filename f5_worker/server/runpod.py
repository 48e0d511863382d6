"""RunPod's queue: a job from the SDK's event loop to a thread and back, within the limits of the queue."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from f5_worker import cancellation, log
from f5_worker.api.actions import ACTIONS
from f5_worker.api.call import Call, ServerStatus
from f5_worker.api.contracts import contract_of
from f5_worker.api.native import Contract, Json
from f5_worker.cancellation import JobControl
from f5_worker.errors import BootFailed, GpuLost, InputError, InternalError, WorkerError
from f5_worker.schema.responses import SpeechResponse
from f5_worker.server.admission import Admission, Place
from f5_worker.server.limits import MAX_ITEM_BYTES, JsonLimit, StreamLimit, split_chunk, split_item
from f5_worker.server.progress import Progress, send_to_runpod
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.voices.places import owner_of

T = TypeVar("T")

GRACE_S = 0.5  # for a thread to come to its next check and name its stage; after it the job is answered all the same
MAX_UNREAD_ITEMS = 4  # of a stream, until its caller takes them: 4 MB


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

        def work() -> Json:
            response = contract.response(action.answer(request, call))
            limit.check(response)
            return response

        if not action.needs_worker:  # in a thread of its own: it reads files, and jobs may have taken all others
            call = self._call(job, JobControl(self._settings.job_timeout_s))
            return await asyncio.to_thread(call.control.run, work)
        if self._worker is None:
            raise BootFailed(self._failure or "the worker is not loaded")
        with self._cancelling(job, send_progress=True) as call:
            place = await self._admission.enter(self._caller(contract.request), _text_chars(contract.request))
            done = asyncio.wrap_future(self._start(call, place, work))
            try:
                return await asyncio.wait_for(done, call.control.left_s() + GRACE_S)
            except TimeoutError:
                call.control.check()
                raise
            finally:
                place.is_answered = True

    async def _stream(
        self,
        job: Mapping[str, Any],
        contract: Contract,
        request: object,
        stream: Callable[[Any, Call], Iterator[Any]],
    ) -> AsyncIterator[Json | str]:
        with self._cancelling(job, send_progress=False) as call:

            def work() -> Iterator[Json | str]:
                yield from _items(contract, stream(request, call), StreamLimit(self._limit))

            place = await self._admission.enter(self._caller(contract.request), _text_chars(contract.request))
            async for item in self._iterate_in_thread(call, place, work):
                yield item

    @contextmanager
    def _cancelling(self, job: Mapping[str, Any], *, send_progress: bool) -> Iterator[Call]:
        """Yield the job's call; when the block is cancelled, the job's thread stops at its next check."""
        progress = Progress(job, send_to_runpod if send_progress else None)
        control = JobControl(self._settings.job_timeout_s, progress)
        try:
            yield self._call(job, control)
        except (asyncio.CancelledError, GeneratorExit):
            control.cancel()
            log.for_job(_id(job)).info("cancelled")
            raise

    def _caller(self, request: object) -> str | None:
        """Return who sent a request, as far as its `voices_key` tells."""
        return owner_of(getattr(request, "voices_key", None), self._settings)

    def _start(self, call: Call, place: Place, work: Callable[[], T]) -> Future[T]:
        """Do a job's work in a thread; its place is free when the thread is, maybe after the job was answered."""
        loop = asyncio.get_running_loop()

        def leave(done: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._admission.leave, place)

        call.control.start()
        done = self._threads.submit(call.control.run, work)
        done.add_done_callback(leave)
        return done

    def _call(self, job: Mapping[str, Any], control: JobControl) -> Call:
        return Call(
            loaded=self._worker,
            status=ServerStatus(time.monotonic() - self._started, self._admission.n_jobs, self._failure),
            control=control,
            job_id=_id(job),
            own_bucket=job.get("s3Config"),
            limit=self._limit,
        )

    async def _iterate_in_thread(self, call: Call, place: Place, work: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Yield the items of a generator that runs in a job's thread; it waits while too many of them are unread."""
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Any]()
        room, end = threading.BoundedSemaphore(MAX_UNREAD_ITEMS), object()

        def run() -> None:
            try:
                for item in work():
                    cancellation.acquire(room)
                    loop.call_soon_threadsafe(items.put_nowait, item)
            finally:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(items.put_nowait, end)

        done = self._start(call, place, run)
        try:
            while (item := await asyncio.wait_for(items.get(), call.control.left_s() + GRACE_S)) is not end:
                room.release()
                yield item
            await asyncio.wrap_future(done)
        except TimeoutError:
            call.control.check()
            raise
        finally:
            place.is_answered = True

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


def _text_chars(request: object) -> int:
    """Return how long the text of a request is, 0 if it speaks none: a measure of the work."""
    return len(getattr(request, "text", None) or getattr(request, "subtitles", None) or "")


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
