"""One call of an action: the worker, and the job around the request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from f5_worker import log
from f5_worker.api.job_bucket import bucket_from_job
from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.delivery.save import save
from f5_worker.errors import BootFailed, InternalError, WorkerError
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.responses import SpeechResponse
from f5_worker.storage import files
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job

Done = TypeVar("Done", bound=SpeechResponse)


def _not_foreseen(job_id: str, error: Exception) -> WorkerError:
    return error if isinstance(error, WorkerError) else InternalError("the worker failed on this job")


@dataclass(frozen=True)
class ServerStatus:
    """The state of the server. `failure`: why the worker could not start, None if it did."""

    uptime_s: float
    n_jobs: int
    failure: str | None = None


@dataclass(frozen=True)
class Call:
    """The context of a request.

    Attributes:
        loaded: the worker; None if it could not start.
        own_bucket: the job's `s3Config` as it came; None if it has none.
        limit: what one response of the transport carries.
        received: `time.monotonic()` when the job came; it may have waited for its turn since.
        told: logs an error of a part of the job and returns what the caller is told, as for the error of a whole job.
    """

    loaded: Worker | None
    status: ServerStatus
    control: JobControl
    job_id: str = ""
    own_bucket: Any = None
    limit: ResponseLimit = field(default_factory=NoLimit)
    received: float = field(default_factory=time.monotonic)
    told: Callable[[str, Exception], WorkerError] = _not_foreseen

    @property
    def worker(self) -> Worker:
        """Return the worker.

        Raises:
            BootFailed: it could not start.
        """
        if self.loaded is None:
            raise BootFailed(self.status.failure or "the worker is not loaded")
        return self.loaded

    def bucket(self) -> Bucket | None:
        """Return the bucket that the job brought along, if it did.

        Raises:
            BootFailed: the worker could not start.
            InvalidInput, FetchRefused: it cannot be used.
        """
        settings = self.worker.settings
        return None if self.own_bucket is None else Bucket(bucket_from_job(self.own_bucket, settings), settings)

    def job(self, request: SpeechRequest, own_bucket: Bucket | None, **fields: Any) -> Job:
        """Return the job of a request to speak; `fields` are others than the call's.

        Raises:
            BootFailed: the worker could not start.
        """
        own = {"control": self.control, "job_id": self.job_id, "limit": self.limit}
        queued_s = time.monotonic() - self.received
        return Job(request, self.worker, own_bucket=own_bucket, queued_s=queued_s, **{**own, **fields})


def finish(job: Job, done: Done) -> Done:
    """Save and log a result, and return it."""
    directory = job.worker.settings.save_dir
    if directory is not None and done.audio.data is not None:
        try:
            save(done, directory, job.safe_id)
        except OSError as error:  # the caller's result is complete without the copy
            log.for_job(job.job_id).error("%s was not saved to F5_SAVE_DIR: %s", job.safe_id, files.explain(error))
    metrics = done.metrics
    log.for_job(job.job_id).info(
        "done: %.1f s of %s in %.0f ms, RTF %.3f, NFE %d",
        done.audio.duration_s, done.audio.format, metrics.total_ms, metrics.rtf, metrics.nfe,
    )  # fmt: skip
    return done
