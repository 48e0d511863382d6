"""ElevenLabs' API: speech, with the times of its characters, and voices; stream_input.py has its WebSockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from f5_worker.api.elevenlabs.speech import (
    DEFAULT_OUTPUT_FORMAT,
    ElevenLabsBody,
    ElevenLabsContract,
    ElevenLabsInput,
)
from f5_worker.api.elevenlabs.voices import NewVoiceForm, new_voice, voice_fields
from f5_worker.api.native import Json
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.errors import InternalError, ResultTooLarge, WorkerError
from f5_worker.http.bodies import read_json, read_parts, with_key
from f5_worker.http.errors import error_body
from f5_worker.http.exchange import Items, StreamedBody, open_stream, warning_headers
from f5_worker.http.routes.native import ask, audio
from f5_worker.http.service import service_of
from f5_worker.schema.actions import check
from f5_worker.server.limits import JsonLimit
from f5_worker.synthesis.encoding import AudioChunk

router = APIRouter(tags=["ElevenLabs"])
SPEECH = "/v1/text-to-speech/{voice}"
STREAM = f"{SPEECH}/stream"
WITH_TIMES, STREAM_WITH_TIMES = f"{SPEECH}/with-timestamps", f"{STREAM}/with-timestamps"
ADD_VOICE = "/v1/voices/add"
BODIES = dict.fromkeys((SPEECH, STREAM, WITH_TIMES, STREAM_WITH_TIMES), ElevenLabsBody)


@router.post(SPEECH)
@router.post(STREAM)
async def speak(request: Request, voice: str, output_format: str = DEFAULT_OUTPUT_FORMAT) -> Response:
    """Speak a text: the audio as it is spoken. What has no effect here is named in the header X-Warnings."""
    contract = await _contract(request, voice, output_format, timed=False)
    items = await open_stream(request, contract)
    mime = AUDIO_FORMATS[contract.request.format].mime
    return StreamedBody(request, audio(items), media_type=mime, headers=warning_headers(contract.warnings))


@router.post(WITH_TIMES)
async def speak_with_times(request: Request, voice: str, output_format: str = DEFAULT_OUTPUT_FORMAT) -> Response:
    """Speak a text: JSON with the whole audio, and when each character is spoken."""
    contract = await _contract(request, voice, output_format, timed=True)
    return JSONResponse(await _whole(request, contract), headers=warning_headers(contract.warnings))


@router.post(STREAM_WITH_TIMES)
async def stream_with_times(request: Request, voice: str, output_format: str = DEFAULT_OUTPUT_FORMAT) -> Response:
    """Speak a text: a line of JSON for each part of the audio as it is spoken, with the times of its characters."""
    contract = await _contract(request, voice, output_format, timed=True)
    items = await open_stream(request, contract)
    return StreamedBody(
        request,
        _lines(contract, items),
        media_type="application/x-ndjson",
        headers=warning_headers(contract.warnings),
        error_piece=_error_line,
    )


@router.post(ADD_VOICE)
async def add_voice(request: Request) -> Json:
    """Store a voice: a form with `name`, one clip as `files`, and the words and the consent as `labels`."""
    parts = await read_parts(request)
    fields = {name: value for name, value in parts if isinstance(value, str)}
    form = check(NewVoiceForm, {**fields, "files": [value for _, value in parts if isinstance(value, bytes)]})
    added = await ask(request, "voices.add", new_voice(form))
    return {"voice_id": added["voice"]["name"], "requires_verification": False}


@router.get("/v2/voices")
async def search_voices(request: Request, search: str = "", page_size: int = 10, next_page_token: str = "") -> Json:
    """List the voices whose names have `search` in them, a page at a time."""
    listed = await ask(request, "voices.list", {})
    found = [voice_fields(voice) for voice in listed["voices"] if search.lower() in voice["name"].lower()]
    rest = [voice for voice in found if voice["name"] > next_page_token]
    page, has_more = rest[: max(page_size, 1)], len(rest) > max(page_size, 1)
    token = page[-1]["name"] if has_more else None
    return {"voices": page, "has_more": has_more, "total_count": len(found), "next_page_token": token}


async def _contract(request: Request, voice: str, output_format: str, *, timed: bool) -> ElevenLabsContract:
    body = with_key(request, ElevenLabsInput, await read_json(request))
    fields = {**body, "voice": voice, "output_format": output_format}
    return ElevenLabsContract(fields, request.state.id, timed=timed)


async def _whole(request: Request, contract: ElevenLabsContract) -> Json:
    """Return the audio in one piece: the same as that of a stream, which is cut into other segments."""
    limit = JsonLimit(service_of(request).settings.max_reply_bytes)
    data = bytearray()
    async with aclosing(await open_stream(request, contract)) as items:
        async for item in items:
            if not isinstance(item, AudioChunk):
                return contract.whole(bytes(data), item)
            data += item.data
            if limit.audio_bytes(len(data)) > limit.max_bytes:
                raise ResultTooLarge(
                    f"the audio takes more than {limit.max_bytes:,} bytes of JSON (F5_MAX_REPLY_BYTES); use "
                    "/stream/with-timestamps, or another output_format"
                )
    raise InternalError("the audio ended without its response")


async def _lines(contract: ElevenLabsContract, items: Items) -> AsyncIterator[str]:
    index = 0
    async with aclosing(items):
        async for item in items:
            if isinstance(item, AudioChunk):
                yield _line(contract.chunk(index, item))
                index += 1


def _error_line(error: WorkerError) -> str:
    return _line(error_body(error))


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
