"""Finished items of a batch, kept under the caller's `resume_key`: sent again, the batch goes on where it ended.

An item is found by a hash of everything that decides its sound and form: its fields, the clips and defaults of its
voices, the checkpoint, this worker's version. So a changed line is spoken again, and the others are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr, ValidationError

from f5_worker import __version__, log
from f5_worker.api.batch.parts import open_parts, sweep
from f5_worker.errors import StorageFailed
from f5_worker.schema.requests import MAX_SEED, SynthesizeInput
from f5_worker.schema.responses import SynthesizeResponse
from f5_worker.storage.s3 import Bucket
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.prepare import read_text, reference_warnings
from f5_worker.voices.info import LoadedVoice
from f5_worker.voices.places import owner_of

# Fields that say who asks and where the result goes, and those that are described by what they stand for.
_ASIDE = {"voices_key", "delivery", "verify", "reference"}


class Resumption:
    """The finished items of one caller's key.

    Raises:
        InvalidInput: this worker has no place for them.
    """

    def __init__(
        self, resume_key: str, voices_key: SecretStr | None, worker: Worker, own_bucket: Bucket | None
    ) -> None:
        self._resume_key, self._worker = resume_key, worker
        self._parts = open_parts(worker.settings, own_bucket, worker.bucket)
        self._folder = _digest("folder", owner_of(voices_key, worker.settings), resume_key)[:32]
        try:
            sweep(self._parts, worker.settings)
        except StorageFailed as error:
            log.logger.warning("old items of batches were not removed: %s", error)

    def with_seed(self, request: SynthesizeInput) -> SynthesizeInput:
        """Return the request with a seed; one that has none gets that of its text under this key."""
        if request.seed is not None:
            return request
        seed = int(_digest("seed", self._resume_key, request.text)[:16], 16) % (MAX_SEED + 1)
        return request.model_copy(update={"seed": seed})

    def find_or_speak(self, job: Job, speak: Callable[[Job], SynthesizeResponse]) -> tuple[SynthesizeResponse, bool]:
        """Return a finished item with its files in it, and whether it was found; else it is spoken, and kept.

        Raises:
            WorkerError: any of `speak`. Where the disk or the bucket fails, the item is spoken, with a warning.
        """
        name = f"{self._folder}/{self._digest_of(job)}"
        try:
            data = self._parts.read(name)
        except StorageFailed as error:
            log.for_job(job.job_id).error("finished items are not found: %s", error)
            data = None
        if found := None if data is None else load_part(data):
            return found, True
        result = speak(job)
        try:
            self._parts.write(name, dump_part(result))
        except StorageFailed as error:
            warning = f"this item was not kept for resume_key, and would be spoken again: {error.message}"
            result = result.model_copy(update={"warnings": [*result.warnings, warning]})
        return result, False

    def _digest_of(self, job: Job) -> str:
        """Return a hash of all that decides an item's result."""
        request, worker = job.request, self._worker
        assert isinstance(request, SynthesizeInput)  # noqa: S101 - an item
        settings = worker.settings
        script, voices = read_text(job, request)
        first = voices[None if None in voices else script.voices[0]]
        verify = request.verify_or(settings.verify)
        return _digest(
            __version__,
            [settings.engine, settings.precision, worker.models.fingerprint(request.model or first.defaults.model)],
            request.model_dump(mode="json", exclude=_ASIDE),
            None if verify is None else [verify.model_dump(mode="json"), settings.speaker_model],
            settings.asr_model if verify is not None or request.wants_times else None,
            {name or "": _describe(voice) for name, voice in voices.items()},
            reference_warnings(request, first.reference),
            [repr(entry) for entry in worker.pronunciations],
        )


def dump_part(result: SynthesizeResponse) -> bytes:
    """Return a result as a file: the hash of the rest in a line, the response in a line, the audio."""
    facts = result.model_dump(mode="json", exclude={"audio": {"data"}})
    rest = json.dumps(facts).encode() + b"\n" + (result.audio.data or b"")
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def load_part(data: bytes) -> SynthesizeResponse | None:
    """Return a result that `dump_part` wrote; None if it is damaged."""
    digest, _, rest = data.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        return None
    head, _, audio = rest.partition(b"\n")
    try:
        result = SynthesizeResponse.model_validate_json(head)
    except ValidationError:
        return None
    return result.model_copy(update={"audio": result.audio.model_copy(update={"data": audio})})


def _describe(voice: LoadedVoice) -> list[Any]:
    reference = voice.reference
    samples = hashlib.sha256(reference.samples.tobytes()).hexdigest()
    return [samples, reference.transcript, reference.language, voice.defaults.model_dump(mode="json")]


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
