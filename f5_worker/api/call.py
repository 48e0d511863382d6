"""One call of an action: the worker, and the job around the request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.errors import BootFailed
from f5_worker.synthesis.context import Worker


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
    """

    loaded: Worker | None
    status: ServerStatus
    control: JobControl
    job_id: str = ""
    own_bucket: Any = None
    limit: ResponseLimit = field(default_factory=NoLimit)
    received: float = field(default_factory=time.monotonic)

    @property
    def worker(self) -> Worker:
        """Return the worker.

        Raises:
            BootFailed: it could not start.
        """
        if self.loaded is None:
            raise BootFailed(self.status.failure or "the worker is not loaded")
        return self.loaded
