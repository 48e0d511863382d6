"""The action `batch`: many texts in one job, spoken together, each with a result or an error of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from f5_worker.api.batch.room import ERROR_BYTES, Room
from f5_worker.api.call import Call, finish
from f5_worker.api.native import Json
from f5_worker.api.together import run_together
from f5_worker.cancellation import JobControl
from f5_worker.delivery.artifacts import safe_id
from f5_worker.delivery.inline import NoLimit
from f5_worker.errors import InvalidInput, ResultTooLarge, WorkerError
from f5_worker.schema.actions import check
from f5_worker.schema.batch import BatchInput
from f5_worker.schema.faults import json_name, nearest, show
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import (
    BatchItemResponse,
    BatchResponse,
    ErrorResponse,
    SynthesizeResponse,
)
from f5_worker.synthesis.job import Estimate, Job
from f5_worker.synthesis.pipeline import run
from f5_worker.synthesis.response import respond, store_files
from f5_worker.synthesis.result import Result
from f5_worker.synthesis.size import mode_of

_BATCH_ONLY = ("action", "voices_key")  # fields of `synthesize` that are the batch's
_ALONE_ONLY = ("allow_reencode", "takes")  # what would fit depends on the other items
_ALTERNATIVES = (("voice", "reference"), ("quality", "nfe_step"))  # the one replaces a default of the other


def speak(request: BatchInput, call: Call) -> Json:
    """Speak all items and return the whole response, in their order.

    Raises:
        WorkerError: one of the batch as a whole; an item's is in its place in the response.
    """
    *items, summary = stream(request, call)
    ordered = sorted((item for item in items if isinstance(item, BatchItemResponse)), key=lambda item: item.index)
    return summary.model_copy(update={"items": ordered}).to_json()


def stream(request: BatchInput, call: Call) -> Iterator[BatchItemResponse | BatchResponse]:
    """Yield each item as it is done, then how many succeeded and failed.

    Raises:
        WorkerError: as `speak`; items that were yielded stay valid.
    """
    batch = _Batch(request, call)
    works = [partial(batch.speak, index) for index in range(len(request.items))]
    n_failed = 0
    for index, outcome in run_together(works, call.control, partial(call.told, call.job_id)):
        n_failed += isinstance(outcome, WorkerError)
        yield _item(request.ids[index], index, outcome)
    yield BatchResponse(succeeded=len(works) - n_failed, failed=n_failed)


def _item(item_id: str, index: int, outcome: SynthesizeResponse | WorkerError) -> BatchItemResponse:
    if isinstance(outcome, WorkerError):
        error = ErrorResponse(code=outcome.code, message=_short(outcome.message))
        return BatchItemResponse(id=item_id, index=index, error=error)
    return BatchItemResponse(id=item_id, index=index, result=outcome)


def _short(message: str) -> str:
    """Return a message in at most `ERROR_BYTES` of JSON; one with many faults may be longer."""
    while len(json.dumps(message)) > ERROR_BYTES:
        message = f"{message[: len(message) * 3 // 4]} ..."
    return message


class _Batch:
    """What the items of a batch share.

    Raises:
        InvalidInput: a default that is not a field, or the job's own bucket cannot be used.
    """

    def __init__(self, request: BatchInput, call: Call) -> None:
        for name in request.defaults:
            _check_name(f"defaults.{name}", name)
        self._request, self._call = request, call
        self._bucket = call.bucket()
        self._room = Room(call.limit, len(request.items))
        self._job_id = safe_id(call.job_id)

    def speak(self, index: int, control: JobControl) -> SynthesizeResponse:
        """Return the result of one item, its files in it or in the bucket.

        Raises:
            WorkerError: any that a job of this item alone could have.
        """
        try:
            request = item_request(self._request, index)
            named = {"job_id": self._job_id, "part": self._request.ids[index]}
            job = self._call.job(request, self._bucket, control=control, admit=partial(self._admit, index), **named)
            return self._deliver(job, index, _speak_complete(job))
        finally:
            self._room.leave(index)

    def _admit(self, index: int, estimate: Estimate) -> None:
        self._room.claim(index, estimate.response_bytes)

    def _deliver(self, job: Job, index: int, complete: SynthesizeResponse) -> SynthesizeResponse:
        mode = mode_of(job)
        if mode != "s3":
            try:
                self._room.take(index, job.limit.json_bytes(complete.to_json()))
            except ResultTooLarge:
                if mode == "inline" or job.bucket is None:
                    raise
            else:
                return finish(job, complete)
        with job.stopwatch.stage("delivery_ms"):
            stored = store_files(job, complete)
        self._room.take(index, job.limit.json_bytes(stored.to_json()))
        return finish(job, stored)


def item_request(batch: BatchInput, index: int) -> SynthesizeInput:
    """Return an item with the defaults of the batch.

    Raises:
        InvalidInput: every fault of its fields.
    """
    item = batch.items[index]
    if not isinstance(item, dict):
        raise InvalidInput(f'the item is {json_name(item)}; send an object such as {{"text": "Hello."}}')
    own = {name: value for name, value in item.items() if name != "id"}
    for name in own:
        _check_name(name, name)
    defaults = dict(batch.defaults)
    for pair in _ALTERNATIVES:
        if any(own.get(name) is not None for name in pair):
            defaults = {name: value for name, value in defaults.items() if name not in pair}
    return check(SynthesizeInput, {"voices_key": batch.voices_key, **defaults, **own})


def _check_name(shown: str, name: str) -> None:
    if name in _BATCH_ONLY:
        raise InvalidInput(f"{shown} is not a field of an item; {name} stands beside items")
    if name in _ALONE_ONLY:
        instead = "ask for mp3 or opus" if name == "allow_reencode" else "send an item for each seed"
        raise InvalidInput(f"{shown} is not for a batch, where what fits depends on the others; {instead}")
    known = [field for field in SynthesizeInput.model_fields if field not in (*_BATCH_ONLY, *_ALONE_ONLY)]
    if name not in known:
        raise InvalidInput(f"unknown field {show(shown)}{nearest(name, known)}")


def _speak_complete(job: Job) -> SynthesizeResponse:
    """Return the result of a job with all its files in it, however large."""
    (result,) = run(job)
    assert isinstance(result, Result)  # noqa: S101 - only a streaming job has chunks
    inline = job.request.model_copy(update={"delivery": "inline"})
    complete = respond(replace(job, request=inline, limit=NoLimit()), result)
    assert isinstance(complete, SynthesizeResponse)  # noqa: S101 - as the request
    return complete
