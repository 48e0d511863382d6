"""One job: the request and everything that it needs on its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from f5_worker.cancellation import JobControl
from f5_worker.delivery.artifacts import safe_id
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.schema.actions import SpeechRequest
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis.context import Stopwatch, Worker


@dataclass
class Job:
    """A request to speak.

    Attributes:
        warnings: what the caller should know of how the request was read.
        own_bucket: the bucket that the job brought along.
        queued_s: how long it waited for its turn.
        streaming: its audio is sent in chunks as it is made.
        limit: what one response of the transport carries.
    """

    request: SpeechRequest
    worker: Worker
    control: JobControl
    job_id: str = "job"
    warnings: tuple[str, ...] = ()
    own_bucket: Bucket | None = None
    queued_s: float = 0.0
    streaming: bool = False
    limit: ResponseLimit = field(default_factory=NoLimit)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def bucket(self) -> Bucket | None:
        """Return the bucket that results may go to, the job's own first."""
        return self.own_bucket or self.worker.bucket

    @cached_property
    def safe_id(self) -> str:
        """Return the job's id as part of file names; see `artifacts.safe_id`."""
        return safe_id(self.job_id)
