"""This worker's own requests, each action at a path of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from f5_worker.api.native import Contract
from f5_worker.http.bodies import read_json
from f5_worker.http.exchange import Items, StreamedBody, answer, open_stream
from f5_worker.http.sse import MIME, error_event, event
from f5_worker.synthesis.encoding import AudioChunk

router = APIRouter(tags=["native"])


@router.post("/v1/synthesize")
async def synthesize(request: Request) -> Response:
    """Speak a text: JSON, or with `Accept: text/event-stream` each chunk as an event."""
    contract = Contract({"action": "synthesize", **await read_json(request)}, request.state.id)
    if MIME not in request.headers.get("accept", ""):
        return JSONResponse(await answer(request, contract))
    items = await open_stream(request, contract)
    return StreamedBody(request, _events(contract, items), media_type=MIME, error_piece=error_event)


async def _events(contract: Contract, items: Items) -> AsyncIterator[str]:
    index = 0
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield event("chunk", contract.chunk(index, item))
                index += 1
            else:
                yield event("result", contract.response(item.to_json()))
