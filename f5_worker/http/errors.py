"""Errors as HTTP has them: one table of statuses, one body that the clients of all contracts read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from f5_worker import errors
from f5_worker.api.native import MAX_ERROR_CHARS
from f5_worker.errors import InputError, WorkerError

RETRY_AFTER_S = 2
# The nearest class in an error's line of bases decides.
STATUS: Mapping[type[Exception], int] = {
    errors.InputError: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.UnknownVoice: 404,
    errors.UnknownModel: 404,
    errors.VoiceExists: 409,
    errors.VoicesFull: 409,
    errors.BodyTooLarge: 413,
    errors.ReferenceTooLarge: 413,
    errors.JobError: 500,
    errors.JobCancelled: 409,
    errors.JobTimeout: 504,
    errors.QueueFull: 429,
    errors.NotReady: 503,
    errors.OutOfMemory: 503,
    errors.StorageFailed: 502,
    errors.WorkerFault: 503,
    errors.InternalError: 500,
}
_RETRY = (errors.QueueFull, errors.NotReady, errors.OutOfMemory)


def status_of(error: WorkerError) -> int:
    """Return the status of an error."""
    return next(STATUS[base] for base in type(error).__mro__ if base in STATUS)


def error_body(error: WorkerError) -> dict[str, Any]:
    """Return an error for the clients of all contracts: OpenAI's read `error`, ElevenLabs' read `detail`.

    The contracts share paths, so that a path does not tell which of the two is called.
    """
    message = str(error)
    if len(message) > MAX_ERROR_CHARS:
        message = message[:MAX_ERROR_CHARS] + " ..."
    return {
        "error": {"message": message, "type": _type(error), "param": None, "code": error.code},
        "detail": {"status": error.code.lower(), "message": message},
    }


def error_response(error: WorkerError) -> JSONResponse:
    """Return the response for an error that came before the first byte."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, _RETRY) else {}
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(error), status_of(error), headers)


def http_error_response(error: HTTPException) -> Response:
    """Return the response for what the router refuses: an unknown path, or another method."""
    if error.status_code not in (404, 405):
        return Response(status_code=error.status_code)
    told = errors.NotFound("there is nothing at this address for this method; /docs lists what is served")
    return JSONResponse(error_body(told), error.status_code, error.headers)


def _type(error: WorkerError) -> str:
    """Return OpenAI's name for the kind of an error."""
    if isinstance(error, errors.Unauthorized):
        return "authentication_error"
    if isinstance(error, errors.QueueFull):
        return "rate_limit_error"
    return "invalid_request_error" if isinstance(error, InputError) else "server_error"
