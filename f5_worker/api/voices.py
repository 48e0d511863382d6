"""The actions `voices.*`. Each raises InputError or StorageFailed as `Library` does."""

from __future__ import annotations

import base64

from f5_worker.api.call import Call
from f5_worker.api.legacy import UploadedVoice
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
from f5_worker.schema.voices import KeyedInput
from f5_worker.synthesis.prepare import read_transcript
from f5_worker.voices.info import NewVoice, VoiceInfo
from f5_worker.voices.library import Library


def add(request: VoicesAddInput, call: Call) -> Json:
    """Keep a voice and return what is known of it."""
    return _add(request, call)


def upload(request: UploadedVoice, call: Call) -> Json:
    """Keep a voice that came as a file, and return what is known of it."""
    return _add(request, call, original=request.original)


def list_voices(request: VoicesListInput, call: Call) -> Json:
    """Return a page of voices, and the name after which the next page begins."""
    infos = _library(request, call).list(request.after or "", request.limit + 1)
    has_more = len(infos) > request.limit
    infos = infos[: request.limit]
    return {"voices": [_facts(info) for info in infos], "next_after": infos[-1].name if has_more else None}


def get(request: VoicesGetInput, call: Call) -> Json:
    """Return one voice, with its clip if asked for."""
    return {"voice": _facts(_library(request, call).get(request.name, with_audio=request.with_audio))}


def delete(request: VoicesDeleteInput, call: Call) -> Json:
    """Delete a voice and return its name."""
    return {"deleted": _library(request, call).delete(request.name)}


def report(request: VoicesReportInput, call: Call) -> Json:
    """Return how well a stored voice, or a caller's clip, will clone."""
    worker, given = call.worker, request.reference
    if given is None:
        return {"report": _library(request, call).report(request.name or "").model_dump()}
    call.control.enter("preparing the voice")
    data = read_audio_source(given.audio, worker.settings)
    transcript = read_transcript(given.transcript, worker)
    return {"report": examine(data, transcript, worker.settings, worker.recogniser, given.language).model_dump()}


def _library(request: KeyedInput, call: Call) -> Library:
    return call.worker.voices.of(request.voices_key)


def _add(request: VoicesAddInput, call: Call, original: str | None = None) -> Json:
    worker = call.worker
    call.control.enter("preparing the voice")
    library = _library(request, call)
    if request.defaults.model is not None:
        worker.models.check(request.defaults.model)
    new = NewVoice(
        name=request.name,
        audio=read_audio_source(request.audio, worker.settings),
        transcript=read_transcript(request.transcript, worker),
        consent=request.consent,
        defaults=request.defaults,
        replace=request.replace,
        original=original,
    )
    return {"voice": _facts(library.add(new))}


def _facts(info: VoiceInfo) -> Json:
    """Return a voice as callers see it; `transcript` is of the part of the clip that is cloned.

    A statement of consent often has a name and an address: those who are not its voice's owner learn only that it is
    there. The operator finds it in the voice's record.
    """
    facts: Json = {
        "name": info.name,
        "source": info.source,
        "format": info.format,
        "bytes": info.size_bytes,
        "modified_at": info.modified_at.isoformat(timespec="seconds"),
        "has_transcript": info.has_transcript,
    }
    if info.version is not None:
        facts["version"] = info.version
    if info.metadata is not None:
        metadata = info.metadata
        facts |= {
            "created_at": metadata.created_at.isoformat(timespec="seconds"),
            "has_consent": metadata.consent is not None,
            "defaults": metadata.defaults.model_dump(exclude_none=True),
            "transcript": metadata.prepared.transcript.strip(),
            "report": metadata.prepared.report.model_dump(),
            "warnings": list(metadata.prepared.warnings),
        }
        if info.is_private:
            facts["consent"] = metadata.consent
    if info.audio is not None:
        facts["audio_base64"] = base64.b64encode(info.audio).decode("ascii")
    return facts
