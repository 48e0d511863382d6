"""OpenAI's audio API: `POST /v1/audio/speech`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import Response

from f5_worker.api.openai import ROUTE, OpenAIContract
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.http.bodies import read_json
from f5_worker.http.exchange import Items, StreamedBody, open_stream
from f5_worker.http.sse import MIME, error_event
from f5_worker.synthesis.encoding import AudioChunk

router = APIRouter(tags=["OpenAI"])


@router.post(ROUTE)
async def speech(request: Request) -> Response:
    """Speak a text: the audio as it is spoken, or with `stream_format: sse` as server-sent events."""
    body = await read_json(request)
    contract = OpenAIContract({"openai_route": ROUTE, "openai_input": body}, request.state.id)
    items = await open_stream(request, contract)
    if contract.sends_events:
        return StreamedBody(request, _events(contract, items), media_type=MIME, error_piece=error_event)
    return StreamedBody(request, _audio(items), media_type=AUDIO_FORMATS[contract.request.format].mime)


async def _audio(items: Items) -> AsyncIterator[bytes]:
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield item.data


async def _events(contract: OpenAIContract, items: Items) -> AsyncIterator[str]:
    index = 0
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield str(contract.chunk(index, item))
                index += 1
            else:
                yield str(contract.last(item))
