"""Run jobs on the worker: through RunPod's queue, or on its HTTP server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote

import aiohttp

from f5_worker.errors import FetchFailed, InputError
from scripts.answers import (
    FINISHED,
    MAX_SILENCE_S,
    SHOWN_CHARS,
    TRANSIENT_STATUSES,
    endpoint_url,
    merge_items,
    message_of,
    parsed,
    seconds_of,
)

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")
log = logging.getLogger("book")

MAX_ATTEMPTS = 8
MAX_RUNS = 3  # of one job: each is paid for
FIRST_WAIT_S, MAX_WAIT_S = 2.0, 60.0  # between attempts; doubled each time
FIRST_POLL_S, MAX_POLL_S = 0.3, 3.0
REQUEST_S = 60.0
SYNTHESIS_S = 3_600.0  # the HTTP server answers when the speech is done
CANCEL_S = 10.0
NOT_FOUND = "--endpoint takes the id of an endpoint, --url the HTTP server (make serve-http)"


class JobFailedError(Exception):
    """A job that no further attempt would help: the request is at fault."""


class TransientError(Exception):
    """A job that was lost or failed for a reason that may pass. `wait_s`: when the server says to try again."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class LostRunError(TransientError):
    """A job that was taken and gave no result: it failed by the worker's fault, or the queue has dropped it."""


class Worker(Protocol):
    """Where jobs are run."""

    async def run(self, job: Json) -> Json:
        """Run a job once and return its output; cancelled, it cancels the job.

        Raises:
            JobFailedError, TransientError: it failed.
        """

    async def voice(self, name: str, key: str | None) -> Json:
        """Return what is known of a voice; `key` is the caller's `voices_key`. Raises as `run`."""

    async def download(self, url: str) -> bytes:
        """Return a file of a result that is in a bucket."""


async def with_retries(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what an attempt at a job returns; attempt it again where what it raised may pass.

    Raises:
        JobFailedError: it failed for good, with the last reason.
    """
    n_runs = 0
    for n_attempts in range(1, MAX_ATTEMPTS + 1):
        try:
            return await attempt()
        except TransientError as error:
            n_runs += isinstance(error, LostRunError)
            if n_attempts == MAX_ATTEMPTS or n_runs == MAX_RUNS:
                raise JobFailedError(f"{error} ({n_attempts} attempts)") from None
            wait_s = max(error.wait_s, min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** (n_attempts - 1)) * random.uniform(0.5, 1.0))
            log.warning("%s; trying again in %.0f s", error, wait_s)
            await asyncio.sleep(wait_s)
    raise AssertionError("the loop returns or raises")


async def audio_of(worker: Worker, output: Json) -> bytes:
    """Return the audio file of a result, from the response or from the bucket.

    Raises:
        JobFailedError: it is in a bucket that gives no links, or not the file.
    """
    audio = output.get("audio", {})
    if "base64" in audio:
        return base64.b64decode(audio["base64"])
    if "url" in audio:
        return await with_retries(lambda: worker.download(audio["url"]))
    raise JobFailedError(
        "the result is in the bucket, which gives no links; let the endpoint presign, or use no bucket"
    )


@asynccontextmanager
async def open_worker(endpoint: str | None, url: str | None, key: str | None) -> AsyncIterator[Worker]:
    """Open the RunPod endpoint of an id, with its API key, or the HTTP server at a URL, which may need one."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession(headers=headers, trust_env=True) as session,
        aiohttp.ClientSession(trust_env=True) as bucket,
    ):
        if endpoint is not None:
            yield RunPodQueue(_Http(session, bucket, endpoint_url(endpoint)))
        else:
            yield HttpServer(_Http(session, bucket, (url or "").rstrip("/")))


class _Http:
    """Requests with JSON; all that may pass is TransientError. Links of a bucket are opened without the key."""

    def __init__(self, session: aiohttp.ClientSession, bucket: aiohttp.ClientSession, base: str) -> None:
        self._session, self._bucket, self._base = session, bucket, base

    async def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        limit_s: float = REQUEST_S,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        timeout = aiohttp.ClientTimeout(total=limit_s, sock_connect=REQUEST_S)
        with _network_faults(self._base):
            async with self._session.request(
                method, self._base + path, json=body, timeout=timeout, headers=headers
            ) as response:
                answer = parsed(await response.read())
                message = message_of(answer)
                if response.ok and isinstance(answer, dict):
                    return answer
                if response.status in (401, 403):
                    raise JobFailedError(f"{response.status}: the API key is missing, wrong, or not for this endpoint")
                if response.status == 404 and path.startswith("/status/"):
                    raise LostRunError("the queue does not know the job any more")
                if response.ok or response.status in TRANSIENT_STATUSES:
                    text = f"{self._base} answered {response.status} {message}".rstrip()
                    raise TransientError(text, seconds_of(response.headers.get("Retry-After"), MAX_WAIT_S))
                hint = f"; {NOT_FOUND}" if response.status == 404 else ""
                raise JobFailedError(message or f"{self._base}{path} answered {response.status}{hint}")

    async def download(self, url: str) -> bytes:
        with _network_faults("the bucket"):
            async with self._bucket.get(url, timeout=aiohttp.ClientTimeout(total=SYNTHESIS_S)) as response:
                if not response.ok:
                    raise TransientError(f"the bucket answered {response.status}")
                return await response.read()


class RunPodQueue:
    """An endpoint of the queue type: any of its workers does a job."""

    def __init__(self, http: _Http) -> None:
        self._http = http

    async def run(self, job: Json) -> Json:
        """Queue a job and wait for its result."""
        queued = asyncio.create_task(self._http.ask("POST", "/run", {"input": job}))
        try:
            state = await self._finished(await asyncio.shield(queued))
        except asyncio.CancelledError:
            await self._cancel(queued)
            raise
        if state["status"] != "COMPLETED":
            raise failure(str(state.get("error") or f"the job ended as {state['status']}"))
        output = state.get("output")
        output = merge_items(output) if isinstance(output, list) else output
        if not isinstance(output, dict):
            raise LostRunError("the job completed without its result")
        return output

    async def voice(self, name: str, key: str | None) -> Json:
        """Return what is known of a voice."""
        asked = {"action": "voices.get", "name": name, "voices_key": key}
        found: Json = (await self.run({field: value for field, value in asked.items() if value is not None}))["voice"]
        return found

    async def download(self, url: str) -> bytes:
        """Return a file of a result that is in a bucket."""
        return await self._http.download(url)

    async def _finished(self, state: Json) -> Json:
        job_id = state.get("id")
        if not job_id:
            raise TransientError(f"the queue gave no id: {str(state)[:SHOWN_CHARS]}")
        wait_s, heard_at = FIRST_POLL_S, time.monotonic()
        while state.get("status") not in FINISHED:
            await asyncio.sleep(wait_s)
            wait_s = min(MAX_POLL_S, wait_s * 1.5)
            try:
                state, heard_at = await self._http.ask("GET", f"/status/{job_id}"), time.monotonic()
            except LostRunError:
                raise
            except TransientError as error:
                wait_s = max(wait_s, error.wait_s)
                if time.monotonic() - heard_at > MAX_SILENCE_S:  # it may be spoken: another one would be paid for, too
                    raise JobFailedError(f"{error}, for {MAX_SILENCE_S / 60:.0f} minutes") from None
        return state

    async def _cancel(self, queued: asyncio.Task[Json]) -> None:
        """Cancel a job that is queued, or is just being queued."""
        with contextlib.suppress(TransientError, JobFailedError, TimeoutError):
            job_id = (await asyncio.wait_for(queued, CANCEL_S)).get("id")
            await asyncio.shield(self._http.ask("POST", f"/cancel/{job_id}", limit_s=CANCEL_S))


class HttpServer:
    """The HTTP server; a caller that disconnects cancels its job."""

    def __init__(self, http: _Http) -> None:
        self._http = http

    async def run(self, job: Json) -> Json:
        """Send a request and wait for its response."""
        fields = {name: value for name, value in job.items() if name != "action"}
        return await self._http.ask("POST", f"/v1/{job.get('action', 'synthesize')}", fields, SYNTHESIS_S)

    async def voice(self, name: str, key: str | None) -> Json:
        """Return what is known of a voice."""
        headers = {} if key is None else {"X-Voices-Key": key}
        found: Json = (await self._http.ask("GET", f"/v1/voices/{quote(name, safe='')}", headers=headers))["voice"]
        return found

    async def download(self, url: str) -> bytes:
        """Return a file of a result that is in a bucket."""
        return await self._http.download(url)


def failure(message: str) -> JobFailedError | LostRunError:
    """Return the error of a job by its message: those of the request stay, all others may pass."""
    return JobFailedError(message) if message.split(":")[0] in _INPUT_CODES else LostRunError(message)


def _input_codes(base: type[InputError] = InputError) -> Iterator[str]:
    for cls in base.__subclasses__():
        yield cls.code
        yield from _input_codes(cls)


_INPUT_CODES = frozenset(_input_codes()) - {FetchFailed.code, InputError.code}


@contextlib.contextmanager
def _network_faults(place: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TransientError(f"{place} does not answer ({type(error).__name__})") from None
