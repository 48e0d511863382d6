"""This worker's own requests, each action at a path of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from f5_worker.api.actions import ACTIONS as WORK
from f5_worker.api.elevenlabs.voices import voice_fields
from f5_worker.api.native import Contract, Json
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.errors import InvalidInput
from f5_worker.http.bodies import read_body, with_key
from f5_worker.http.exchange import (
    BatchItemsAndProgress,
    Items,
    ItemsAndProgress,
    StreamedBody,
    answer,
    open_batch,
    open_stream,
    open_stream_with_progress,
)
from f5_worker.http.progress import JobProgress
from f5_worker.http.sse import MIME, error_event, event
from f5_worker.schema.actions import ACTIONS
from f5_worker.schema.faults import show
from f5_worker.schema.responses import BatchItemResponse
from f5_worker.synthesis.encoding import AudioChunk

router = APIRouter(tags=["native"])
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


def contract_for(request: Request, action: str, fields: dict[str, Any]) -> Contract:
    """Return the contract of a request for an action.

    Raises:
        InvalidInput: the fields name another one.
    """
    if fields.get("action", action) != action:
        raise InvalidInput(f"action is {show(fields['action'])}, and this address is for {action!r}; leave it out")
    return Contract({**with_key(request, ACTIONS[action], fields), "action": action}, request.state.id)


async def ask(request: Request, action: str, fields: dict[str, Any]) -> Json:
    """Return the response of an action."""
    return await answer(request, contract_for(request, action, fields))


def speaking(action: str) -> Endpoint:
    """Return the endpoint of an action that speaks."""

    async def speak(request: Request) -> Response:
        contract = contract_for(request, action, await read_body(request, ACTIONS[action]))
        accepted = request.headers.get("accept", "")
        if MIME in accepted:
            events = _events(contract, open_stream_with_progress(request, contract))
            return StreamedBody(request, events, media_type=MIME, error_piece=error_event)
        if "audio/" in accepted:
            items = await open_stream(request, contract)
            return StreamedBody(request, audio(items), media_type=AUDIO_FORMATS[contract.request.format].mime)
        return JSONResponse(await answer(request, contract))

    speak.__doc__ = (
        f"{ACTIONS[action].__doc__}\n\n"
        "By `Accept`: `application/json` (the default) for the whole result, `text/event-stream` for its chunks and "
        "progress as they come, `audio/*` for the file itself as it is spoken."
    )
    return speak


def batching(action: str) -> Endpoint:
    """Return the endpoint of an action that has many results."""

    async def respond(request: Request) -> Response:
        contract = contract_for(request, action, await read_body(request, ACTIONS[action]))
        if MIME in request.headers.get("accept", ""):
            events = _batch_events(open_batch(request, contract))
            return StreamedBody(request, events, media_type=MIME, error_piece=error_event)
        return JSONResponse(await answer(request, contract))

    respond.__doc__ = (
        f"{ACTIONS[action].__doc__}\n\n"
        "By `Accept`: `application/json` (the default) for all results, `text/event-stream` for each as it is done, "
        "and progress."
    )
    return respond


def asking(action: str) -> Endpoint:
    """Return the endpoint of an action that answers in JSON."""

    async def respond(request: Request) -> Response:
        return JSONResponse(await ask(request, action, await read_body(request, ACTIONS[action])))

    respond.__doc__ = ACTIONS[action].__doc__
    return respond


async def audio(items: Items) -> AsyncIterator[bytes]:
    """Yield the encoded file as it is made."""
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield item.data


async def _events(contract: Contract, items: ItemsAndProgress) -> AsyncIterator[str]:
    index = 0
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield event("chunk", contract.chunk(index, item))
                index += 1
            elif isinstance(item, JobProgress):
                yield event("progress", {"progress": item.share})
            else:
                yield event("result", contract.response(item.to_json()))


async def _batch_events(items: BatchItemsAndProgress) -> AsyncIterator[str]:
    async with aclosing(items):
        async for item in items:
            if isinstance(item, JobProgress):
                yield event("progress", {"progress": item.share})
            else:
                yield event("item" if isinstance(item, BatchItemResponse) else "result", item.to_json())


# ElevenLabs' clients ask for voices at the same addresses: the responses have the fields of both.
@router.get("/v1/voices")
async def list_voices(request: Request, after: str | None = None, limit: int = 1_000) -> Json:
    """List the voices, in order of their names."""
    listed = await ask(request, "voices.list", {"after": after, "limit": limit})
    return {**listed, "voices": [{**voice_fields(voice), **voice} for voice in listed["voices"]]}


@router.get("/v1/voices/{name}")
async def get_voice(request: Request, name: str, with_audio: bool = False) -> Json:
    """Return a voice, with its clip if asked for."""
    found = await ask(request, "voices.get", {"name": name, "with_audio": with_audio})
    return {**voice_fields(found["voice"]), **found}


@router.get("/v1/voices/{name}/report")
async def report_on_voice(request: Request, name: str) -> Json:
    """Return how well a stored voice will clone."""
    return await ask(request, "voices.report", {"name": name})


@router.delete("/v1/voices/{name}")
async def delete_voice(request: Request, name: str) -> Json:
    """Delete a voice, its clip and all copies."""
    return {**await ask(request, "voices.delete", {"name": name}), "status": "ok"}


@router.get("/v1/diagnose")
async def diagnose(request: Request) -> Json:
    """Return the boot report."""
    return await ask(request, "diagnose", {})


# The others take their fields in a body: at POST /v1/NAME, such as /v1/voices/report for `voices.report`.
_OTHERS = ("voices.list", "voices.get", "voices.delete", "health", "diagnose")
POSTED = {
    "/v1/voices" if action == "voices.add" else f"/v1/{action.replace('.', '/')}": action
    for action in ACTIONS
    if action not in _OTHERS
}
for _path, _action in POSTED.items():
    _work = WORK[ACTIONS[_action]]
    _endpoint = batching if _work.items is not None else asking if _work.stream is None else speaking
    router.add_api_route(_path, _endpoint(_action), methods=["POST"], name=_action)
