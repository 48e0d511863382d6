"""OpenAI's audio API: speech, and the lists of models and voices that its clients show."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from f5_worker.api.elevenlabs.voices import model_fields
from f5_worker.api.native import Contract, Json
from f5_worker.api.openai import ROUTE, OpenAIContract, SpeechInput
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.errors import UnknownModel
from f5_worker.http.bodies import read_json, with_key
from f5_worker.http.exchange import Items, StreamedBody, answer, open_stream, warning_headers
from f5_worker.http.routes.native import ask, audio
from f5_worker.http.sse import MIME, error_event
from f5_worker.synthesis.encoding import AudioChunk

router = APIRouter(tags=["OpenAI"])


@router.post(ROUTE)
async def speech(request: Request) -> Response:
    """Speak a text: the audio as it is spoken, or with `stream_format: sse` as server-sent events.

    What has no effect here is named in the header X-Warnings.
    """
    body = with_key(request, SpeechInput, await read_json(request))
    contract = OpenAIContract({"openai_route": ROUTE, "openai_input": body}, request.state.id)
    items = await open_stream(request, contract)
    headers = warning_headers(contract.warnings)
    if contract.sends_events:
        pieces = _events(contract, items)
        return StreamedBody(request, pieces, media_type=MIME, headers=headers, error_piece=error_event)
    mime = AUDIO_FORMATS[contract.request.format].mime
    return StreamedBody(request, audio(items), media_type=mime, headers=headers)


@router.get("/v1/models")
@router.get("/v1/audio/models")
async def models(request: Request) -> Response:
    """List the checkpoints of this worker; in ElevenLabs' form for its clients, which send `xi-api-key`."""
    names = await _model_names(request)
    if "xi-api-key" in request.headers:
        return JSONResponse([model_fields(name) for name in names])
    return JSONResponse({"object": "list", "data": [_model(name) for name in names]})


@router.get("/v1/models/{name}")
async def model(request: Request, name: str) -> Json:
    """Return one checkpoint."""
    if name not in await _model_names(request):
        raise UnknownModel("this worker has no checkpoint of that name; GET /v1/models lists them")
    return _model(name)


@router.get("/v1/audio/voices")
async def voices(request: Request) -> Json:
    """List the voices by id and name, as clients ask for their menus."""
    listed = await ask(request, "voices.list", {})
    return {"voices": [{"id": voice["name"], "name": voice["name"]} for voice in listed["voices"]]}


async def _model_names(request: Request) -> Sequence[str]:
    names: list[str] = (await answer(request, Contract({"action": "health"}, request.state.id))).get("models", [])
    return names


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "f5-tts"}


async def _events(contract: OpenAIContract, items: Items) -> AsyncIterator[str]:
    index = 0
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield str(contract.chunk(index, item))
                index += 1
            else:
                yield str(contract.last(item))
