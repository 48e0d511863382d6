"""Several takes of one text, spoken together with other seeds, for the caller to choose from."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from f5_worker.alignment.words import word_spans
from f5_worker.api.together import run_together
from f5_worker.cancellation import JobControl
from f5_worker.delivery.inline import ResponseLimit
from f5_worker.errors import ResultTooLarge, WorkerError
from f5_worker.schema.requests import MAX_SEED, SynthesizeInput
from f5_worker.schema.responses import SegmentResponse, SynthesizeResponse, TakeResponse, VerifiedResponse
from f5_worker.schema.verify import VerifyInput
from f5_worker.synthesis.context import Stopwatch
from f5_worker.synthesis.job import Estimate, Job
from f5_worker.synthesis.response import speak_complete, store_files
from f5_worker.synthesis.size import mode_of
from f5_worker.text.seed import take_seed


def speak_takes(
    job: Job, request: SynthesizeInput, told: Callable[[str, Exception], WorkerError]
) -> SynthesizeResponse:
    """Return the best take by the recogniser, the first without one, with the audio of the others beside it.

    Args:
        told: see `Call`.

    Raises:
        WorkerError: as for one take; ResultTooLarge: all together do not fit, and there is no bucket.
    """
    seed = request.seed if request.seed is not None else secrets.randbelow(MAX_SEED + 1)
    takes = [_take_job(job, request, seed, index) for index in range(request.takes)]
    works = [partial(_speak, take) for take in takes]
    spoken: dict[int, SynthesizeResponse] = {}
    for index, outcome in run_together(works, job.control, partial(told, job.job_id)):
        if isinstance(outcome, WorkerError):
            raise outcome
        spoken[index] = outcome
    responses = [spoken[index] for index in range(request.takes)]
    response = _choose(responses)
    mode = mode_of(job)
    size_bytes = job.limit.json_bytes(response.to_json()) if mode != "s3" else 0
    if mode != "s3" and size_bytes <= job.limit.max_bytes:
        return response
    if mode == "inline" or job.bucket is None:
        raise _too_large(request.takes, size_bytes, job.limit)
    with job.stopwatch.stage("delivery_ms"):
        return _choose([store_files(take, response) for take, response in zip(takes, responses, strict=True)])


def _take_job(job: Job, request: SynthesizeInput, seed: int, index: int) -> Job:
    fields = {"seed": take_seed(seed, index), "takes": 1, "verify": VerifyInput(takes=1)}

    def admit(estimate: Estimate) -> None:
        size_bytes = request.takes * estimate.response_bytes
        if size_bytes > job.limit.max_bytes:
            raise _too_large(request.takes, size_bytes, job.limit)

    return replace(
        job,
        request=request.model_copy(update=fields),
        job_id=job.safe_id,
        part=f"take-{index + 1}",
        admit=admit,
        stopwatch=Stopwatch(),
    )


def _too_large(n_takes: int, size_bytes: float, limit: ResponseLimit) -> ResultTooLarge:
    return ResultTooLarge(
        f"{n_takes} takes of the text are {size_bytes / 1e6:.1f} MB of the reply, which may have "
        f"{limit.max_bytes / 1e6:.1f} MB (F5_MAX_REPLY_BYTES); "
        "ask for fewer takes, for mp3 or opus, or have results sent to a bucket"
    )


def _speak(job: Job, control: JobControl) -> SynthesizeResponse:
    return speak_complete(replace(job, control=control))


def _choose(responses: Sequence[SynthesizeResponse]) -> SynthesizeResponse:
    """Return the best of the takes with the others beside it; the first of equals."""
    scores = [_score(response.segments) for response in responses]
    ranks = [
        (not score.passed, score.wer, -(score.similarity or 0.0)) if score else (False, 0.0, 0.0) for score in scores
    ]
    best = ranks.index(min(ranks))
    takes = [
        TakeResponse(seed=response.seed, verified=score, audio=None if index == best else response.audio)
        for index, (response, score) in enumerate(zip(responses, scores, strict=True))
    ]
    return responses[best].model_copy(update={"takes": takes})


def _score(segments: Sequence[SegmentResponse]) -> VerifiedResponse | None:
    """Return how the whole text was heard; None if it was not."""
    heard = [(segment.verified, len(word_spans(segment.text))) for segment in segments if segment.verified]
    if not heard:
        return None
    n_words = sum(words for _, words in heard)
    alike = [verified.similarity for verified, _ in heard if verified.similarity is not None]
    return VerifiedResponse(
        passed=all(verified.passed for verified, _ in heard),
        wer=round(sum(verified.wer * words for verified, words in heard) / max(1, n_words), 4),
        run=max(verified.run for verified, _ in heard),
        similarity=min(alike, default=None),
        takes=1,
        seed=heard[0][0].seed,
        faults=sorted({fault for verified, _ in heard for fault in verified.faults or ()}) or None,
    )
