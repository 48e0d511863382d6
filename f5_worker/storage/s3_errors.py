"""Explain the errors of botocore and of a bucket's server, without anything that is secret.

Of a server's answer only its code is repeated: the messages of real servers quote key ids and signed strings.
Importing this module imports botocore.
"""

from __future__ import annotations

import difflib
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from f5_worker.errors import StorageFailed
from f5_worker.storage.s3_config import PROVIDER_DOMAINS, BucketConfig

# All that an answer can raise. ValueError, KeyError: a value is missing, or not the date or number that S3 sends.
CLIENT_ERRORS = (ClientError, BotoCoreError, ResponseParserError, ValueError, KeyError)

_UNANSWERED = (HTTPClientError, BotoConnectionError, IncompleteReadError)
_TRANSIENT_CODES = (
    "SlowDown",
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "Throttling",
    "RequestLimitExceeded",
)
_TRANSIENT_STATUS = (429, 500, 502, 503, 504)
_SKEW_CODES = ("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture")
_PLAIN_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")

_EXPLANATIONS = {
    "InvalidAccessKeyId": "does not know the access key id; check that it belongs to this endpoint",
    "SignatureDoesNotMatch": "says that the signature is wrong; the secret key does not belong to the key id",
    "AccessDenied": "knows the key but does not allow it to {what}; allow it in the key's policy",
    "NoSuchBucket": "has no such bucket; create it or correct its name",
    "AuthorizationHeaderMalformed": "refuses the region {region}; set the bucket's own",
    "IllegalLocationConstraintException": "refuses the region {region}; set the bucket's own",
    "PermanentRedirect": "says that the bucket is in another region than {region}; set the bucket's own",
    "SlowDown": "asks for fewer requests; try again later",
    "EntityTooLarge": "does not accept a file of this size; ask for a smaller format",
    "QuotaExceeded": "is full; delete files or raise its limit",
    "NotImplemented": "does not have what is needed to {what}; use another storage",
}
_STATUS_EXPLANATIONS = {
    403: "refuses to {what} without saying why; check key, secret and policy",
    404: "has no such address; check the endpoint and the bucket's name",
}


def error_code(error: Exception) -> str:
    """Return S3's code for the error; the HTTP status where it gave none; empty when there was no answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def http_status(error: Exception) -> int:
    """Return the HTTP status of the answer; 0 when there was none."""
    return int(_metadata(error).get("HTTPStatusCode", 0))


def is_transient(error: Exception) -> bool:
    """Return True if the same request may work in a moment."""
    if isinstance(error, ClientError):
        return http_status(error) in _TRANSIENT_STATUS or error_code(error) in _TRANSIENT_CODES
    return isinstance(error, _UNANSWERED) and not any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)
    )


def explain(error: Exception, config: BucketConfig, what: str) -> StorageFailed:
    """Return the StorageFailed for one of CLIENT_ERRORS; `what` was tried: `write`, `read`, `list`, `delete`."""
    if isinstance(error, ClientError):
        explanation = _answered(error, config).format(what=what, region=config.region)
        return StorageFailed(f"{config.host}, bucket {config.bucket}: it {explanation}")
    if isinstance(error, _UNANSWERED):
        return StorageFailed(_unanswered(error, config.host))
    return StorageFailed(f"{config.host} does not answer as S3 does ({type(error).__name__}); check the endpoint")


def timed_out(config: BucketConfig, total_s: float, what: str) -> StorageFailed:
    """Return the error for an operation whose deadline passed."""
    return StorageFailed(
        f"{config.host}, bucket {config.bucket}: {what} took longer than {total_s:g} s (F5_S3_TIMEOUT_S); "
        "check the storage, or allow more time"
    )


def _answered(error: ClientError, config: BucketConfig) -> str:
    code, status = error_code(error), http_status(error)
    if code in _SKEW_CODES:
        return f"says that the clocks differ{_skew(error)}; set this machine's clock"
    if code in _EXPLANATIONS:
        return _EXPLANATIONS[code]
    if code.isdigit() and status in _STATUS_EXPLANATIONS:
        return _STATUS_EXPLANATIONS[status]
    if code.isdigit() or not _PLAIN_CODE.fullmatch(code):
        return f"answered {status}, but not as S3 does; check the endpoint"
    return f"answered {status} {code}; see what its documentation says of this"


def _skew(error: ClientError) -> str:
    """Return how far the clocks are apart, by the server's Date."""
    try:
        server_time = parsedate_to_datetime(_metadata(error).get("HTTPHeaders", {}).get("date", ""))
    except (TypeError, ValueError):
        return ""
    apart_s = (datetime.now(UTC) - server_time.astimezone(UTC)).total_seconds()
    return f": ours is {abs(apart_s):.0f} s {'ahead' if apart_s > 0 else 'behind'}"


def _unanswered(error: Exception, host: str) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"the host {host} is not known{_suggestion(host)}; check the endpoint"
    if isinstance(error, SSLError):
        reason = next((cause.verify_message for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), "")
        return f"{host} has no TLS that is accepted{f' ({reason})' if reason else ''}; check the endpoint"
    if isinstance(error, ProxyConnectionError):
        return f"the proxy for {host} does not accept connections; check HTTPS_PROXY"
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return f"{host} does not accept connections; check the endpoint and its port"
    if isinstance(error, ReadTimeoutError):
        return f"{host} received the request and did not answer; check the storage"
    return f"{host} closed the connection; check the endpoint, or try again later"


def _suggestion(host: str) -> str:
    """Return a hint at the provider whose domain a mistyped host resembles."""
    for domain in PROVIDER_DOMAINS:
        tail = ".".join(host.split(".")[-(domain.count(".") + 1) :])
        if difflib.SequenceMatcher(None, tail, domain).ratio() > 0.85:
            return f" (did you mean {domain}?)"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from: urllib3 and botocore wrap each other's."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop(0)
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            kept = cause.kwargs.get("error") if isinstance(cause, BotoCoreError) else None
            waiting += [kept, getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args]


def _metadata(error: Exception) -> dict[str, Any]:
    return dict(error.response.get("ResponseMetadata", {})) if isinstance(error, ClientError) else {}
