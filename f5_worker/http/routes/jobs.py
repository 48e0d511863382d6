"""Long work: a job is begun, asked after, fetched and cancelled by its id."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from f5_worker.api.native import Contract, Json
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.errors import InvalidInput
from f5_worker.http.bodies import read_json, with_key
from f5_worker.http.exchange import StreamedBody, answer_detached
from f5_worker.http.long_jobs import LongJob
from f5_worker.http.service import service_of
from f5_worker.http.sse import MIME, event
from f5_worker.schema.actions import ACTIONS

router = APIRouter(tags=["jobs"])


@router.post("/v1/jobs", status_code=202)
async def begin(request: Request) -> Json:
    """Start a job: the body of any action, with its `action`. The response has its id at once."""
    body = await read_json(request)
    kind = ACTIONS.get(str(body.get("action", "synthesize")))
    contract = Contract(body if kind is None else with_key(request, kind, body), request.state.id)
    service = service_of(request)
    job = LongJob(request.state.id, request.state.caller)
    work = answer_detached(request, contract, job.feed, job.results.append)
    return (await service.long_jobs.submit(job, work, service.told)).to_json()


@router.get("/v1/jobs")
async def list_jobs(request: Request) -> Json:
    """List the caller's jobs, without their results."""
    jobs = service_of(request).long_jobs.of(request.state.caller)
    return {"jobs": [job.to_json(with_result=False) for job in jobs]}


@router.get("/v1/jobs/{job_id}")
async def get_job(request: Request, job_id: str) -> Response:
    """Return a job's state; its result once it is completed, or its error."""
    return JSONResponse(_find(request, job_id).to_json())


@router.get("/v1/jobs/{job_id}/audio")
async def get_audio(request: Request, job_id: str) -> Response:
    """Return the file of a completed job."""
    job = _find(request, job_id)
    audio = (job.result or {}).get("audio", {})
    if "base64" not in audio:
        raise InvalidInput(f"the job is {job.state} and has no file here; ask for its state")
    return Response(base64.b64decode(audio["base64"]), media_type=AUDIO_FORMATS[audio["format"]].mime)


@router.get("/v1/jobs/{job_id}/events")
async def follow(request: Request, job_id: str) -> Response:
    """Send the state of a job whenever it changes, as server-sent events, until it ends."""
    return StreamedBody(request, _events(request, _find(request, job_id)), media_type=MIME)


@router.delete("/v1/jobs/{job_id}")
async def cancel(request: Request, job_id: str) -> Json:
    """Cancel a job within one step of its model; delete one that has ended."""
    job = _find(request, job_id)
    await service_of(request).long_jobs.cancel(job)
    return job.to_json(with_result=False)


def _find(request: Request, job_id: str) -> LongJob:
    return service_of(request).long_jobs.find(job_id, request.state.caller)


async def _events(request: Request, job: LongJob) -> AsyncIterator[str]:
    async for state in service_of(request).long_jobs.follow(job):
        yield event("job", state)
