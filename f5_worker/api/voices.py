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
from f5_worker.schema.sources import read_audio_source
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.prepare import read_transcript
from f5_worker.voices.info import NewVoice, VoiceInfo

Json = dict[str, Any]


def answer(request: VoiceRequest, worker: Worker) -> Json:
    """Do it, and say what there is now.

    Raises:
        InputError, StorageFailed: see `Library`.
    """
    if isinstance(request, VoicesAddInput):
        return _add(request, worker)
    if isinstance(request, VoicesListInput):
        return _list(request, worker)
    if isinstance(request, VoicesGetInput):
        return {"voice": _facts(worker.voices.get(request.name, with_audio=request.with_audio))}
    if isinstance(request, VoicesDeleteInput):
        worker.voices.delete(request.name)
        return {"deleted": request.name}
    return _report(request, worker)


def _add(request: VoicesAddInput, worker: Worker) -> Json:
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


def _list(request: VoicesListInput, worker: Worker) -> Json:
    infos = worker.voices.list(request.after or "", request.limit + 1)
    more = len(infos) > request.limit
    infos = infos[: request.limit]
    return {"voices": [_facts(info) for info in infos], "next_after": infos[-1].name if more else None}


def _report(request: VoicesReportInput, worker: Worker) -> Json:
    if request.reference is None:
        return {"report": worker.voices.report(request.name or "").model_dump()}
    given = request.reference
    data = read_audio_source(given.audio, worker.settings)
    words = read_transcript(given.transcript, worker)
    return {"report": examine(data, words, worker.settings, worker.recogniser, given.language).model_dump()}


def _facts(info: VoiceInfo) -> Json:
    """A voice for the caller; `transcript` is of the part of the clip that is cloned."""
    facts: Json = {
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
