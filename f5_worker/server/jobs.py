"""A job from a transport's event loop to a thread and back: its turn, its time, its cancellation.

What every transport shares. server/runpod.py serves RunPod's queue with it, http/ serves HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from f5_worker import cancellation, log
from f5_worker.api.call import Call, ServerStatus
from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.errors import BootFailed, GpuLost, InputError, InternalError, JobTimeout, WorkerError
from f5_worker.schema.batch import BatchInput
from f5_worker.schema.responses import BatchItemResponse
from f5_worker.server.admission import Admission, Place
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker

T = TypeVar("T")

GRACE_S = 0.5  # for a thread to come to its next check and name its stage; after it the job is answered all the same
MAX_UNREAD_ITEMS = 4  # of a stream, until its caller takes them: 4 MB
MAX_UNREAD_S = 60.0  # in which a caller takes none of them


@dataclass(frozen=True)
class JobTicket:
    """A job as its transport hands it in.

    Attributes:
        request: in the native schema where it speaks.
        caller: who sent it, as far as the transport knows; callers take turns.
        own_bucket, limit: see `Call`.
        on_progress, on_result: see `JobControl`.
    """

    job_id: str
    request: object
    caller: str | None = None
    own_bucket: Any = None
    limit: ResponseLimit = field(default_factory=NoLimit)
    on_progress: Callable[[float], None] = lambda share: None
    on_result: Callable[[BatchItemResponse], None] = lambda result: None

    @property
    def n_chars(self) -> int:
        """Return how long the text is, 0 if the request speaks none: a measure of the work."""
        if isinstance(self.request, BatchInput):
            return self.request.n_chars
        return len(getattr(self.request, "text", None) or getattr(self.request, "subtitles", None) or "")


class JobRunner:
    """Runs jobs, each in a thread, so that the event loop can take, cancel and answer others meanwhile.

    Args:
        worker: None if it could not start. Jobs are then refused with `failure`; `health` and `diagnose` work.
        stop_worker: called when this process can serve no more jobs.
        failure: why the worker could not start.
    """

    def __init__(
        self, worker: Worker | None, stop_worker: Callable[[], None] = lambda: None, failure: str | None = None
    ) -> None:
        self.worker = worker
        self.settings = worker.settings if worker else Settings()
        self._stop_worker = stop_worker
        self._failure = failure
        # A thread for each job that runs, and for each that lent its place; they start when they are needed.
        n_threads = self.settings.concurrency + self.settings.queue_jobs
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="job")
        self._admission = Admission(self.settings)
        self._started = time.monotonic()

    @property
    def n_jobs(self) -> int:
        """Return how many jobs run and wait."""
        return self._admission.n_jobs

    @property
    def n_running(self) -> int:
        """Return how many jobs run."""
        return self._admission.n_running

    async def answer_at_once(self, ticket: JobTicket, work: Callable[[Call], T]) -> T:
        """Return the result of `work`, which needs neither the worker nor a turn."""
        call = self._call(ticket)
        # In a thread of its own: it reads files, and jobs may have taken all others.
        return await asyncio.to_thread(call.control.run, lambda: work(call))

    async def answer(self, ticket: JobTicket, work: Callable[[Call], T]) -> T:
        """Return the result of `work`, called in a thread when it is the job's turn; cancelled, it stops the thread.

        Raises:
            WorkerError: of `work`, or BootFailed, QueueFull, JobTimeout.
        """
        with self._cancelling(ticket) as call:
            place = await self._admission.enter(ticket.caller, ticket.n_chars)
            done = asyncio.wrap_future(self._start(call, place, lambda: work(call)))
            try:
                return await asyncio.wait_for(done, call.control.left_s() + GRACE_S)
            except TimeoutError:
                call.control.check()
                raise
            finally:
                place.is_answered = True

    async def iterate(self, ticket: JobTicket, work: Callable[[Call], Iterator[T]]) -> AsyncGenerator[T, None]:
        """Yield the items of `work`, a generator that runs in a thread; it waits while too many of them are unread.

        Another job runs in its place meanwhile, and the time does not count as the job's. Closing this iterator, or
        cancelling the task that reads it, stops the thread.

        Raises:
            WorkerError: as `answer`; items that were yielded stay valid. JobTimeout also after MAX_UNREAD_S in which
                none was read.
        """
        with self._cancelling(ticket) as call:
            place = await self._admission.enter(ticket.caller, ticket.n_chars)
            async with aclosing(self._iterate_in_thread(call, place, lambda: work(call))) as items:
                async for item in items:
                    yield item

    def told(self, job_id: str, error: Exception) -> WorkerError:
        """Log a job's error and return what its caller is told; stop the worker if its device is lost."""
        if not isinstance(error, WorkerError):
            log.failure(job_id, error)
            return InternalError("the worker failed on this job; its log names the place")
        if isinstance(error, GpuLost):
            self._stop_worker()
        level = logging.INFO if isinstance(error, InputError) else logging.ERROR
        log.for_job(job_id).log(level, error.code)
        return error

    @contextmanager
    def _cancelling(self, ticket: JobTicket) -> Iterator[Call]:
        """Yield the job's call; when the block is cancelled, the job's thread stops at its next check."""
        if self.worker is None:
            raise BootFailed(self._failure or "the worker is not loaded")
        call = self._call(ticket)
        try:
            yield call
        except (asyncio.CancelledError, GeneratorExit):
            call.control.cancel()
            log.for_job(ticket.job_id).info("cancelled")
            raise

    def _call(self, ticket: JobTicket) -> Call:
        return Call(
            loaded=self.worker,
            status=ServerStatus(time.monotonic() - self._started, self.n_jobs, self._failure),
            control=JobControl(self.settings.job_timeout_s, ticket.on_progress, ticket.on_result),
            job_id=ticket.job_id,
            own_bucket=ticket.own_bucket,
            limit=ticket.limit,
            told=self.told,
        )

    def _start(self, call: Call, place: Place, work: Callable[[], T]) -> Future[T]:
        """Do a job's work in a thread; its place is free when the thread is, maybe after the job was answered."""
        loop = asyncio.get_running_loop()

        def leave(done: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._admission.leave, place)

        def lend() -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._admission.lend_spoken, place)

        call.control.on_spoken = lend
        call.control.start()
        done = self._threads.submit(call.control.run, work)
        done.add_done_callback(leave)
        return done

    async def _iterate_in_thread(
        self, call: Call, place: Place, work: Callable[[], Iterator[T]]
    ) -> AsyncGenerator[T, None]:
        loop, items = asyncio.get_running_loop(), asyncio.Queue[Any]()
        room, end = threading.BoundedSemaphore(MAX_UNREAD_ITEMS), object()

        def run() -> None:
            try:
                for item in work():
                    if not room.acquire(blocking=False):
                        loop.call_soon_threadsafe(self._admission.lend, place)
                        _wait_for_reader(call.control, room)
                    loop.call_soon_threadsafe(items.put_nowait, item)
            finally:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(items.put_nowait, end)

        done = self._start(call, place, run)
        try:
            while (item := await _get(items, call.control.left_s() + GRACE_S)) is not end:
                room.release()
                yield item
            await asyncio.wrap_future(done)
        except TimeoutError:
            call.control.check()
            raise
        finally:
            place.is_answered = True


async def _get(items: asyncio.Queue[Any], limit_s: float) -> Any:
    """Return the next item. `asyncio.wait_for` may lose, in Python 3.11, a cancellation that comes with it."""
    async with asyncio.timeout(limit_s):
        return await items.get()


def _wait_for_reader(control: JobControl, room: threading.Semaphore) -> None:
    try:
        with control.paused():
            cancellation.acquire(room, MAX_UNREAD_S)
    except TimeoutError:
        raise JobTimeout(f"nothing of the stream was read for {MAX_UNREAD_S:g} s; read it as it comes") from None
