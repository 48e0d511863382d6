"""The worker: load the model, then hand the jobs of RunPod's SDK to f5_worker/server/runpod.py.

Importing this module loads nothing heavy; `main()` does. The SDK starts a heartbeat process that may import it a
second time.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

# First: where imports nest deeply, CPython takes twice as long for each (its stack crosses chunks), 25 ms in all.
from f5_worker.server.startup import load_worker

# isort: split
from f5_worker import log
from f5_worker.boot import starts
from f5_worker.boot.report import read_report
from f5_worker.errors import GpuLost, HostUnfit, WorkerError
from f5_worker.server.runpod import QueueServer
from f5_worker.settings import load_settings, unknown_variables
from f5_worker.synthesis.context import Worker


def sdk_config(worker: Worker) -> dict[str, Any]:
    """Return the argument of `runpod.serverless.start`, which the SDK reads again after every job."""
    config: dict[str, Any] = {}

    def stop_worker() -> None:
        config["refresh_worker"] = True

    jobs, server = worker.settings.concurrency, QueueServer(worker, stop_worker)
    config["concurrency_modifier"] = lambda current: jobs
    if worker.settings.streaming:  # the SDK takes one form or the other, for the life of the worker
        config.update(handler=server.stream, return_aggregate_stream=True)
    else:
        config["handler"] = server.answer
    return config


def failed_config(reason: str) -> dict[str, Any]:
    """Return the same for a worker that could not start: each job is answered with the reason."""
    return {"handler": QueueServer(None, failure=reason).answer}


def main() -> None:
    """Load, then serve until told to stop."""
    boot = read_report() or {}
    starts.end_at_sigterm(lambda: boot)  # the SDK installs its own handler only when it starts to poll
    os.environ.setdefault("RUNPOD_DEBUG_LEVEL", "INFO")  # the SDK's own default logs the text of jobs
    # 1.6 s, most of it waiting to be told what the CPU is: beside the loading, and not as this module is imported.
    threading.Thread(target=importlib.import_module, args=("runpod",), daemon=True).start()
    host_fault = boot.get("host_fault")
    try:
        reason = boot.get("error") or host_fault
        config = failed_config(reason) if reason else sdk_config(_load(boot))
    except WorkerError as error:
        if not boot:  # started by hand: the line is seen on the terminal
            sys.exit(str(error))
        host_fault = str(error) if isinstance(error, GpuLost | HostUnfit) else None
        config = failed_config(str(error))
    import runpod

    if host_fault:
        runpod.serverless.register_fitness_check(_unfit(host_fault))
    if "--rp_serve_api" in sys.argv or int(os.environ.get("RUNPOD_REALTIME_PORT", "0")):
        from f5_worker.server import local_api

        local_api.serve(config)
    else:
        runpod.serverless.start(config)


def _load(boot: Mapping[str, Any]) -> Worker:
    with starts.loading(boot):
        settings = load_settings()
        log.configure(settings.log_level)
        for warning in unknown_variables():
            log.logger.warning(warning)
        return load_worker(settings)


def _unfit(reason: str) -> Any:
    """Return a check that fails: the SDK reports this machine and ends, so that the job goes to another one."""

    def host_can_run_the_model() -> None:
        raise RuntimeError(reason)

    return host_can_run_the_model


if __name__ == "__main__":
    main()
