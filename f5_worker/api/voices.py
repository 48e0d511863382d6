"""The actions `voices.*`. Each raises InputError or StorageFailed as `Library` does."""

from __future__ import annotations

import base64

from f5_worker.api.call import Call
from f5_worker.api.native import Json
from f5_worker.reference.prepare import examine
from f5_worker.schema.requests import (
    VoicesAddInput,
    VoicesDeleteInput,
    VoicesGetInput,
    VoicesListInput,
    VoicesReportInput,
)
from f5_worker.schema.sources import read_audio_source
from f5_worker.synthesis.prepare import read_transcript
from f5_worker.voices.info import NewVoice, VoiceInfo


def add(request: VoicesAddInput, call: Call) -> Json:
    """Keep a voice and return what is known of it."""
    worker = call.worker
    call.control.enter("preparing the voice")
    if request.defaults.model is not None:
        worker.models.check(request.defaults.model)
    info = worker.voices.add(
        NewVoice(
            name=request.name,
            audio=read_audio_source(request.audio, worker.settings),
            transcript=read_transcript(request.transcript, worker),
            consent=request.consent,
            defaults=request.defaults,
            replace=request.replace,
        )
    )
    return {"voice": _facts(info)}


def list_voices(request: VoicesListInput, call: Call) -> Json:
    """Return a page of voices, and the name after which the next page begins."""
    infos = call.worker.voices.list(request.after or "", request.limit + 1)
    has_more = len(infos) > request.limit
    infos = infos[: request.limit]
    return {"voices": [_facts(info) for info in infos], "next_after": infos[-1].name if has_more else None}


def get(request: VoicesGetInput, call: Call) -> Json:
    """Return one voice, with its clip if asked for."""
    return {"voice": _facts(call.worker.voices.get(request.name, with_audio=request.with_audio))}


def delete(request: VoicesDeleteInput, call: Call) -> Json:
    """Delete a voice and return its name."""
    call.worker.voices.delete(request.name)
    return {"deleted": request.name}


def report(request: VoicesReportInput, call: Call) -> Json:
    """Return how well a stored voice, or a caller's clip, will clone."""
    worker, given = call.worker, request.reference
    if given is None:
        return {"report": worker.voices.report(request.name or "").model_dump()}
    call.control.enter("preparing the voice")
    data = read_audio_source(given.audio, worker.settings)
    transcript = read_transcript(given.transcript, worker)
    return {"report": examine(data, transcript, worker.settings, worker.recogniser, given.language).model_dump()}


def _facts(info: VoiceInfo) -> Json:
    """Return a voice as callers see it; `transcript` is of the part of the clip that is cloned."""
    facts: Json = {
        "name": info.name,
        "source": info.source,
        "format": info.format,
        "bytes": info.size_bytes,
        "modified_at": info.modified_at.isoformat(timespec="seconds"),
        "has_transcript": info.has_transcript,
    }
    if info.metadata is not None:
        metadata = info.metadata
        facts |= {
            "created_at": metadata.created_at.isoformat(timespec="seconds"),
            "consent": metadata.consent,
            "defaults": metadata.defaults.model_dump(exclude_none=True),
            "transcript": metadata.prepared.transcript.strip(),
            "report": metadata.prepared.report.model_dump(),
        }
    if info.audio is not None:
        facts["audio_base64"] = base64.b64encode(info.audio).decode("ascii")
    return facts
