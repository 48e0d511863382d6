"""Workers under the real SDK: one shared by a module's tests, and as many of one's own as a test starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.fake_api import Body, FakeApi
from tests.e2e.worker_process import WorkerProcess

# Room for the sentence at 24 kHz (0.2 MB), not at 48 kHz: an oversized result costs no long synthesis.
MAX_REPLY_BYTES = 9_000_000


@dataclass
class Rig:
    """A worker and the API that it works for."""

    api: FakeApi
    worker: WorkerProcess

    def run(self, job_input: object) -> Body:
        """The body posted for one job."""
        return self.api.wait(self.api.submit(job_input))


StartRig = Callable[..., Rig]


@pytest.fixture(scope="module")
def overrides() -> Mapping[str, str]:
    """The shared worker's `F5_*` variables; a module may define its own."""
    return {"F5_MAX_REPLY_BYTES": str(MAX_REPLY_BYTES)}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, overrides: Mapping[str, str]) -> Iterator[Rig]:
    """The worker that a module's tests share; none of them may end it."""
    home = tmp_path_factory.mktemp("home")
    with FakeApi() as api, WorkerProcess(home, api, overrides=overrides) as worker:
        worker.ready()
        yield Rig(api, worker)


@pytest.fixture
def start_rig(tmp_path: Path) -> Iterator[StartRig]:
    """Start a worker of one's own, with `F5_*` overrides; not waited for."""
    with ExitStack() as stack:

        def start(**overrides: str) -> Rig:
            api = stack.enter_context(FakeApi())
            return Rig(api, stack.enter_context(WorkerProcess(tmp_path, api, overrides=overrides)))

        yield start


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[Sequence[str]], WorkerProcess]]:
    """Start a worker without RunPod around it, with command-line arguments; not waited for."""
    with ExitStack() as stack:

        def start(arguments: Sequence[str]) -> WorkerProcess:
            return stack.enter_context(WorkerProcess(tmp_path, arguments=arguments))

        yield start
