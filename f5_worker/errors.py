"""The errors that callers see.

WorkerError
  +- InputError              the caller can correct it
  |    +- InvalidInput         INVALID_INPUT
  |    +- UnknownAction        UNKNOWN_ACTION
  |    +- UnknownVoice         UNKNOWN_VOICE
  |    +- VoiceExists          VOICE_EXISTS
  |    +- VoicesFull           VOICES_FULL
  |    +- ConsentMissing       CONSENT_MISSING
  |    +- UnknownModel         UNKNOWN_MODEL
  |    +- SubtitlesUnreadable  SUBTITLES_UNREADABLE
  |    +- TextUnspeakable      TEXT_UNSPEAKABLE
  |    +- TextTooLong          TEXT_TOO_LONG
  |    +- LinesTooLong         LINES_TOO_LONG
  |    +- ReferenceProblem
  |    |    +- ReferenceUnreadable  REFERENCE_UNREADABLE
  |    |    +- ReferenceTooLarge    REFERENCE_TOO_LARGE
  |    |    +- ReferenceTooShort    REFERENCE_TOO_SHORT
  |    |    +- ReferenceTooLong     REFERENCE_TOO_LONG
  |    |    +- ReferenceSilent      REFERENCE_SILENT
  |    |    +- TranscriptMismatch   TRANSCRIPT_MISMATCH
  |    |    +- TranscriptNeeded     TRANSCRIPT_NEEDED
  |    |    +- SpeakerUnusable      SPEAKER_UNUSABLE
  |    +- FetchError
  |    |    +- FetchRefused         FETCH_REFUSED
  |    |    +- FetchFailed          FETCH_FAILED
  |    +- ResultTooLarge       RESULT_TOO_LARGE
  |    +- JobWillNotFit        JOB_WILL_NOT_FIT
  |    +- Unauthorized         UNAUTHORIZED
  |    +- Forbidden            FORBIDDEN
  |    +- NotFound             NOT_FOUND
  |    +- BodyTooLarge         BODY_TOO_LARGE
  +- JobError                the job ended, the worker goes on
  |    +- JobCancelled         JOB_CANCELLED
  |    +- JobTimeout           JOB_TIMEOUT
  |    +- QueueFull            QUEUE_FULL
  |    +- NotReady             NOT_READY
  |    +- OutOfMemory          OUT_OF_MEMORY
  |    +- SpeechNotVerified    SPEECH_NOT_VERIFIED
  |    +- StorageFailed        STORAGE_FAILED
  +- WorkerFault             the operator has to act
       +- SettingsInvalid      SETTINGS_INVALID
       +- ModelUnavailable     MODEL_UNAVAILABLE
       +- GpuLost              GPU_LOST
       +- HostUnfit            HOST_UNFIT
       +- BootFailed           BOOT_FAILED
       +- InternalError        INTERNAL_ERROR

A message reads "what happened, with the measured value; what to do". It never holds a traceback, a path of this
machine, a key, or the text of a job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


def list_some(names: Sequence[object], limit: int) -> str:
    """Return names for a message, at most so many: `a, b and 3 more`."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(map(str, names[:limit]))}{more}"


class WorkerError(Exception):
    """The base of all errors: `str(error)` is `CODE: message`."""

    code: ClassVar[str] = "WORKER_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InputError(WorkerError):
    """The job cannot be done as sent; sending it again unchanged cannot help."""


class InvalidInput(InputError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "INVALID_INPUT"


class UnknownAction(InputError):
    """`action` is not an action of this worker."""

    code = "UNKNOWN_ACTION"


class UnknownVoice(InputError):
    """This worker has no voice of that name."""

    code = "UNKNOWN_VOICE"


class VoiceExists(InputError):
    """There is a voice of that name already."""

    code = "VOICE_EXISTS"


class VoicesFull(InputError):
    """As many voices are stored, or bytes of them, as the operator allows."""

    code = "VOICES_FULL"


class ConsentMissing(InputError):
    """A voice is stored only with a statement that its speaker agrees."""

    code = "CONSENT_MISSING"


class UnknownModel(InputError):
    """This worker has no checkpoint of that name."""

    code = "UNKNOWN_MODEL"


class SubtitlesUnreadable(InputError):
    """The transcript or the subtitles cannot be read: a line, an encoding, or a kind of file that is not text."""

    code = "SUBTITLES_UNREADABLE"


class TextUnspeakable(InputError):
    """The text has nothing to speak: only punctuation, symbols, emoji, code or stage directions."""

    code = "TEXT_UNSPEAKABLE"


class TextTooLong(InputError):
    """The text is longer, or would sound longer, than this worker allows."""

    code = "TEXT_TOO_LONG"


class LinesTooLong(InputError):
    """Lines of a dubbed track are too long for their times, and `on_overrun` is `fail`."""

    code = "LINES_TOO_LONG"


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
    """The clip came without a transcript, and this worker has no recogniser that could write one."""

    code = "TRANSCRIPT_NEEDED"


class SpeakerUnusable(ReferenceProblem):
    """The source of a dubbed track has no speech of a speaker that could be cloned, and no other voice is named."""

    code = "SPEAKER_UNUSABLE"


class FetchError(InputError):
    """A URL in the request could not be used."""


class FetchRefused(FetchError):
    """This worker does not open the URL: scheme, port, credentials or private address."""

    code = "FETCH_REFUSED"


class FetchFailed(FetchError):
    """The server did not deliver: it gave no answer or an error, or was too slow, or the file is too large."""

    code = "FETCH_FAILED"


class ResultTooLarge(InputError):
    """The response is larger than the platform carries, which would drop it without an error."""

    code = "RESULT_TOO_LARGE"


class JobWillNotFit(InputError):
    """The job would take longer than it may, by the speed that was measured of this worker; it was not begun."""

    code = "JOB_WILL_NOT_FIT"


class Unauthorized(InputError):
    """The request has no key of this HTTP server, or a wrong one."""

    code = "UNAUTHORIZED"


class Forbidden(InputError):
    """A browser's page of another origin called, which the operator has not allowed."""

    code = "FORBIDDEN"


class NotFound(InputError):
    """This HTTP server has nothing at that address."""

    code = "NOT_FOUND"


class BodyTooLarge(InputError):
    """The body of an HTTP request is larger than any request needs."""

    code = "BODY_TOO_LARGE"


class JobError(WorkerError):
    """This job ended without a result; the worker goes on."""


class JobCancelled(JobError):
    """The caller cancelled the job."""

    code = "JOB_CANCELLED"


class JobTimeout(JobError):
    """The job took longer than the operator allows."""

    code = "JOB_TIMEOUT"


class QueueFull(JobError):
    """As many jobs wait as the operator allows."""

    code = "QUEUE_FULL"


class NotReady(JobError):
    """The HTTP server is up, and its model is still being loaded."""

    code = "NOT_READY"


class OutOfMemory(JobError):
    """The device has not enough free memory for this job."""

    code = "OUT_OF_MEMORY"


class SpeechNotVerified(JobError):
    """The speech, which was to be right or an error, differs from its text, or nothing could check it."""

    code = "SPEECH_NOT_VERIFIED"


class StorageFailed(JobError):
    """A file could not be written to, or read from, the bucket or the volume."""

    code = "STORAGE_FAILED"


class WorkerFault(WorkerError):
    """A fault that the operator has to correct, not the caller."""


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
    """This machine lacks something that the settings require; another one may have it."""

    code = "HOST_UNFIT"


class BootFailed(WorkerFault):
    """The worker could not start; its boot report (`action: "diagnose"`) has the details."""

    code = "BOOT_FAILED"


class InternalError(WorkerFault):
    """A fault of this program; the log has the details under the job's id."""

    code = "INTERNAL_ERROR"
