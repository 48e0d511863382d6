"""RunPod's local API, which the SDK serves where there is no queue, without two of its faults.

The SDK (runpod 1.12.0) posts a result to the `webhook` that a job names, at any address, and goes on with a job whose
caller has disconnected. Importing this module imports FastAPI.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import runpod
from fastapi import Request
from runpod.serverless.modules.rp_fastapi import DefaultRequest, JobOutput, StreamOutput, WorkerAPI

from f5_worker.log import logger
from f5_worker.server.connection import while_connected

REALTIME_PORT = "RUNPOD_REALTIME_PORT"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class LocalAPI(WorkerAPI):  # type: ignore[misc]
    """The SDK's API. Its methods are the endpoints."""

    async def _sim_run(self, job_request: DefaultRequest) -> JobOutput:
        return await super()._sim_run(_without_webhook(job_request))

    async def _sim_runsync(self, job_request: DefaultRequest, request: Request) -> JobOutput:
        return await while_connected(request, super()._sim_runsync(_without_webhook(job_request)))

    async def _sim_stream(self, job_id: str, request: Request) -> StreamOutput:
        return await while_connected(request, super()._sim_stream(job_id))

    async def _sim_status(self, job_id: str, request: Request) -> JobOutput:
        return await while_connected(request, super()._sim_status(job_id))


def serve(config: dict[str, Any]) -> None:
    """Serve jobs as `runpod.serverless.start` does with `--rp_serve_api` or RUNPOD_REALTIME_PORT."""
    args, _ = runpod.serverless.parser.parse_known_args()
    host, port = args.rp_api_host, args.rp_api_port
    if not args.rp_serve_api:
        host, port = "0.0.0.0", os.environ[REALTIME_PORT]  # noqa: S104 - RunPod's proxy is in front of it
    elif host not in LOOPBACK:
        logger.warning("the local API has no key: anyone who reaches port %s of %s can send jobs", port, host)
    LocalAPI(config).start_uvicorn(host, port, 1)


def _without_webhook(job_request: DefaultRequest) -> DefaultRequest:
    if job_request.webhook is not None:
        logger.warning("a job's webhook is not called: the local API returns its result")
    return replace(job_request, webhook=None)
