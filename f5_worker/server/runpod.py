"""RunPod's queue: a job of its SDK, read by its contract, and answered within the limits of the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from f5_worker.api.actions import ACTIONS, Action
from f5_worker.api.call import Call
from f5_worker.api.contracts import contract_of
from f5_worker.api.native import Contract, Json
from f5_worker.schema.responses import BatchItemResponse, BatchResponse, SpeechResponse
from f5_worker.server.jobs import JobRunner, JobTicket
from f5_worker.server.limits import MAX_ITEM_BYTES, JsonLimit, StreamLimit, split_chunk, split_item
from f5_worker.server.progress import Progress, send_to_runpod
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.voices.places import owner_of

NAMES_BYTES = 1_000  # of `id`, `index` and `partial` in an item


class QueueServer:
    """Serves the jobs of RunPod's queue.

    A plain `def handler` would block the SDK's event loop, and with it every result (runpod 1.12.0, rp_job.py).

    Args:
        worker, stop_worker, failure: see `JobRunner`. Of a worker that could not start, jobs are answered at once
            instead of waiting in the queue until they expire.
    """

    def __init__(
        self, worker: Worker | None, stop_worker: Callable[[], None] = lambda: None, failure: str | None = None
    ) -> None:
        self._runner = JobRunner(worker, stop_worker, failure)
        self._limit = JsonLimit(self._runner.settings.max_reply_bytes)

    async def answer(self, job: Mapping[str, Any]) -> Json:
        """Return the response to one job; every failure becomes `{"error": "CODE: what happened; what to do"}`."""
        contract = contract_of(job.get("input"), _id(job))
        try:
            return await self._answer(job, contract, contract.read(), self._limit)
        except Exception as error:  # noqa: BLE001 - the edge: an escaping error would post a traceback
            return contract.error(self._runner.told(_id(job), error))

    async def stream(self, job: Mapping[str, Any]) -> AsyncIterator[Json | str]:
        """Yield the chunks of a job as they are made, then the rest of the response.

        A response that does not stream is one item. After an error nothing follows (runpod 1.12.0 would drop it).
        """
        contract = contract_of(job.get("input"), _id(job))
        try:
            request = contract.read()
            action = ACTIONS[type(request)]
            work = self._streamed(contract, action, request)
            if work is not None and self._runner.worker is not None:
                ticket = self._ticket(job, contract.request, send_progress=False)
                async with aclosing(self._runner.iterate(ticket, work)) as items:
                    async for item in items:
                        yield item
            else:
                limit = JsonLimit(min(self._limit.max_bytes, MAX_ITEM_BYTES))
                yield await self._answer(job, contract, request, limit)
        except Exception as error:  # noqa: BLE001 - see `answer`
            yield contract.error(self._runner.told(_id(job), error))

    async def _answer(self, job: Mapping[str, Any], contract: Contract, request: object, limit: JsonLimit) -> Json:
        action = ACTIONS[type(request)]

        def work(call: Call) -> Json:
            response = contract.response(action.answer(request, call))
            limit.check(response)
            return response

        answer = self._runner.answer if action.needs_worker else self._runner.answer_at_once
        return await answer(self._ticket(job, contract.request, send_progress=True), work)

    def _streamed(
        self, contract: Contract, action: Action, request: object
    ) -> Callable[[Call], Iterator[Json | str]] | None:
        """Return what yields the items of a stream; None for an action, or a contract, that does not stream."""
        stream, items, total = action.stream, action.items, StreamLimit(self._limit)
        if stream is not None and contract.streams:
            return lambda call: _items(contract, stream(request, call), total)
        if items is not None:
            return lambda call: _batch_items(items(request, call), total)
        return None

    def _ticket(self, job: Mapping[str, Any], request: object, *, send_progress: bool) -> JobTicket:
        progress = Progress(job, send_to_runpod if send_progress else None)
        return JobTicket(
            job_id=_id(job),
            request=request,
            caller=self._caller(request),
            own_bucket=job.get("s3Config"),
            limit=self._limit,
            on_progress=progress,
            on_result=progress.add_result,
        )

    def _caller(self, request: object) -> str | None:
        """Return who sent a request, as far as its `voices_key` tells."""
        worker = self._runner.worker
        return None if worker is None else owner_of(getattr(request, "voices_key", None), worker.settings)


def _items(
    contract: Contract, stream: Iterator[AudioChunk | SpeechResponse], total: StreamLimit
) -> Iterator[Json | str]:
    """Yield what a stream sends for chunks and response, each item and all together of a size that RunPod carries."""
    index, duration_s = 0, 0.0
    for item in stream:
        if isinstance(item, AudioChunk):
            duration_s = item.start_s + item.duration_s
            items = [contract.chunk(number, part) for number, part in enumerate(split_chunk(item), start=index)]
            index += len(items)
        else:
            items = _last_items(contract.last(item))
        for sent in items:
            total.add(sent, duration_s, contract.request.format)
            yield sent


def _batch_items(stream: Iterator[BatchItemResponse | BatchResponse], total: StreamLimit) -> Iterator[Json]:
    """Yield the items of a batch as they are done, then its summary.

    One that is too large for an item of a stream comes in several, of which all but the last are `partial`.
    """
    for item in stream:
        if isinstance(item, BatchResponse):
            items = [{"final": True, **item.to_json()}]
        else:
            *parts, last = split_item(item.to_json(), MAX_ITEM_BYTES - NAMES_BYTES)
            names = {"id": item.id, "index": item.index}
            items = [*({**names, "partial": True, **part} for part in parts), {**names, **last}]
        for sent in items:
            total.add(sent)
            yield sent


def _last_items(last: Json | str) -> list[Json | str]:
    """Return the end of a stream as one item, or as several of which only the last is final."""
    if isinstance(last, str):
        return [last]
    *parts, final = split_item({name: value for name, value in last.items() if name != "final"})
    return [*({"final": False, **part} for part in parts), {"final": True, **final}]


def _id(job: Mapping[str, Any]) -> str:
    return str(job.get("id", ""))
