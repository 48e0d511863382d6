"""One job in its caller's words: how its input is read, and how replies are written for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from f5_worker.api import legacy as legacy
from f5_worker.api import openai
from f5_worker.api.legacy import Download
from f5_worker.schema.requests import Request, SpeechRequest, parse_input
from f5_worker.schema.responses import ChunkResponse, SpeechResponse

Json = dict[str, Any]


class Contract(Protocol):
    """`request` is what the job asks for, in this worker's words."""

    @property
    def request(self) -> Request | Download: ...

    @property
    def streams(self) -> bool:
        """Whether a streaming worker may answer in pieces."""

    def reply(self, reply: Json) -> Json: ...

    def piece(self, piece: ChunkResponse) -> Json | str: ...

    def last(self, reply: SpeechResponse) -> Json | str:
        """The end of a stream."""


class NativeContract:
    """This worker's own words."""

    streams = True

    def __init__(self, request: Request) -> None:
        self.request: Request | Download = request

    def reply(self, reply: Json) -> Json:
        return reply

    def piece(self, piece: ChunkResponse) -> Json | str:
        return piece.to_json()

    def last(self, reply: SpeechResponse) -> Json | str:
        return {"final": True, **reply.to_json()}


class OpenAIEventsContract(NativeContract):
    """OpenAI's speech call with `stream_format: sse`."""

    def __init__(self, request: SpeechRequest, characters: int) -> None:
        super().__init__(request)
        self._characters = characters

    def piece(self, piece: ChunkResponse) -> Json | str:
        return openai.event(piece)

    def last(self, reply: SpeechResponse) -> Json | str:
        return openai.done_event(self._characters, reply.audio.duration_s)


class LegacyContract:
    """The legacy worker's words."""

    streams = False

    def __init__(self, job: legacy.LegacyJob, job_id: str) -> None:
        self._job, self._job_id = job, job_id
        self.request: Request | Download = job

    def reply(self, reply: Json) -> Json:
        return legacy.reply(self._job, reply, self._job_id)

    def piece(self, piece: ChunkResponse) -> Json | str:
        raise NotImplementedError("the legacy worker did not stream")

    def last(self, reply: SpeechResponse) -> Json | str:
        raise NotImplementedError("the legacy worker did not stream")


def contract_of(value: object, job_id: str) -> Contract:
    """Read a job's input.

    Raises:
        InvalidInput, UnknownAction: in the caller's own words.
    """
    if isinstance(value, Mapping) and openai.is_openai(value):
        request, sse = openai.read(value)
        return OpenAIEventsContract(request, len(request.text)) if sse else NativeContract(request)
    if isinstance(value, Mapping) and legacy.is_legacy(value):
        return LegacyContract(legacy.read(value), job_id)
    return NativeContract(parse_input(value))
