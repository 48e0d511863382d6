"""From a request's contract to the worker and back: a whole response, or a stream that has begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection
from starlette.types import Send

from f5_worker.api.actions import ACTIONS
from f5_worker.api.call import Call
from f5_worker.api.native import Contract, Json
from f5_worker.delivery.inline import NoLimit, ResponseLimit
from f5_worker.errors import JobTimeout, WorkerError
from f5_worker.http.progress import JobProgress, ProgressFeed, with_progress
from f5_worker.http.service import service_of
from f5_worker.schema.responses import BatchItemResponse, BatchResponse, SpeechResponse
from f5_worker.server.connection import while_connected
from f5_worker.server.jobs import MAX_UNREAD_S, JobTicket
from f5_worker.server.limits import JsonLimit
from f5_worker.synthesis.encoding import AudioChunk

WARNINGS = "X-Warnings"
MAX_HEADER_CHARS = 1_000

T = TypeVar("T")
Items: TypeAlias = AsyncGenerator[AudioChunk | SpeechResponse, None]
ItemsAndProgress: TypeAlias = AsyncGenerator[AudioChunk | SpeechResponse | JobProgress, None]
BatchItems: TypeAlias = AsyncGenerator[BatchItemResponse | BatchResponse, None]
BatchItemsAndProgress: TypeAlias = AsyncGenerator[BatchItemResponse | BatchResponse | JobProgress, None]


async def answer(request: Request, contract: Contract) -> Json:
    """Return the response to a request in its contract's form. A caller that disconnects cancels the job.

    Raises:
        WorkerError: any.
    """
    return await while_connected(request, answer_detached(request, contract))


async def answer_detached(
    connection: HTTPConnection,
    contract: Contract,
    on_progress: Callable[[float], None] = lambda share: None,
    on_result: Callable[[BatchItemResponse], None] = lambda result: None,
) -> Json:
    """Return the response to a request, whether its caller stays connected or not; as `answer`."""
    service = service_of(connection)
    parsed = contract.read()
    action = ACTIONS[type(parsed)]
    limit = JsonLimit(service.settings.max_reply_bytes)
    ticket = _ticket(connection, contract, limit, on_progress, on_result)

    def work(call: Call) -> Json:
        response = contract.response(action.answer(parsed, call))
        limit.check(response)
        return response

    if not action.needs_worker:
        return await service.any_runner.answer_at_once(ticket, work)
    with service.metrics.job() as observed:
        response = await service.runner.answer(ticket, work)
        for result in (response, *(item.get("result", {}) for item in response.get("items", ()))):
            observed.end(result.get("audio"), result.get("metrics"))
        return response


async def open_stream(request: Request, contract: Contract) -> Items:
    """Wait for the first audio of a request that speaks; return all chunks, and the response without their audio.

    An error until then is raised here, so that it has a status of its own. The header of a file comes earlier, and
    waits for it.

    Raises:
        WorkerError: any.
    """
    items = stream(request, contract, contract.read())
    try:
        begun = await while_connected(request, _read_until_audio(items))
    except BaseException:
        await items.aclose()
        raise
    return _continue(begun, items)


def open_stream_with_progress(request: Request, contract: Contract) -> ItemsAndProgress:
    """Return the same, and the job's progress between them; here the error of a job comes with the items.

    Raises:
        WorkerError: the request cannot be read, or the worker is not ready.
    """
    return _open_with_progress(stream, request, contract)


def open_batch(request: Request, contract: Contract) -> BatchItemsAndProgress:
    """Return the items of a batch as they are done, then its summary, and its progress between them.

    Raises:
        WorkerError: the request cannot be read, or the worker is not ready.
    """
    return _open_with_progress(_stream_batch, request, contract)


def _open_with_progress(
    begin: Callable[[Request, Contract, object, ProgressFeed], AsyncGenerator[T, None]],
    request: Request,
    contract: Contract,
) -> AsyncGenerator[T | JobProgress, None]:
    parsed = contract.read()
    service_of(request).runner  # noqa: B018 - raises if there is none
    feed = ProgressFeed()
    return with_progress(begin(request, contract, parsed, feed), feed)


async def stream(
    connection: HTTPConnection,
    contract: Contract,
    parsed: object,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Items:
    """Yield the chunks of a request that speaks, and then its response; closing it cancels the job.

    Args:
        parsed: what `contract.read()` returned.

    Raises:
        WorkerError: any; chunks that were yielded stay valid.
    """
    service = service_of(connection)
    work = ACTIONS[type(parsed)].stream
    assert work is not None, "a request that speaks"  # noqa: S101
    ticket = _ticket(connection, contract, NoLimit(), on_progress)
    with service.metrics.job() as observed:
        async with aclosing(service.runner.iterate(ticket, lambda call: work(parsed, call))) as items:
            async for item in items:
                if isinstance(item, AudioChunk):
                    observed.chunk(item.duration_s)
                else:
                    observed.end(item.audio.model_dump(), item.metrics.model_dump())
                yield item


async def _stream_batch(
    connection: HTTPConnection, contract: Contract, parsed: object, on_progress: Callable[[float], None]
) -> BatchItems:
    service = service_of(connection)
    work = ACTIONS[type(parsed)].items
    assert work is not None, "a batch"  # noqa: S101
    ticket = _ticket(connection, contract, NoLimit(), on_progress)
    with service.metrics.job() as observed:
        async with aclosing(service.runner.iterate(ticket, lambda call: work(parsed, call))) as items:
            async for item in items:
                if isinstance(item, BatchItemResponse) and item.result is not None:
                    observed.end(item.result.audio.model_dump(), item.result.metrics.model_dump())
                yield item


def _ticket(
    connection: HTTPConnection,
    contract: Contract,
    limit: ResponseLimit,
    on_progress: Callable[[float], None],
    on_result: Callable[[BatchItemResponse], None] = lambda result: None,
) -> JobTicket:
    """Return a request as the runner takes it: its caller is the name of its key, or its address."""
    caller, metrics = connection.state.caller, service_of(connection).metrics

    def count(result: BatchItemResponse) -> None:
        if result.error is not None:
            metrics.count_error(result.error.code)
        on_result(result)

    request = contract.request
    return JobTicket(contract.job_id, request, caller, limit=limit, on_progress=on_progress, on_result=count)


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
    """A response sent in pieces as they come. A caller that disconnects, or takes none for long, cancels the job.

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
        headers: Mapping[str, str] | None = None,
        error_piece: Callable[[WorkerError], str] | None = None,
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._request, self._error_piece = request, error_piece

    async def stream_response(self, send: Send) -> None:
        """Send the pieces."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self.body_iterator:
                await _send_piece(send, piece)
        except Exception as error:  # noqa: BLE001 - the edge: the response has begun, no handler can answer it
            told = service_of(self._request).told(self._request.state.id, error)
            if self._error_piece is None or isinstance(error, NotTakenError):
                return
            await _send_piece(send, self._error_piece(told))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class NotTakenError(JobTimeout):
    """The caller is connected, and does not read what is sent."""


async def send_in_time(sending: Awaitable[None]) -> None:
    """Wait until something is sent.

    Raises:
        NotTakenError: the caller read nothing for long.
    """
    try:
        async with asyncio.timeout(MAX_UNREAD_S):
            await sending
    except TimeoutError:
        raise NotTakenError(f"nothing of the stream was read for {MAX_UNREAD_S:g} s; read it as it comes") from None


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """Return the header that names what was ignored; printable ASCII, whatever a caller wrote."""
    text = "; ".join(warnings).encode("ascii", "backslashreplace").decode()
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return {WARNINGS: printable[:MAX_HEADER_CHARS]} if warnings else {}


async def _send_piece(send: Send, piece: Any) -> None:
    body = piece.encode() if isinstance(piece, str) else piece
    await send_in_time(send({"type": "http.response.body", "body": body, "more_body": True}))
