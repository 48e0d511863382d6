"""The worker behind the HTTP server, from the moment the port is open: it loads, is ready, or cannot serve."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from starlette.requests import HTTPConnection

from f5_worker.errors import GpuLost, NotReady, WorkerError
from f5_worker.http.long_jobs import LongJobs
from f5_worker.http.metrics import ServerMetrics
from f5_worker.server.jobs import JobRunner
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker

State = Literal["loading", "ready", "failed", "lost"]


class Service:
    """The state that all routes share.

    Attributes:
        state: `loading` until the model is loaded; `failed` where it could not be; `lost` after the device is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state: State = "loading"
        self.metrics = ServerMetrics(lambda: (self.state == "ready", self.any_runner))
        self.long_jobs = LongJobs(settings)
        self._runner: JobRunner | None = None

    def start(self, worker: Worker) -> None:
        """Serve jobs with a loaded worker."""
        self._runner = JobRunner(worker, self._lose_device)
        self.state = "ready"

    def fail(self, reason: str) -> None:
        """Answer `health` and `diagnose`, and refuse all other jobs with the reason."""
        self._runner = JobRunner(None, failure=reason)
        self.state = "failed"

    @property
    def runner(self) -> JobRunner:
        """Return what runs jobs.

        Raises:
            NotReady: the model is being loaded.
            GpuLost: this process can serve no more jobs.
        """
        if self._runner is None:
            raise NotReady("the model is being loaded; send it again in a few seconds")
        if self.state == "lost":
            raise GpuLost("the device was lost by an earlier job; this worker has to be started again")
        return self._runner

    @property
    def any_runner(self) -> JobRunner:
        """Return what runs the actions that need no worker, in every state."""
        return self._runner or self._without_worker

    def told(self, job_id: str, error: Exception) -> WorkerError:
        """Log and count an error, and return what the caller is told."""
        told = self.any_runner.told(job_id, error)
        self.metrics.count_error(told.code)
        return told

    @cached_property
    def _without_worker(self) -> JobRunner:
        return JobRunner(None, failure="the model is being loaded")

    def _lose_device(self) -> None:
        self.state = "lost"


def service_of(connection: HTTPConnection) -> Service:
    """Return the service of the application that a request, or a WebSocket, came to."""
    service: Service = connection.app.state.service
    return service
