"""The worker behind the HTTP server, from the moment the port is open: it loads, is ready, or cannot serve."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fastapi import FastAPI, Request

from f5_worker.errors import GpuLost, NotReady
from f5_worker.server.jobs import JobRunner
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker

State = Literal["loading", "ready", "failed", "lost"]


@dataclass
class Service:
    """What all routes share.

    Attributes:
        state: `loading` until the model is loaded; `failed` where it could not be; `lost` after the device is.
    """

    settings: Settings
    state: State = "loading"
    failure: str = ""
    _runner: JobRunner | None = field(default=None, init=False)

    def start(self, worker: Worker) -> None:
        """Serve jobs with a loaded worker."""
        self._runner = JobRunner(worker, self._lose_device)
        self.state = "ready"

    def fail(self, reason: str) -> None:
        """Answer `health` and `diagnose`, and refuse all other jobs with the reason."""
        self._runner = JobRunner(None, failure=reason)
        self.state, self.failure = "failed", reason

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
        return self._runner or JobRunner(None, failure="the model is being loaded")

    def _lose_device(self) -> None:
        self.state = "lost"


def service_of(request: Request) -> Service:
    """Return the service of the application that a request came to."""
    app: FastAPI = request.app
    service: Service = app.state.service
    return service
