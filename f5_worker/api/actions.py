"""The actions: what each kind of request does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from f5_worker import __version__
from f5_worker.api import voices
from f5_worker.api.batch import action as batch
from f5_worker.api.batch.takes import speak_takes
from f5_worker.api.call import Call, finish
from f5_worker.api.legacy import Download, UploadedVoice, download
from f5_worker.api.native import Json, Translated
from f5_worker.api.other_services import OtherServiceSpeech, with_voice
from f5_worker.api.preview import preview
from f5_worker.boot import starts
from f5_worker.boot.report import read_report
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.batch import BatchInput
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import (
    DiagnoseInput,
    HealthInput,
    PreviewInput,
    SynthesizeInput,
    VoicesAddInput,
    VoicesDeleteInput,
    VoicesGetInput,
    VoicesListInput,
    VoicesReportInput,
)
from f5_worker.schema.responses import (
    AttentionResponse,
    BatchItemResponse,
    BatchResponse,
    HealthResponse,
    SpeechResponse,
    UnavailableResponse,
)
from f5_worker.synthesis import response
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job


@dataclass(frozen=True)
class Action:
    """What is done for one kind of request.

    Attributes:
        answer: returns the whole response.
        stream: yields the audio in chunks, then the response without it; None for actions that do not speak.
        items: yields its results one by one, then their summary; None for actions that have one result.
        needs_worker: False for actions that are answered at once, and also when the worker could not start.
    """

    answer: Callable[[Any, Call], Json]
    stream: Callable[[Any, Call], Iterator[AudioChunk | SpeechResponse]] | None = None
    items: Callable[[Any, Call], Iterator[BatchItemResponse | BatchResponse]] | None = None
    needs_worker: bool = True


def speak(request: SpeechRequest | Translated, call: Call) -> Json:
    """Speak a text or a track and return the whole response.

    Raises:
        WorkerError: any that a caller can cause, or that the device does.
    """
    job = _job(request, call, streaming=False)
    return finish(job, _speak_all_takes(job, call)).to_json()


def stream(request: SpeechRequest | Translated, call: Call) -> Iterator[AudioChunk | SpeechResponse]:
    """Yield the audio of a text or a track in chunks, then the response without it.

    Raises:
        WorkerError: as `speak`; chunks that were yielded stay valid.
    """
    job = _job(request, call, streaming=True)
    if _has_takes(job.request):  # of which the best is known at the end
        yield finish(job, _speak_all_takes(replace(job, streaming=False), call))
        return
    for item in response.stream(job):
        yield finish(job, item) if isinstance(item, SpeechResponse) else item


def _has_takes(request: SpeechRequest) -> TypeGuard[SynthesizeInput]:
    return isinstance(request, SynthesizeInput) and request.takes > 1


def _speak_all_takes(job: Job, call: Call) -> SpeechResponse:
    return speak_takes(job, job.request, call.told) if _has_takes(job.request) else response.speak(job)


def health(request: HealthInput, call: Call) -> Json:
    """Return the state of the worker without asking its model."""
    if call.loaded is None:
        return UnavailableResponse(version=__version__, reason=call.status.failure or "").to_json()
    worker, model = call.loaded, call.loaded.models.default
    return HealthResponse(
        version=__version__,
        model=model.name,
        models=worker.models.names(),
        engine=model.engine,
        device=model.device,
        devices=[one.device for one in (model, *model.replicas)],
        precision=model.precision,
        attention={name: AttentionResponse(**best._asdict()) for name, best in model.attention.items()},
        voices=worker.voices.local_names(),
        recogniser=worker.recogniser is not None,
        speaker_encoder=worker.speaker_encoder is not None,
        bucket=worker.bucket_state,
        streaming=worker.settings.streaming,
        uptime_s=round(call.status.uptime_s, 1),
        jobs_running=call.status.n_jobs,
    ).to_json()


def diagnose(request: DiagnoseInput, call: Call) -> Json:
    """Return the boot report, with the starts as they are now; empty where the worker was started without boot."""
    boot = read_report() or {}
    return {"boot": {**boot, "starts": starts.look(own=starts.own_id(boot))} if boot else {}}


def _job(request: SpeechRequest | Translated, call: Call, *, streaming: bool) -> Job:
    warnings: tuple[str, ...] = ()
    if isinstance(request, OtherServiceSpeech):
        request = with_voice(request, call.worker)
    if isinstance(request, Translated):
        warnings, request = request.warnings, request.request
    return call.job(request, call.bucket(), warnings=warnings, streaming=streaming)


ACTIONS: Mapping[type, Action] = {
    SynthesizeInput: Action(speak, stream),
    Translated: Action(speak, stream),
    OtherServiceSpeech: Action(speak, stream),
    DubInput: Action(speak, stream),
    BatchInput: Action(batch.speak, items=batch.stream),
    PreviewInput: Action(preview),
    VoicesAddInput: Action(voices.add),
    UploadedVoice: Action(voices.upload),
    VoicesListInput: Action(voices.list_voices),
    VoicesGetInput: Action(voices.get),
    VoicesDeleteInput: Action(voices.delete),
    VoicesReportInput: Action(voices.report),
    HealthInput: Action(health, needs_worker=False),
    DiagnoseInput: Action(diagnose, needs_worker=False),
    Download: Action(download),
}
