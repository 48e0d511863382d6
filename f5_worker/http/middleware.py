"""What happens to each request before its route: an id, one line in the log, its key, and a bound on its body."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f5_worker.errors import BodyTooLarge, Forbidden, InternalError, InvalidInput, Unauthorized, WorkerError
from f5_worker.http.errors import error_response
from f5_worker.http.metrics import ServerMetrics
from f5_worker.log import failure, logger
from f5_worker.settings import Settings, variable

REQUEST_ID = "X-Request-Id"
BODY_TIMEOUT_S = 300.0  # for a whole body: pieces that come slowly are no reason to wait for ever
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_OPEN = ("/ping", "/health")  # answered without a key
_KEYED = ("/v1/", "/v2/", "/metrics")
_KEY_IN_MESSAGE = re.compile(r"/v1/text-to-speech/[^/]+/(?:multi-)?stream-input")
_QUERY_KEYS = ("xi_api_key", "xi-api-key", "authorization")  # of WebSockets: browsers set no headers for them


def api_keys(settings: Settings) -> list[tuple[str, str]]:
    """Return the keys, each after its name: `ann:KEY` has one, the first without a name is `key-1`.

    A name may have several, such as the old and the new one.
    """
    given = settings.api_key.get_secret_value() if settings.api_key is not None else ""
    keys = []
    for number, entry in enumerate(filter(None, (part.strip() for part in given.split(","))), start=1):
        name, _, key = entry.rpartition(":")
        keys.append((name or f"key-{number}", key))
    return keys


def cors_origins(settings: Settings) -> list[str]:
    """Return the origins of pages that may call the server; `*` stands for all."""
    return [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]


class AccessLog:
    """Gives each request an id, `scope["state"]["id"]`, which its response names, and logs one line when it ends."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        given = Headers(scope=scope).get(REQUEST_ID, "")
        state = scope.setdefault("state", {})
        # Never the given one alone: results are stored under it, and must not replace another request's.
        own = secrets.token_hex(8)
        state |= {"id": f"{given}-{own}" if _ID.fullmatch(given) else own, "caller": _address(scope), "key": None}
        state["authenticate"] = None
        started, status, n_bytes = time.monotonic(), 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, n_bytes
            if message["type"].endswith("http.response.start"):  # also of a WebSocket that is refused
                status = message["status"]
                MutableHeaders(raw=message["headers"])[REQUEST_ID] = state["id"]
            elif message["type"] == "websocket.accept":
                status = 101
            n_bytes += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception as error:  # noqa: BLE001 - the edge
            if not status:  # else answered and logged by the application's handler, which raises again
                failure(state["id"], error)
                told = InternalError("the server failed on this request; its log names the place")
                await error_response(told)(scope, receive, send_counted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count_request(route, scope.get("method", "WEBSOCKET"), status)
            if scope["path"] not in _OPEN:
                logger.info(
                    "%s %s %s %d bytes %.0f ms, caller %s",
                    scope.get("method", "WEBSOCKET"), quote(scope["path"]), status or "-", n_bytes,
                    (time.monotonic() - started) * 1e3, state["caller"], extra={"job": state["id"]},
                )  # fmt: skip


class Keys:
    """Refuses requests to /v1/, /v2/ and /metrics without a key; with one, the caller is the key's name.

    The key itself is `scope["state"]["key"]`, under which its caller's voices are with F5_VOICES_SCOPE=per_key. A
    WebSocket whose key may come with its first message has a function `scope["state"]["authenticate"]` until then: its
    route calls it with the key.

    A browser sends requests for any page that it shows, also to a worker on this machine or network, which needs no
    key. So pages of other origins are refused, but for those that the operator allows.

    Args:
        keys: each after its name; empty for a worker without keys.
        origins: of pages that may call it; `*` for all.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[tuple[str, str]], origins: Iterable[str]) -> None:
        self._app, self._keys, self._origins = app, keys, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        try:
            self._check_origin(headers)
            if self._keys and scope["path"].startswith(_KEYED):
                key = _given_key(headers, scope)
                if not key and scope["type"] == "websocket" and _KEY_IN_MESSAGE.fullmatch(scope["path"]):
                    scope["state"]["authenticate"] = lambda given: self._authenticate(scope, given)
                else:
                    self._authenticate(scope, key)
        except WorkerError as error:
            return await error_response(error)(scope, receive, send)
        await self._app(scope, receive, send)

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        if origin.partition("://")[2] != headers.get("host"):
            raise Forbidden(
                "pages of another origin may not call this worker; "
                f"have the operator name it in {variable('cors_origins')}"
            )

    def _authenticate(self, scope: Scope, given: str) -> None:
        sent = given.encode(errors="surrogatepass")  # JSON may have a lone one
        found = [(name, key) for name, key in self._keys if sent and hmac.compare_digest(key.encode(), sent)]
        if not found:
            raise Unauthorized(
                f"{'the key is not one of this worker' if given else 'a key is missing'}; "
                "send one as Authorization: Bearer KEY, or as xi-api-key: KEY"
            )
        scope["state"] |= {"caller": found[0][0], "key": found[0][1], "authenticate": None}


class BodyLimit:
    """Raises from `receive` when a body is larger than `max_bytes`, or is long in coming; no more than that is kept."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            return await error_response(self._error(int(length)))(scope, receive, send)
        n_bytes, complete = 0, False
        deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S

        async def receive_bounded() -> Message:
            nonlocal n_bytes, complete
            if complete:
                return await receive()
            try:
                # Not by asyncio.wait_for, which in Python 3.11 may lose a cancellation that comes with the message.
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise InvalidInput(f"the body has not come whole in {BODY_TIMEOUT_S:g} s; send it again") from None
            n_bytes += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if n_bytes > self._max_bytes:
                raise self._error(n_bytes)
            return message

        async def send_bounded(message: Message) -> None:
            if message["type"] == "http.response.start" and n_bytes > self._max_bytes:
                MutableHeaders(raw=message["headers"])["Connection"] = "close"  # nothing says how much would come
            await send(message)

        await self._app(scope, receive_bounded, send_bounded)

    def _error(self, n_bytes: int) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has {n_bytes} bytes or more, at most {self._max_bytes} are read; send a shorter clip, or its URL"
        )


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _as_utf8(header: str) -> str:
    """Return a header in UTF-8, which is read as Latin-1, or one that is in Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def _given_key(headers: Headers, scope: Scope) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    given = _as_utf8(headers.get("xi-api-key") or bearer)  # a proxy may want the other for a key of its own
    if not given and scope["type"] == "websocket":
        query = QueryParams(scope["query_string"])
        given = next((query[name].removeprefix("Bearer ") for name in _QUERY_KEYS if name in query), "")
    return given
