"""The state of the server: `/ping` for load balancers, `/health` as the action."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from f5_worker.api.native import Contract
from f5_worker.http.exchange import answer
from f5_worker.http.service import State, service_of

router = APIRouter(tags=["state"])
# RunPod's load balancer: 200 takes requests, 204 is starting, anything else is unhealthy.
PING: dict[State, int] = {"loading": 204, "ready": 200, "failed": 503, "lost": 503}


@router.get("/ping")
@router.head("/ping", include_in_schema=False)
async def ping(request: Request) -> Response:
    """Answer 200 when requests are served, 204 while the model is loaded, 503 when neither will happen."""
    return Response(status_code=PING[service_of(request).state])


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    return Response(service_of(request).metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Return the state of the worker, as the action `health`."""
    return await answer(request, Contract({"action": "health"}, request.state.id))
