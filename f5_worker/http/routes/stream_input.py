"""ElevenLabs' WebSockets: text in as it is written, audio and the times of its characters out.

    stream-input          one text; an empty one ends it
    multi-stream-input    several texts at a time, each with a `context_id`

Each part of a text that is spoken is a job of its own, and waits for its turn as the requests of other callers do. A
connection on which nothing is said and spoken costs one waiting task.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from contextlib import aclosing, suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from f5_worker import errors
from f5_worker.api.elevenlabs.speech import (
    DEFAULT_OUTPUT_FORMAT,
    ElevenLabsContract,
    ElevenLabsInput,
    parse_output_format,
)
from f5_worker.api.elevenlabs.stream_input import (
    INACTIVE_S,
    MAX_INACTIVE_S,
    AlignmentClock,
    ContextEncoder,
    InputMessage,
    InputQuery,
    TextBuffer,
    read_message,
)
from f5_worker.api.native import Json
from f5_worker.errors import InvalidInput, TextTooLong, WorkerError
from f5_worker.http.bodies import with_key
from f5_worker.http.errors import error_body
from f5_worker.http.exchange import NotTakenError, send_in_time, stream
from f5_worker.http.service import service_of
from f5_worker.schema.actions import check
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.text.normalize import has_speech

router = APIRouter(tags=["ElevenLabs"])
MAX_CONTEXTS = 20  # that are open, or are still spoken, of one connection
MAX_REASON_BYTES = 123  # of a close frame, RFC 6455 5.5
DONE, POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER = 1000, 1008, 1011, 1013
_TRY_AGAIN = (errors.QueueFull, errors.NotReady, errors.OutOfMemory)
MAX_AUDIO_BYTES = 240_000  # of one message, before base64; clients take messages of 2**20 bytes by default
SPOKEN_FORMAT = "pcm_24000"  # of the parts of a text
_OF_SPEECH = ("model_id", "language_code", "apply_text_normalization")


@router.websocket("/v1/text-to-speech/{voice}/stream-input")
async def stream_input(socket: WebSocket, voice: str) -> None:
    """Speak one text while it is written."""
    await _Connection(socket, voice, is_multi=False).serve()


@router.websocket("/v1/text-to-speech/{voice}/multi-stream-input")
async def multi_stream_input(socket: WebSocket, voice: str) -> None:
    """Speak texts while they are written, each in a context of its own."""
    await _Connection(socket, voice, is_multi=True).serve()


class _Context:
    """A text, and what of it waits to be spoken.

    Attributes:
        settings: `voice_settings`, of the next part.
        parts: texts to speak, in order.
        is_closed: there comes no more text.
        encoder: of its audio, once there is any.
        clock: of the times of its characters.
    """

    def __init__(self, context_id: str | None, buffer: TextBuffer, clock: AlignmentClock) -> None:
        self.id, self.buffer, self.clock = context_id, buffer, clock
        self.settings: dict[str, Any] = {}
        self.parts: deque[str] = deque()
        self.is_closed = False
        self.encoder: ContextEncoder | None = None
        self.task: asyncio.Task[None] | None = None

    def add(self, part: str) -> None:
        """Append a part, unless there is nothing to speak in it."""
        if has_speech(part):
            self.parts.append(part)

    @property
    def n_chars(self) -> int:
        """Return how much text waits."""
        return len(self.buffer) + sum(map(len, self.parts))


class _Connection:
    def __init__(self, socket: WebSocket, voice: str, *, is_multi: bool) -> None:
        self._socket, self._voice, self._is_multi = socket, voice, is_multi
        self._query = InputQuery()
        self._speech: dict[str, Any] = {}
        self._output = parse_output_format(DEFAULT_OUTPUT_FORMAT)
        self._contexts: dict[str | None, _Context] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._encoders: list[ContextEncoder] = []
        self._receiving: asyncio.Task[Any] | None = None
        self._sending = asyncio.Lock()
        self._is_ending = False
        self._n_jobs = 0

    async def serve(self) -> None:
        """Take messages until the client ends the text or leaves; an error is told, and ends the connection."""
        await self._socket.accept()
        try:
            self._read_query()
            await self._take_messages()
            await send_in_time(self._socket.close(DONE))
        except WebSocketDisconnect:
            pass
        except Exception as error:  # noqa: BLE001 - the edge: nothing above can answer on a WebSocket
            told = service_of(self._socket).told(self._socket.state.id, error)
            if not isinstance(error, NotTakenError):
                await self._tell(told)
        finally:
            tasks = [*self._tasks, *filter(None, (self._receiving,))]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(asyncio.to_thread(encoder.end) for encoder in self._encoders))

    def _read_query(self) -> None:
        query = dict(self._socket.query_params)
        self._query = check(InputQuery, query)
        self._speech = {name: query[name] for name in _OF_SPEECH if name in query} | {"seed": self._query.seed}
        self._output = parse_output_format(query.get("output_format", DEFAULT_OUTPUT_FORMAT))

    async def _take_messages(self) -> None:
        while not self._is_ending or self._tasks:
            message = await self._next()
            if message is None or self._is_ending:
                continue
            if (authenticate := self._socket.state.authenticate) is not None:
                authenticate(message.key)
            if self._is_multi:
                self._handle_context(message)
            else:
                self._handle(message)

    async def _next(self) -> InputMessage | None:
        """Wait for a message, or the end of what is spoken in a context; raise what that raised."""
        if self._receiving is None:
            self._receiving = asyncio.create_task(self._receive())
        timeout_s = min(max(self._query.inactivity_timeout, 1.0), MAX_INACTIVE_S)
        done, _ = await asyncio.wait(
            (self._receiving, *self._tasks), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in self._tasks & done:
            self._tasks.discard(task)
            task.result()
        if not done and not self._tasks:
            raise InvalidInput(
                f"no message came for {timeout_s:g} s; send text, or an empty one to end it, or ask for more with "
                f"inactivity_timeout (default {INACTIVE_S:g}, at most {MAX_INACTIVE_S:g})"
            )
        if not self._receiving.done():
            return None
        text, self._receiving = self._receiving.result(), None
        return read_message(text)

    async def _receive(self) -> str:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", DONE))
        return message.get("text") or ""

    def _handle(self, message: InputMessage) -> None:
        context = self._context(message)
        if message.text == "":
            self._close(context, flush=True)
            self._is_ending = True
        else:
            self._add(context, message)

    def _handle_context(self, message: InputMessage) -> None:
        if message.close_socket:
            for context in list(self._contexts.values()):
                self._close(context, flush=True)
            self._is_ending = True
        elif message.close_context:
            if (open_context := self._contexts.get(message.context_id)) is not None:
                self._close(open_context, flush=message.flush)
        elif message.text or message.context_id in self._contexts:  # else it keeps the connection alive
            self._add(self._context(message), message)

    def _context(self, message: InputMessage) -> _Context:
        """Return the context of a message, a new one where there is none."""
        context = self._contexts.get(message.context_id)
        if context is None:
            if max(len(self._contexts), len(self._tasks)) >= MAX_CONTEXTS:
                raise InvalidInput(f"{MAX_CONTEXTS} contexts are open; close those that are not used any more")
            buffer = TextBuffer(message.generation_config.chunk_length_schedule, immediate=self._query.auto_mode)
            clock = AlignmentClock(is_absolute=self._query.sync_alignment)
            context = self._contexts[message.context_id] = _Context(message.context_id, buffer, clock)
        if message.voice_settings is not None:
            context.settings = message.voice_settings
        return context

    def _add(self, context: _Context, message: InputMessage) -> None:
        if message.text:
            context.add(context.buffer.add(message.text, trigger=message.try_trigger_generation))
        if message.flush:
            context.add(context.buffer.take())
        limit = service_of(self._socket).settings.max_text_chars
        if (n_chars := sum(each.n_chars for each in self._contexts.values())) > limit:
            raise TextTooLong(
                f"{n_chars} characters wait to be spoken, at most {limit} may (F5_MAX_TEXT_CHARS); send them later"
            )
        self._start(context)

    def _close(self, context: _Context, *, flush: bool) -> None:
        """Take no more text for a context; what was given to speak is spoken, and its end is told."""
        del self._contexts[context.id]
        if flush:
            context.add(context.buffer.take())
        context.is_closed = True
        self._start(context)

    def _start(self, context: _Context) -> None:
        if (context.parts or context.is_closed) and (context.task is None or context.task.done()):
            context.task = asyncio.create_task(self._speak(context))
            self._tasks.add(context.task)

    async def _speak(self, context: _Context) -> None:
        while context.parts:
            await self._speak_part(context, context.parts.popleft())
        if context.is_closed:
            if context.encoder is not None:
                data = await asyncio.to_thread(context.encoder.close)
                self._encoders.remove(context.encoder)
                await self._send_audio(context, data, None)
            await self._send(context, {"audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None})

    async def _speak_part(self, context: _Context, text: str) -> None:
        self._n_jobs += 1
        fields = {**self._speech, "text": text, "voice": self._voice, "output_format": SPOKEN_FORMAT}
        fields["voice_settings"] = context.settings
        fields = with_key(self._socket, ElevenLabsInput, fields)
        contract = ElevenLabsContract(fields, f"{self._socket.state.id}-{self._n_jobs}", timed=True)
        end_s = 0.0
        async with aclosing(stream(self._socket, contract, contract.read())) as items:
            async for item in items:
                if isinstance(item, AudioChunk):
                    end_s = item.start_s + item.duration_s
                    characters = contract.take_characters(item)
                    times = context.clock.alignment(characters, end_s, is_last=contract.has_all_characters)
                    data = await asyncio.to_thread(self._encoder_of(context).write, item.data)
                    await self._send_audio(context, data, times)
        context.clock.end_part(end_s)

    def _encoder_of(self, context: _Context) -> ContextEncoder:
        if context.encoder is None:
            worker = service_of(self._socket).runner.worker
            assert worker is not None  # noqa: S101 - it has spoken
            context.encoder = ContextEncoder(worker.encoders, self._output)
            self._encoders.append(context.encoder)
        return context.encoder

    async def _send_audio(self, context: _Context, data: bytes, times: Json | None) -> None:
        for begin in range(0, max(len(data), 1 if times else 0), MAX_AUDIO_BYTES):
            audio = base64.b64encode(data[begin : begin + MAX_AUDIO_BYTES]).decode("ascii")
            await self._send(
                context, {"audio": audio, "isFinal": None, "alignment": times, "normalizedAlignment": times}
            )
            times = None

    async def _send(self, context: _Context, message: Json) -> None:
        told = {**message, "contextId": context.id} if self._is_multi else message
        async with self._sending:
            await send_in_time(self._socket.send_text(json.dumps(told, separators=(",", ":"))))

    async def _tell(self, error: WorkerError) -> None:
        """Tell an error and close; clients of ElevenLabs read the first, or the reason of the second."""
        code = POLICY_VIOLATION if isinstance(error, errors.InputError) else INTERNAL_ERROR
        code = TRY_AGAIN_LATER if isinstance(error, _TRY_AGAIN) else code
        detail = error_body(error)["detail"]
        told = {"message": detail["message"], "error": detail["status"], "code": code}
        reason = str(error).encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        with suppress(Exception):  # the client may have left, or reads nothing
            await send_in_time(self._socket.send_text(json.dumps(told)))
            await send_in_time(self._socket.close(code, reason))
