"""Everything that can go wrong, in the words that a caller sees.

WorkerError
  +- InputError              the caller can mend it
  |    +- InvalidInput         INVALID_INPUT
  |    +- UnknownAction        UNKNOWN_ACTION
  |    +- UnknownVoice         UNKNOWN_VOICE
  |    +- VoiceExists          VOICE_EXISTS
  |    +- ConsentMissing       CONSENT_MISSING
  |    +- UnknownModel         UNKNOWN_MODEL
  |    +- SubtitlesUnreadable  SUBTITLES_UNREADABLE
  |    +- TextUnspeakable      TEXT_UNSPEAKABLE
  |    +- TextTooLong          TEXT_TOO_LONG
  |    +- ReferenceProblem
  |    |    +- ReferenceUnreadable  REFERENCE_UNREADABLE
  |    |    +- ReferenceTooLarge    REFERENCE_TOO_LARGE
  |    |    +- ReferenceTooShort    REFERENCE_TOO_SHORT
  |    |    +- ReferenceTooLong     REFERENCE_TOO_LONG
  |    |    +- ReferenceSilent      REFERENCE_SILENT
  |    |    +- TranscriptMismatch   TRANSCRIPT_MISMATCH
  |    |    +- TranscriptNeeded     TRANSCRIPT_NEEDED
  |    +- FetchError
  |    |    +- FetchRefused         FETCH_REFUSED
  |    |    +- FetchFailed          FETCH_FAILED
  |    +- ResultTooLarge       RESULT_TOO_LARGE
  +- JobError                the job ended, the worker goes on
  |    +- JobCancelled         JOB_CANCELLED
  |    +- JobTimeout           JOB_TIMEOUT
  |    +- QueueFull            QUEUE_FULL
  |    +- OutOfMemory          OUT_OF_MEMORY
  |    +- StorageFailed        STORAGE_FAILED
  +- WorkerFault             the operator has to look
       +- SettingsInvalid      SETTINGS_INVALID
       +- ModelUnavailable     MODEL_UNAVAILABLE
       +- GpuLost              GPU_LOST
       +- HostUnfit            HOST_UNFIT
       +- BootFailed           BOOT_FAILED
       +- InternalError        INTERNAL_ERROR

A message reads "what happened, with the measured value; what to do". It never holds a traceback,
a path of this machine, a key, or the text of a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class WorkerError(Exception):
    """Base of all: `str(error)` is the reply's `error` string, `CODE: message`."""

    code: ClassVar[str] = "WORKER_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InputError(WorkerError):
    """The job as sent cannot be done; sending it again unchanged cannot help."""


class InvalidInput(InputError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "INVALID_INPUT"


class UnknownAction(InputError):
    """`action` names nothing this worker does."""

    code = "UNKNOWN_ACTION"


class UnknownVoice(InputError):
    """`voice` names no voice that this worker has."""

    code = "UNKNOWN_VOICE"


class VoiceExists(InputError):
    """A voice of that name is kept already."""

    code = "VOICE_EXISTS"


class ConsentMissing(InputError):
    """A voice is kept only with a statement that its speaker agrees."""

    code = "CONSENT_MISSING"


class UnknownModel(InputError):
    """`model` names no checkpoint that this worker has."""

    code = "UNKNOWN_MODEL"


class SubtitlesUnreadable(InputError):
    """The text is no SRT, VTT or CSV with times that make sense."""

    code = "SUBTITLES_UNREADABLE"


class TextUnspeakable(InputError):
    """Nothing in the text can be spoken: only punctuation, symbols or emoji."""

    code = "TEXT_UNSPEAKABLE"


class TextTooLong(InputError):
    """The text is longer, or would sound longer, than this worker allows."""

    code = "TEXT_TOO_LONG"


class ReferenceProblem(InputError):
    """The reference clip or its transcript is unfit for cloning."""


class ReferenceUnreadable(ReferenceProblem):
    """The clip is not audio that this worker can decode."""

    code = "REFERENCE_UNREADABLE"


class ReferenceTooLarge(ReferenceProblem):
    """The clip exceeds a bound on bytes, channels, rate or decoded size."""

    code = "REFERENCE_TOO_LARGE"


class ReferenceTooShort(ReferenceProblem):
    """The clip holds too little speech to copy a voice from."""

    code = "REFERENCE_TOO_SHORT"


class ReferenceTooLong(ReferenceProblem):
    """The clip is too long and has no pause at which it could be cut together with its transcript."""

    code = "REFERENCE_TOO_LONG"


class ReferenceSilent(ReferenceProblem):
    """The clip is silence, or so quiet that its noise would be cloned."""

    code = "REFERENCE_SILENT"


class TranscriptMismatch(ReferenceProblem):
    """The transcript cannot belong to the clip: the speaking rate it implies is not human."""

    code = "TRANSCRIPT_MISMATCH"


class TranscriptNeeded(ReferenceProblem):
    """The clip came without its words, and this worker has no recogniser to find them."""

    code = "TRANSCRIPT_NEEDED"


class FetchError(InputError):
    """A URL of the caller's could not be used."""


class FetchRefused(FetchError):
    """The URL is one that this worker does not open: scheme, port, credentials or private address."""

    code = "FETCH_REFUSED"


class FetchFailed(FetchError):
    """The server did not deliver: no answer, an error status, too slow, too large."""

    code = "FETCH_FAILED"


class ResultTooLarge(InputError):
    """The reply would exceed what the platform posts; it would be lost silently."""

    code = "RESULT_TOO_LARGE"


class JobError(WorkerError):
    """This job ended without a result; the worker goes on."""


class JobCancelled(JobError):
    """The caller cancelled the job."""

    code = "JOB_CANCELLED"


class JobTimeout(JobError):
    """The job took longer than the operator allows."""

    code = "JOB_TIMEOUT"


class QueueFull(JobError):
    """More jobs wait than the operator allows."""

    code = "QUEUE_FULL"


class OutOfMemory(JobError):
    """The device has not enough free memory for this job."""

    code = "OUT_OF_MEMORY"


class StorageFailed(JobError):
    """The bucket or the volume did not take, or did not give, a file."""

    code = "STORAGE_FAILED"


class WorkerFault(WorkerError):
    """Something that the operator has to mend, not the caller."""


class SettingsInvalid(WorkerFault):
    """One or more environment variables cannot be used; the message lists them all."""

    code = "SETTINGS_INVALID"

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class ModelUnavailable(WorkerFault):
    """The model's files are missing, incomplete or of an unknown architecture."""

    code = "MODEL_UNAVAILABLE"


class GpuLost(WorkerFault):
    """The CUDA context is broken; only a new process can use the GPU again."""

    code = "GPU_LOST"


class HostUnfit(WorkerFault):
    """This machine lacks what the worker was told to use; another one may have it."""

    code = "HOST_UNFIT"


class BootFailed(WorkerFault):
    """The worker could not start; its boot report (`action: "diagnose"`) has the details."""

    code = "BOOT_FAILED"


class InternalError(WorkerFault):
    """A fault of this program; the log has the details under the job's id."""

    code = "INTERNAL_ERROR"
