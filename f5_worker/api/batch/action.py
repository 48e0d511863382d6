"""The action `batch`: many texts in one job, spoken together, each with a result or an error of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from f5_worker.api.batch.budget import ERROR_BYTES, Budget
from f5_worker.api.batch.resume import Resumption
from f5_worker.api.call import Call, finish
from f5_worker.api.native import Json
from f5_worker.api.together import run_together
from f5_worker.cancellation import JobControl
from f5_worker.delivery.artifacts import safe_id
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
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak_complete, store_files
from f5_worker.synthesis.size import mode_of

_BATCH_ONLY = ("action", "voices_key")  # fields of `synthesize` that are the batch's
_ALONE_ONLY = ("allow_reencode", "takes")
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
    told = partial(call.told, call.job_id)
    for index, outcome in run_together(works, call.control, told, at_once=request.n_at_once):
        item = _failed(request.ids[index], index, outcome) if isinstance(outcome, WorkerError) else outcome
        n_failed += item.error is not None
        call.control.on_result(item)
        yield item
    yield BatchResponse(succeeded=len(works) - n_failed, failed=n_failed)


def _failed(item_id: str, index: int, error: WorkerError) -> BatchItemResponse:
    told = ErrorResponse(code=error.code, message=_short(error.message))
    return BatchItemResponse(id=item_id, index=index, error=told)


def _short(message: str) -> str:
    """Return a message in at most `ERROR_BYTES` of JSON; one with many faults may be longer."""
    while len(json.dumps(message)) > ERROR_BYTES:
        message = f"{message[: len(message) * 3 // 4]} ..."
    return message


class _Batch:
    """State that the items of a batch share.

    Raises:
        InvalidInput: a default that is not a field, a bucket that cannot be used, or no place to resume from.
    """

    def __init__(self, request: BatchInput, call: Call) -> None:
        for name in request.defaults:
            _check_name(f"defaults.{name}", name)
        self._request, self._call = request, call
        self._bucket = call.bucket()
        self._budget = Budget(call.limit, len(request.items), call.control.left_s())
        self._job_id = safe_id(call.job_id)
        self._resumption = None
        if request.resume_key is not None:
            self._resumption = Resumption(request.resume_key, request.voices_key, call.worker, self._bucket)

    def speak(self, index: int, control: JobControl) -> BatchItemResponse:
        """Return the result of one item, its files in it or in the bucket.

        Raises:
            WorkerError: any that a job of this item alone could have.
        """
        item_id, request, found = self._request.ids[index], item_request(self._request, index), False
        if self._resumption is not None:
            request = self._resumption.with_seed(request)
        own = {"job_id": self._job_id, "part": item_id, "admit": partial(self._budget.claim, index)}
        job = self._call.job(request, self._bucket, control=control, **own)
        try:
            if self._resumption is None:
                complete = speak_complete(job)
            else:
                complete, found = self._resumption.find_or_speak(job, speak_complete)
            result = self._deliver(job, index, complete)
        finally:
            self._budget.leave(index)
        return BatchItemResponse(id=item_id, index=index, resumed=found or None, result=result)

    def _deliver(self, job: Job, index: int, complete: SynthesizeResponse) -> SynthesizeResponse:
        mode = mode_of(job)
        if mode != "s3":
            try:
                self._budget.take(index, job.limit.json_bytes(complete.to_json()))
            except ResultTooLarge:
                if mode == "inline" or job.bucket is None:
                    raise
            else:
                return finish(job, complete)
        with job.stopwatch.stage("delivery_ms"):
            stored = store_files(job, complete)
        self._budget.take(index, job.limit.json_bytes(stored.to_json()))
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
        instead = "ask for mp3 or opus" if name == "allow_reencode" else "send an item for each take, with its seed"
        raise InvalidInput(f"{shown} is not for a batch; {instead}")
    known = [field for field in SynthesizeInput.model_fields if field not in (*_BATCH_ONLY, *_ALONE_ONLY)]
    if name not in known:
        raise InvalidInput(f"unknown field {show(shown)}{nearest(name, known)}")
