"""What a job asks for, done in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from f5_worker import log
from f5_worker.api import voices
from f5_worker.api.contracts import Contract
from f5_worker.api.job_bucket import bucket_from_job
from f5_worker.api.legacy import Download, downloaded
from f5_worker.cancellation import JobControl
from f5_worker.delivery.save import save
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import Request, SpeechRequest, VoiceRequest
from f5_worker.schema.responses import ChunkResponse, SpeechResponse
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.pipeline import speak
from f5_worker.synthesis.prepare import Job
from f5_worker.synthesis.stream import stream as stream_pieces

Json = dict[str, Any]


def speaks(request: Request | Download) -> bool:
    return isinstance(request, get_args(SpeechRequest))


def answer(
    raw: Mapping[str, Any], request: Request | Download, worker: Worker, control: JobControl, received: float
) -> Json:
    """The whole reply.

    Args:
        raw: the job as RunPod sent it.
        received: when it came, `time.monotonic()`; it may have waited for a thread since.

    Raises:
        WorkerError
    """
    control.check()
    if isinstance(request, Download):
        return _download(request, worker)
    if isinstance(request, get_args(VoiceRequest)):
        return voices.answer(request, worker)
    job = _job(raw, request, worker, control, received)
    reply = speak(job)
    _done(job, reply)
    return reply.to_json()


def stream(
    raw: Mapping[str, Any], shape: Contract, worker: Worker, control: JobControl, received: float
) -> Iterator[Json | str]:
    """The pieces of a reply in the caller's words."""
    control.check()
    job = _job(raw, shape.request, worker, control, received)
    for piece in stream_pieces(job):
        if isinstance(piece, ChunkResponse):
            yield shape.piece(piece)
        else:
            _done(job, piece)
            yield shape.last(piece)


def _job(raw: Mapping[str, Any], request: Any, worker: Worker, control: JobControl, received: float) -> Job:
    own = raw.get("s3Config")
    bucket = None if own is None else Bucket(bucket_from_job(own, worker.settings), worker.settings)
    return Job(request, worker, control, str(raw.get("id", "")), bucket, time.monotonic() - received)


def _done(job: Job, reply: SpeechResponse) -> None:
    directory = job.worker.settings.save_dir
    if directory is not None and reply.audio.base64 is not None:
        save(reply, directory, job.job_id)
    metrics = reply.metrics
    log.for_job(job.job_id).info(
        "done: %.1f s of %s in %.0f ms, RTF %.3f, NFE %d",
        reply.audio.duration_s, reply.audio.format, metrics.total_ms, metrics.rtf, metrics.nfe,
    )  # fmt: skip


def _download(request: Download, worker: Worker) -> Json:
    if worker.bucket is None:
        raise InvalidInput("this worker has no bucket, so results are not kept; they are in the reply itself")
    data = worker.bucket.get(request.key, max_bytes=worker.settings.max_reply_bytes * 3 // 4)
    if data is None:
        raise InvalidInput("there is no such result; it may have been deleted, or the job may have failed")
    return downloaded(request, data)
