"""OpenAI's custom voices: made of a sample, and deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field

from f5_worker.api.native import Json
from f5_worker.errors import InvalidInput
from f5_worker.http.bodies import read_form
from f5_worker.http.routes.native import ask
from f5_worker.schema.actions import check
from f5_worker.schema.requests import Input

router = APIRouter(tags=["OpenAI"])


class VoiceInput(Input, extra="ignore"):
    """The form of `POST /v1/audio/voices`; `transcript`, the words of the sample, is this worker's own field."""

    name: str = Field(min_length=1)
    audio_sample: str = Field(min_length=1)
    transcript: str | None = None
    consent: str | None = None
    type: Literal["audio_sample"] = "audio_sample"


@router.post("/v1/audio/voices")
async def create_voice(request: Request) -> Json:
    """Store a voice made of `audio_sample`, as `voices.add`; `consent` is the statement of its speaker's consent."""
    form = await read_form(request, VoiceInput)
    if form.get("type") == "prompt":
        raise InvalidInput("type='prompt': a voice is made of a recording here; send audio_sample")
    new = check(VoiceInput, form)
    fields = {"name": new.name, "audio": new.audio_sample, "transcript": new.transcript, "consent": new.consent}
    voice = (await ask(request, "voices.add", fields))["voice"]
    created_at = int(datetime.fromisoformat(voice["created_at"]).timestamp())
    kept = {"id": voice["name"], "name": voice["name"], "created_at": created_at}
    return {**kept, "object": "audio.voice", "type": "audio_sample"}


@router.delete("/v1/audio/voices/{name}")
async def delete_voice(request: Request, name: str) -> Json:
    """Delete a voice."""
    deleted = (await ask(request, "voices.delete", {"name": name}))["deleted"]
    return {"id": deleted, "object": "audio.voice.deleted", "deleted": True}
