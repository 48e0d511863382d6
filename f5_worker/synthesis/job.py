"""One job: the request and everything that it needs on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from f5_worker.cancellation import JobControl
from f5_worker.delivery.artifacts import safe_id, safe_part
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.schema.actions import SpeechRequest
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis.context import Stopwatch, Worker


@dataclass(frozen=True)
class Estimate:
    """What a job takes in any case, as far as it is known before the device begins.

    Attributes:
        response_bytes: of the response, for the audio; none where the bucket may take it.
        device_s: of the device's time; None where its speed was not measured.
    """

    response_bytes: float
    device_s: float | None = None


@dataclass
class Job:
    """A request to speak.

    Attributes:
        job_id: one that is safe where `part` is given, since each call of `safe_id` may make up another.
        part: the name of this part of the job, if it is one; from the caller.
        warnings: what the caller should know of how the request was read.
        own_bucket: the bucket that the job brought along.
        queued_s: how long it waited for its turn.
        streaming: its audio is sent in chunks as it is made.
        limit: what one response of the transport carries.
        admit: called before the device begins; it raises if there is no room or no time for the job.
    """

    request: SpeechRequest
    worker: Worker
    control: JobControl
    job_id: str = "job"
    part: str | None = None
    warnings: tuple[str, ...] = ()
    own_bucket: Bucket | None = None
    queued_s: float = 0.0
    streaming: bool = False
    limit: ResponseLimit = field(default_factory=NoLimit)
    admit: Callable[[Estimate], None] = lambda estimate: None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def bucket(self) -> Bucket | None:
        """Return the bucket that results may go to, the job's own first."""
        return self.own_bucket or self.worker.bucket

    @cached_property
    def safe_id(self) -> str:
        """Return the job's id as part of file names; see `artifacts.safe_id`."""
        return safe_id(self.job_id) if self.part is None else safe_part(self.job_id, self.part)
