"""How many jobs a server takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from f5_worker.errors import QueueFull
from f5_worker.settings import Settings


class Admission:
    """Counts the jobs that run or wait, and refuses those beyond the settings' bounds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.n_jobs = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a job for the length of the block.

        Raises:
            QueueFull: as many jobs as allowed run and wait.
        """
        running, waiting = self._settings.concurrency, self._settings.queue_jobs
        if self.n_jobs >= running + waiting:
            raise QueueFull(
                f"{self.n_jobs} jobs are here already, at most {running} run and {waiting} wait "
                "(F5_CONCURRENCY, F5_QUEUE_JOBS); send it again later"
            )
        self.n_jobs += 1
        try:
            yield
        finally:
            self.n_jobs -= 1
