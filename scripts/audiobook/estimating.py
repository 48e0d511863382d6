"""What a worker knows before a book is spoken: how long it will be, what is wrong with its text, whose voices."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from scripts.audiobook.speaking import SpeechJob
from scripts.audiobook.worker import JobFailedError, Json, Worker, with_retries

MAX_PREVIEW_CHARS = 18_000  # a text has up to 20,000
_PREVIEWED = frozenset({"seed", "timings", "format"})


@dataclass(frozen=True)
class Estimate:
    """Seconds of speech, without the pauses between pieces, and the worker's warnings with how often each came."""

    speech_s: float
    warnings: tuple[tuple[str, int], ...]


async def estimate(worker: Worker, jobs: Sequence[SpeechJob], in_flight: int) -> Estimate:
    """Ask the worker how long the texts of jobs will be, many jobs' texts at once.

    Raises:
        JobFailedError: it would refuse them.
    """
    limit = asyncio.Semaphore(in_flight)

    async def ask(text: str, fields: Json) -> Json:
        async with limit:
            return await with_retries(lambda: worker.run({**fields, "action": "preview", "text": text}))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(text, fields)) for text, fields in _texts(jobs)]
    except* JobFailedError as errors:
        raise errors.exceptions[0] from None
    outputs = [task.result() for task in tasks]
    warnings = Counter(warning for output in outputs for warning in output["warnings"])
    return Estimate(sum(output["estimated_s"] for output in outputs), tuple(warnings.most_common()))


async def describe_voices(worker: Worker, jobs: Sequence[SpeechJob]) -> str:
    """Return a text that is another one once one of the voices of jobs was replaced under its name.

    Raises:
        JobFailedError: the worker does not have one of them.
    """
    fields = jobs[0].fields
    others = fields.get("voices")
    named = [fields["voice"], *(others.values() if isinstance(others, dict) else ())]
    names = sorted({name for name in named if isinstance(name, str)})  # those of --fields may be anything
    found = [await with_retries(partial(worker.voice, name, fields.get("voices_key"))) for name in names]
    return json.dumps([[voice["name"], _version_of(voice)] for voice in found])


def _version_of(voice: Json) -> object:
    """Return what changes when a voice is replaced; older workers, without `version`, tell less."""
    return voice.get("version") or [voice["bytes"], voice.get("created_at", "")]


def _texts(jobs: Iterable[SpeechJob]) -> Iterable[tuple[str, Json]]:
    """Yield texts to preview, each with its fields: those of jobs in a row that differ in nothing else."""

    def others(job: SpeechJob) -> Json:
        return {name: value for name, value in job.fields.items() if name not in (*_PREVIEWED, "text")}

    for fields, group in groupby(jobs, key=others):
        text = ""
        for job in group:
            if text and len(text) + len(job.piece.text) + 2 > MAX_PREVIEW_CHARS:
                yield text, fields
                text = ""
            text = f"{text}\n\n{job.piece.text}" if text else job.piece.text
        if text:
            yield text, fields


def cost(speech_s: float, engine_s_per_speech_s: float, price_per_hour: float) -> float:
    """Return what so much speech costs on workers that are paid by the hour, at a measured speed."""
    return speech_s * engine_s_per_speech_s / 3_600 * price_per_hour
