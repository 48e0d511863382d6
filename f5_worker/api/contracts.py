"""One job in its caller's words: how its input is read, and how replies are written for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from f5_worker.api import legacy as earlier
from f5_worker.api import openai
from f5_worker.api.legacy import Download
from f5_worker.schema.requests import Request, SpeechRequest, parse_input
from f5_worker.schema.responses import ChunkReply, SpeechReply

Reply = dict[str, Any]


class Shape(Protocol):
    """`request` is what the job asks for, in this worker's words."""

    @property
    def request(self) -> Request | Download: ...

    @property
    def streams(self) -> bool:
        """Whether a streaming worker may answer in pieces."""

    def reply(self, reply: Reply) -> Reply: ...

    def piece(self, piece: ChunkReply) -> Reply | str: ...

    def last(self, reply: SpeechReply) -> Reply | str:
        """The end of a stream."""


class Native:
    """This worker's own words."""

    streams = True

    def __init__(self, request: Request) -> None:
        self.request: Request | Download = request

    def reply(self, reply: Reply) -> Reply:
        return reply

    def piece(self, piece: ChunkReply) -> Reply | str:
        return piece.to_json()

    def last(self, reply: SpeechReply) -> Reply | str:
        return {"final": True, **reply.to_json()}


class OpenAiEvents(Native):
    """OpenAI's speech call with `stream_format: sse`."""

    def __init__(self, request: SpeechRequest, characters: int) -> None:
        super().__init__(request)
        self._characters = characters

    def piece(self, piece: ChunkReply) -> Reply | str:
        return openai.event(piece)

    def last(self, reply: SpeechReply) -> Reply | str:
        return openai.done_event(self._characters, reply.audio.duration_s)


class Earlier:
    """The earlier worker's words."""

    streams = False

    def __init__(self, job: earlier.Job, job_id: str) -> None:
        self._job, self._job_id = job, job_id
        self.request: Request | Download = job

    def reply(self, reply: Reply) -> Reply:
        return earlier.reply(self._job, reply, self._job_id)

    def piece(self, piece: ChunkReply) -> Reply | str:
        raise NotImplementedError("the earlier worker did not stream")

    def last(self, reply: SpeechReply) -> Reply | str:
        raise NotImplementedError("the earlier worker did not stream")


def shape_of(value: object, job_id: str) -> Shape:
    """Read a job's input.

    Raises:
        InvalidInput, UnknownAction: in the caller's own words.
    """
    if isinstance(value, Mapping) and openai.is_openai(value):
        request, sse = openai.read(value)
        return OpenAiEvents(request, len(request.text)) if sse else Native(request)
    if isinstance(value, Mapping) and earlier.is_earlier(value):
        return Earlier(earlier.read(value), job_id)
    return Native(parse_input(value))
