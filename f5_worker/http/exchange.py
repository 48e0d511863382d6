"""From a request's contract to the worker and back: a whole response, or a stream that has begun."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Send

from f5_worker.api.actions import ACTIONS
from f5_worker.api.call import Call
from f5_worker.api.native import Contract, Json
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.http.service import service_of
from f5_worker.schema.responses import SpeechResponse
from f5_worker.server.connection import while_connected
from f5_worker.server.jobs import JobTicket
from f5_worker.synthesis.encoding import AudioChunk

Items: TypeAlias = AsyncGenerator[AudioChunk | SpeechResponse, None]


def ticket(request: Request, contract: Contract, limit: ResponseLimit | None = None) -> JobTicket:
    """Return a request as the runner takes it: its caller is the name of its key, or its address."""
    return JobTicket(
        job_id=request.state.id, request=contract.request, caller=request.state.caller, limit=limit or NoLimit()
    )


async def answer(request: Request, contract: Contract) -> Json:
    """Return the response to a request in its contract's form. A caller that disconnects cancels the job.

    Raises:
        WorkerError: any.
    """
    service = service_of(request)
    parsed = contract.read()
    action = ACTIONS[type(parsed)]

    def work(call: Call) -> Json:
        return contract.response(action.answer(parsed, call))

    if not action.needs_worker:
        return await service.any_runner.answer_at_once(ticket(request, contract), work)
    return await while_connected(request, service.runner.answer(ticket(request, contract), work))


async def open_stream(request: Request, contract: Contract) -> Items:
    """Wait for the first audio of a request that speaks; return all chunks, and the response without their audio.

    An error until then is raised here, so that it has a status of its own. The header of a file comes earlier, and
    waits for it.

    Raises:
        WorkerError: any.
    """
    parsed = contract.read()
    stream = ACTIONS[type(parsed)].stream
    assert stream is not None, "a request that speaks"  # noqa: S101
    items = service_of(request).runner.iterate(ticket(request, contract), lambda call: stream(parsed, call))
    try:
        begun = await while_connected(request, _read_until_audio(items))
    except BaseException:
        await items.aclose()
        raise
    return _continue(begun, items)


async def _read_until_audio(items: Items) -> list[AudioChunk | SpeechResponse]:
    begun = []
    async for item in items:
        begun.append(item)
        if not isinstance(item, AudioChunk) or item.duration_s:
            break
    return begun


async def _continue(begun: list[AudioChunk | SpeechResponse], items: Items) -> Items:
    async with aclosing(items):
        for item in begun:
            yield item
        async for item in items:
            yield item


class StreamedBody(StreamingResponse):
    """A response sent in pieces as they come. A caller that disconnects cancels the job.

    After an error the connection is closed without the end of the body, so that no client takes the part that it has
    for the whole.

    Args:
        error_piece: returns a last piece that tells the error, in forms that have one; the body then ends in order.
    """

    def __init__(
        self,
        request: Request,
        pieces: AsyncIterator[bytes | str],
        *,
        media_type: str,
        headers: dict[str, str] | None = None,
        error_piece: Callable[[Any], str] | None = None,
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._request, self._error_piece = request, error_piece

    async def stream_response(self, send: Send) -> None:
        """Send the pieces."""
        runner, job_id = service_of(self._request).any_runner, self._request.state.id
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self.body_iterator:
                await self._send(send, piece)
        except Exception as error:  # noqa: BLE001 - the edge: the response has begun, no handler can answer it
            told = runner.told(job_id, error)
            if self._error_piece is None:
                return
            await self._send(send, self._error_piece(told))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, piece: Any) -> None:
        body = piece.encode() if isinstance(piece, str) else piece
        await send({"type": "http.response.body", "body": body, "more_body": True})
