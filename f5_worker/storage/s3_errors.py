"""What botocore and a bucket's server say when something fails, in words that help, and nothing that is secret.

Of a server's answer only its code is repeated: the messages of real servers quote key ids and what was signed.
Importing this module imports botocore.
"""

from __future__ import annotations

import difflib
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timezone
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
from f5_worker.storage.s3_config import HOMES, BucketConfig

# All that an answer can raise. ValueError, KeyError: no date or number, or nothing, where S3 always sends one.
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

_WORDS = {
    "InvalidAccessKeyId": "does not know the access key id; check that it belongs to this endpoint",
    "SignatureDoesNotMatch": "says that the signature is wrong; the secret key does not belong to the key id",
    "AccessDenied": "knows the key but gives it no right to {what}; allow it in the key's policy",
    "NoSuchBucket": "has no such bucket; create it or correct its name",
    "AuthorizationHeaderMalformed": "refuses the region {region}; set the bucket's own",
    "IllegalLocationConstraintException": "refuses the region {region}; set the bucket's own",
    "PermanentRedirect": "says that the bucket is in another region than {region}; set the bucket's own",
    "SlowDown": "asks for fewer requests; try again later",
    "EntityTooLarge": "takes no file of this size; ask for a smaller format",
    "QuotaExceeded": "is full; make room or raise its limit",
    "NotImplemented": "does not offer what is needed to {what}; use another storage",
}
_STATUS_WORDS = {
    403: "refuses to {what} without saying why; check key, secret and policy",
    404: "knows no such address; check the endpoint and the bucket's name",
}


def code(error: Exception) -> str:
    """S3's name for what went wrong; the HTTP status where it gave none; empty when there was no answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status(error: Exception) -> int:
    """The HTTP status of the answer; 0 when there was none."""
    return int(_metadata(error).get("HTTPStatusCode", 0))


def transient(error: Exception) -> bool:
    """May the same request work in a moment?"""
    if isinstance(error, ClientError):
        return status(error) in _TRANSIENT_STATUS or code(error) in _TRANSIENT_CODES
    return isinstance(error, _UNANSWERED) and not any(
        isinstance(it, ssl.SSLCertVerificationError) for it in _causes(error)
    )


def explain(error: Exception, config: BucketConfig, what: str) -> StorageFailed:
    """The words for one of CLIENT_ERRORS; `what` was tried: `write`, `read`, `list`, `delete`."""
    if isinstance(error, ClientError):
        said = _answered(error, config).format(what=what, region=config.region)
        return StorageFailed(f"{config.host}, bucket {config.bucket}: it {said}")
    if isinstance(error, _UNANSWERED):
        return StorageFailed(_unanswered(error, config.host))
    return StorageFailed(f"{config.host} gives no S3 answer ({type(error).__name__}); check the endpoint")


def too_late(config: BucketConfig, total_s: float, what: str) -> StorageFailed:
    """The deadline passed."""
    return StorageFailed(
        f"{config.host}, bucket {config.bucket}: {what} took longer than {total_s:g} s (F5_S3_TIMEOUT_S); "
        "check the storage, or allow more time"
    )


def _answered(error: ClientError, config: BucketConfig) -> str:
    name, number = code(error), status(error)
    if name in _SKEW_CODES:
        return f"says that the clocks differ{_skew(error)}; set this machine's clock"
    if name in _WORDS:
        return _WORDS[name]
    if name.isdigit() and number in _STATUS_WORDS:
        return _STATUS_WORDS[number]
    if name.isdigit() or not _PLAIN_CODE.fullmatch(name):
        return f"answered {number}, but not as S3 does; check the endpoint"
    return f"answered {number} {name}; see what its documentation says of this"


def _skew(error: ClientError) -> str:
    """How far the clocks are apart, by the server's Date."""
    try:
        theirs = parsedate_to_datetime(_metadata(error).get("HTTPHeaders", {}).get("date", ""))
    except (TypeError, ValueError):
        return ""
    apart_s = (datetime.now(timezone.utc) - theirs.astimezone(timezone.utc)).total_seconds()
    return f": ours is {abs(apart_s):.0f} s {'ahead' if apart_s > 0 else 'behind'}"


def _unanswered(error: Exception, host: str) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"the host {host} is not known{_meant(host)}; check the endpoint"
    if isinstance(error, SSLError):
        words = next((cause.verify_message for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), "")
        return f"{host} offers no TLS that is accepted{f' ({words})' if words else ''}; check the endpoint"
    if isinstance(error, ProxyConnectionError):
        return f"the proxy before {host} takes no connection; check HTTPS_PROXY"
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return f"{host} takes no connection; check the endpoint and its port"
    if isinstance(error, ReadTimeoutError):
        return f"{host} took the request and did not answer; check the storage"
    return f"{host} broke the connection off; check the endpoint, or try again later"


def _meant(host: str) -> str:
    """The provider's name that a mistyped host resembles."""
    for home in HOMES:
        tail = ".".join(host.split(".")[-(home.count(".") + 1) :])
        if difflib.SequenceMatcher(None, tail, home).ratio() > 0.85:
            return f" (did you mean {home}?)"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it arose from: urllib3 and botocore wrap each other's."""
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
