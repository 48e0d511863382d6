"""Jobs whose callers do not wait for them: each is told its job's id, asks for its state, and fetches the result.

They are kept in memory: finished ones until they are deleted, for F5_HTTP_JOBS_S, or until the newer ones' results take
F5_HTTP_JOBS_MB.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Literal, TypeAlias

from f5_worker.api.native import Json
from f5_worker.errors import JobCancelled, NotFound, WorkerError
from f5_worker.http.errors import error_body
from f5_worker.http.progress import ProgressFeed
from f5_worker.schema.responses import BatchItemResponse, BatchResponse
from f5_worker.settings import Settings

State: TypeAlias = Literal["queued", "running", "completed", "failed", "cancelled"]

MAX_FINISHED = 1_000
AT_ONCE_S = 0.05  # an error that comes this soon, such as a full queue, is the response to the request itself
_BYTES_OF_MB = 1_000_000


class LongJob:
    """One job.

    Attributes:
        caller: its name, or address; see middleware.py.
        feed: progress.
        results: of a batch, as they are done; those of one that was cancelled or failed stay.
        result, error: as its caller is told them, once it has ended. Not the exception, which keeps the request.
        n_bytes: size of the result.
    """

    def __init__(self, job_id: str, caller: str) -> None:
        self.id, self.caller = job_id, caller
        self.created_at = time.time()
        self.feed = ProgressFeed()
        self.results: list[BatchItemResponse] = []
        self.result: Json | None = None
        self.error: Json | None = None
        self.ended_at: float | None = None
        self.n_bytes = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Return where it stands."""
        if self.result is not None:
            return "completed"
        if self.error is not None:
            return "cancelled" if self.error["error"]["code"] == JobCancelled.code else "failed"
        return "running" if self.feed.is_begun else "queued"

    def to_json(self, *, with_result: bool = True) -> Json:
        """Return its state, and its result or error."""
        shown: Json = {
            "id": self.id, "status": self.state, "progress": round(self.feed.share, 3), "created_at": self.created_at,
        }  # fmt: skip
        if self.error is not None:
            shown |= self.error
        if self.results:
            shown["partial"] = self._partial(with_results=with_result)
        if self.result is not None:
            shown["progress"] = 1.0
            shown |= {"result": self.result} if with_result else {}
        return shown

    def _partial(self, *, with_results: bool) -> Json:
        done = sorted(self.results, key=lambda item: item.index)
        n_failed = sum(item.error is not None for item in done)
        items = done if with_results else None
        return BatchResponse(succeeded=len(done) - n_failed, failed=n_failed, items=items).to_json()


class LongJobs:
    """The jobs of a server, by id. Used on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._keep_s, self._max_bytes = settings.http_jobs_s, settings.http_jobs_mb * _BYTES_OF_MB
        self._jobs: dict[str, LongJob] = {}

    async def submit(
        self,
        job: LongJob,
        work: Coroutine[Any, Any, Json],
        told: Callable[[str, Exception], WorkerError],
    ) -> LongJob:
        """Start a job.

        Raises:
            WorkerError: what `work` raises at once.
        """
        task = asyncio.create_task(work)
        await asyncio.wait((task,), timeout=AT_ONCE_S)
        if task.done() and (error := task.exception()):
            raise error
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, task, told))
        self._forget()
        return job

    def find(self, job_id: str, caller: str) -> LongJob:
        """Return a caller's job.

        Raises:
            NotFound: it has none of that id, or not any more.
        """
        self._forget()
        job = self._jobs.get(job_id)
        if job is None or job.caller != caller:
            raise NotFound(
                f"there is no job of that id; finished ones are kept for {self._keep_s:g} s (F5_HTTP_JOBS_S), and the "
                f"newest {self._max_bytes // _BYTES_OF_MB} MB of results (F5_HTTP_JOBS_MB)"
            )
        return job

    def of(self, caller: str) -> list[LongJob]:
        """Return a caller's jobs, in the order in which they came."""
        self._forget()
        return [job for job in self._jobs.values() if job.caller == caller]

    async def cancel(self, job: LongJob) -> None:
        """Stop a job; forget one that has ended."""
        if job.ended_at is not None:
            del self._jobs[job.id]
        elif job.task is not None:
            job.task.cancel()
            await asyncio.wait((job.task,))

    async def follow(self, job: LongJob) -> AsyncIterator[Json]:
        """Yield the state of a job whenever it changes, and its end."""
        while job.ended_at is None and job.task is not None:
            yield job.to_json(with_result=False)
            progress = asyncio.ensure_future(job.feed.next())
            try:
                await asyncio.wait((job.task, progress), return_when=asyncio.FIRST_COMPLETED)
            finally:
                progress.cancel()
        yield job.to_json(with_result=False)

    async def _run(self, job: LongJob, work: asyncio.Task[Json], told: Callable[[str, Exception], WorkerError]) -> None:
        try:
            job.result = await work
            job.results.clear()
            job.n_bytes = len(json.dumps(job.result))
        except asyncio.CancelledError:
            job.error = error_body(JobCancelled("the job was cancelled by its caller"))
        except Exception as error:  # noqa: BLE001 - the edge: nothing awaits the task
            job.error = error_body(told(job.id, error))
        if job.results:
            job.n_bytes = len(json.dumps(job.to_json()))
        job.ended_at = time.monotonic()

    def _forget(self) -> None:
        now, n_bytes, n_jobs = time.monotonic(), 0, 0
        ended = [job for job in self._jobs.values() if job.ended_at is not None]
        for job in sorted(ended, key=lambda job: job.ended_at or 0.0, reverse=True):
            n_bytes, n_jobs = n_bytes + job.n_bytes, n_jobs + 1
            is_old = now - (job.ended_at or 0.0) > self._keep_s
            if is_old or n_bytes > self._max_bytes or n_jobs > MAX_FINISHED:
                del self._jobs[job.id]
