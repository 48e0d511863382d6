"""`voices.*`: what callers may do with the library."""

from __future__ import annotations

from typing import Any

from f5_worker.delivery.inline import encode_base64
from f5_worker.reference.prepare import examine
from f5_worker.schema.requests import (
    VoiceRequest,
    VoicesAddInput,
    VoicesDeleteInput,
    VoicesGetInput,
    VoicesListInput,
    VoicesReportInput,
)
from f5_worker.storage.fetch import read_audio_source
from f5_worker.synthesis.context import Service
from f5_worker.synthesis.prepare import read_transcript
from f5_worker.voices.info import NewVoice, VoiceInfo

Facts = dict[str, Any]


def answer(request: VoiceRequest, service: Service) -> Facts:
    """Do it, and say what there is now.

    Raises:
        InputError, StorageFailed: see `Library`.
    """
    if isinstance(request, VoicesAddInput):
        return _add(request, service)
    if isinstance(request, VoicesListInput):
        return _list(request, service)
    if isinstance(request, VoicesGetInput):
        return {"voice": _facts(service.voices.get(request.name, with_audio=request.with_audio))}
    if isinstance(request, VoicesDeleteInput):
        service.voices.delete(request.name)
        return {"deleted": request.name}
    return _report(request, service)


def _add(request: VoicesAddInput, service: Service) -> Facts:
    if request.defaults.model is not None:
        service.models.check(request.defaults.model)
    info = service.voices.add(
        NewVoice(
            name=request.name,
            audio=read_audio_source(request.audio, service.settings),
            transcript=read_transcript(request.transcript, service),
            consent=request.consent,
            defaults=request.defaults,
            replace=request.replace,
        )
    )
    return {"voice": _facts(info)}


def _list(request: VoicesListInput, service: Service) -> Facts:
    infos = service.voices.list(request.after or "", request.limit + 1)
    more = len(infos) > request.limit
    infos = infos[: request.limit]
    return {"voices": [_facts(info) for info in infos], "next_after": infos[-1].name if more else None}


def _report(request: VoicesReportInput, service: Service) -> Facts:
    if request.reference is None:
        return {"report": service.voices.report(request.name or "").model_dump()}
    given = request.reference
    data = read_audio_source(given.audio, service.settings)
    words = read_transcript(given.transcript, service)
    return {"report": examine(data, words, service.settings, service.recogniser, given.language).model_dump()}


def _facts(info: VoiceInfo) -> Facts:
    """A voice for the caller; `transcript` is of the part of the clip that is cloned."""
    facts: Facts = {
        "name": info.name,
        "source": info.source,
        "format": info.format,
        "bytes": info.size_bytes,
        "modified_at": info.modified_at.isoformat(timespec="seconds"),
        "has_transcript": info.has_transcript,
    }
    if info.details is not None:
        details = info.details
        facts |= {
            "created_at": details.created_at.isoformat(timespec="seconds"),
            "consent": details.consent,
            "defaults": details.defaults.model_dump(exclude_none=True),
            "transcript": details.prepared.transcript.strip(),
            "report": details.prepared.report.model_dump(),
        }
    if info.audio is not None:
        facts["audio_base64"] = encode_base64(info.audio)
    return facts
