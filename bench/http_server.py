"""The HTTP server with tones for a model, for bench/http_load.py: `python bench/http_server.py PORT SETTINGS`.

Prints `READY`; `ALONE` with what the pipeline takes by itself, for each line of stdin; and, if asked to, `FINISHED`
with the time of each segment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker import log  # noqa: E402 - found only once the path is set
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.engine.engine import Engine  # noqa: E402
from f5_worker.engine.group import EngineGroup  # noqa: E402
from f5_worker.engine.types import WaitForSamples  # noqa: E402
from f5_worker.http.server import serve  # noqa: E402
from f5_worker.http.service import Service  # noqa: E402
from f5_worker.models.registry import ModelRegistry  # noqa: E402
from f5_worker.schema.requests import SynthesizeInput  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402
from f5_worker.synthesis.job import Job  # noqa: E402
from f5_worker.synthesis.response import stream  # noqa: E402
from f5_worker.voices.library import Library  # noqa: E402
from tests.conftest import TINY, ToneDevice, ToneState  # noqa: E402

THREE_SECONDS = {
    "text": "The morning light came slowly over the quiet hills.", "voice": "joe", "seed": 1, "format": "pcm_s16le",
}  # fmt: skip


class TimedDevice(ToneDevice):
    """Tones that take a while, and that are not remembered.

    Args:
        step_s: time of a step.
        tells: print when a segment is finished.
    """

    def __init__(self, step_s: float, tells: bool) -> None:
        super().__init__()
        self._step_s, self._tells = step_s, tells

    def step(self, states: Sequence[ToneState]) -> None:
        """Advance each state by one step."""
        time.sleep(self._step_s)
        super().step(states)

    def finish(self, states: Sequence[ToneState]) -> list[WaitForSamples]:
        """Return the tones."""
        tones = super().finish(states)
        self.segments.clear()
        if self._tells:
            print(f"FINISHED {time.monotonic()}", flush=True)
        return tones


def time_pipeline(worker: Worker) -> None:
    """For each line of stdin, print `ALONE` with the milliseconds of three seconds of pcm without a server."""
    request = SynthesizeInput.model_validate(THREE_SECONDS)
    for _ in sys.stdin:
        began = time.monotonic()
        for _ in stream(Job(request, worker, JobControl(60), streaming=True)):
            pass
        print(f"ALONE {(time.monotonic() - began) * 1e3}", flush=True)


def main() -> None:
    """Serve until killed."""
    port, given = int(sys.argv[1]), json.loads(sys.argv[2])
    device = TimedDevice(given.pop("step_s", 0.0), given.pop("tells", False))
    settings = Settings(model="f5-tiny", device="cpu", **given)
    log.configure("ERROR")
    worker = Worker(
        settings=settings,
        models=ModelRegistry(device, {}, lambda name, directory: device, settings),
        voices=Library(TINY / "voices", settings),
        engine=EngineGroup([Engine(device, settings.batch_frames)]),
    )
    threading.Thread(target=time_pipeline, args=(worker,), daemon=True).start()
    service = Service(settings)
    service.start(worker)
    print("READY", flush=True)
    asyncio.run(serve(service, "127.0.0.1", port))


if __name__ == "__main__":
    main()
