"""Jobs over HTTP, for scripts/say.py and scripts/dub.py, with nothing but requests.

A result that was paid for is not to be lost: a request that only reads is sent again for MAX_SILENCE_S while nothing
answers, and what ends a program later names the job, whose result `--job ID` fetches. A request that creates a job is
sent once: repeated, it could be paid for twice.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar

import requests
from urllib3.exceptions import NewConnectionError

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
from scripts.terminal import Show, explain, progress

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")

POLL_S, MAX_WAIT_S = 1.0, 60.0  # between polls; between those that get no answer it doubles
CREATE_S = 330.0  # /runsync holds a request for up to 300 s
READ_S, CANCEL_S = 60.0, 10.0


class ClientError(Exception):
    """An error to show to the user in one line."""


class NoAnswerError(ClientError):
    """A request that got no answer, or one that says to try again. `wait_s`: the seconds to wait before that."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Finished:
    """A job that completed, and its output."""

    job_id: str
    output: Json


class Client(ABC):
    """An API that runs jobs.

    Attributes:
        ended: the states of a job that has ended; `completed` is that of one with a result.
        hint: what addresses are right.
    """

    ended: ClassVar[frozenset[str]]
    completed: ClassVar[str]
    hint: str

    def __init__(self, base: str, key: str | None) -> None:
        self._base = base.rstrip("/")
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def run(self, job: Json) -> Finished:
        """Run a job, with progress on stderr; Ctrl-C cancels it.

        Raises:
            ClientError: it failed, with the worker's own message, or was lost.
        """
        with progress() as show:
            return self._finish(self._create(job), show)

    def fetch(self, job_id: str) -> Finished:
        """Wait for a job that was created before, as `run` does."""
        with progress() as show:
            return self._finish(self._state_of(job_id), show)

    def _finish(self, state: Json, show: Show) -> Finished:
        if not {"id", "status"} <= state.keys():
            raise ClientError(f"unexpected response: {str(state)[:SHOWN_CHARS]}")
        job_id = str(state["id"])
        try:
            with fetchable(job_id):
                while state["status"] not in self.ended:
                    show(self._progress_of(state))
                    time.sleep(POLL_S)
                    state = patiently(partial(self._state_of, job_id), show)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._cancelled(job_id)) from None
        if state["status"] != self.completed:
            raise ClientError(message_of(state) or f"the job ended as {state['status']}")
        return Finished(job_id, self._output_of(state))

    def _state_of(self, job_id: str) -> Json:
        state = self._read(job_id)
        if "status" not in state:
            raise NoAnswerError(f"unexpected response: {str(state)[:SHOWN_CHARS]}")
        return {"id": job_id, **state}

    def _cancelled(self, job_id: str) -> str:
        """Cancel a job; return what became of it."""
        try:
            self._cancel(job_id)
        except ClientError as error:
            return f"stopped; the job {job_id} could not be cancelled and may go on ({error})"
        return "cancelled"

    @abstractmethod
    def _create(self, job: Json) -> Json:
        """Return the state of a new job."""

    @abstractmethod
    def _read(self, job_id: str) -> Json:
        """Return the state of a job."""

    @abstractmethod
    def _cancel(self, job_id: str) -> None:
        """Cancel a job."""

    @abstractmethod
    def _progress_of(self, state: Json) -> str:
        """Return what to show of a job that has not ended."""

    @abstractmethod
    def _output_of(self, state: Json) -> Json:
        """Return the output of a job that completed; raise ClientError if there is none."""

    def _request(self, method: str, path: str, *, limit_s: float, body: Json | None = None) -> Json:
        address = self._base + path
        try:
            response = self._session.request(method, address, json=body, timeout=limit_s)
        except requests.RequestException as error:
            if _never_connected(error):
                raise NoAnswerError(f"nothing answers at {self._base}; {self.hint}") from None
            begun = "; the job may have begun all the same" if body is not None else ""
            raise NoAnswerError(f"{address} gave no answer ({type(error).__name__}){begun}") from None
        answer = parsed(response.content)
        if response.ok and isinstance(answer, dict):
            return answer
        message = message_of(answer)
        told = f"{response.status_code} {message}".rstrip()
        if response.status_code in (401, 403):
            raise ClientError(f"{told}: the API key is missing, wrong, or not for this endpoint")
        if response.ok or response.status_code in TRANSIENT_STATUSES:
            raise NoAnswerError(f"{address} answered {told}", _wait_s(response))
        hint = f"; {self.hint}" if response.status_code == 404 else ""
        raise ClientError(message or f"{address} answered {response.status_code}{hint}")


class RunPod(Client):
    """A queue endpoint of RunPod, or the local API (`make serve`).

    Args:
        base: its URL, without `/run`, `/runsync` or `/status/ID`.
        sync: wait in one request, `/runsync`, as long as it lasts.
    """

    ended = FINISHED
    completed = "COMPLETED"

    def __init__(self, base: str, key: str | None, *, sync: bool) -> None:
        super().__init__(base, key)
        self._sync = sync
        self.hint = "--endpoint takes the id of an endpoint" if key else "--url takes the local API (make serve)"

    @classmethod
    def of_endpoint(cls, endpoint: str, *, sync: bool = False) -> RunPod:
        """Return the client of an endpoint's id; raise ClientError if there is no key for it."""
        key = os.environ.get("RUNPOD_API_KEY")
        if not key:
            raise ClientError("set RUNPOD_API_KEY to your RunPod API key")
        return cls(endpoint_url(endpoint), key, sync=sync)

    def _create(self, job: Json) -> Json:
        return self._request("POST", "/runsync" if self._sync else "/run", body={"input": job}, limit_s=CREATE_S)

    def _read(self, job_id: str) -> Json:
        return self._request("GET", f"/status/{job_id}", limit_s=READ_S)

    def _cancel(self, job_id: str) -> None:
        self._request("POST", f"/cancel/{job_id}", limit_s=CANCEL_S)

    def _progress_of(self, state: Json) -> str:
        return str(state["status"]).lower()

    def _output_of(self, state: Json) -> Json:
        output = state.get("output")
        if isinstance(output, list):
            output = merge_items(output)
        if not isinstance(output, dict):
            raise ClientError("the job completed without output; its result was probably too large to post")
        return output


class HttpServer(Client):
    """The worker's HTTP server (`make serve-http`), which keeps a job until it is fetched."""

    ended = frozenset({"completed", "failed", "cancelled"})
    completed = "completed"
    hint = "--url takes the HTTP server (make serve-http)"

    def _create(self, job: Json) -> Json:
        return self._request("POST", "/v1/jobs", body=job, limit_s=CREATE_S)

    def _read(self, job_id: str) -> Json:
        return self._request("GET", f"/v1/jobs/{job_id}", limit_s=READ_S)

    def _cancel(self, job_id: str) -> None:
        self._request("DELETE", f"/v1/jobs/{job_id}", limit_s=CANCEL_S)

    def _progress_of(self, state: Json) -> str:
        return f"{state['status']} {state.get('progress', 0.0):.0%}"

    def _output_of(self, state: Json) -> Json:
        result: Json = state["result"]
        return result


def patiently(ask: Callable[[], T], show: Show = lambda text: None) -> T:
    """Return what `ask` returns; ask again while nothing answers, for MAX_SILENCE_S.

    Raises:
        ClientError: any of `ask`, with the last reason.
    """
    begun, wait_s = time.monotonic(), POLL_S
    while True:
        try:
            return ask()
        except NoAnswerError as error:
            if time.monotonic() - begun > MAX_SILENCE_S:
                raise ClientError(f"{error}, for {MAX_SILENCE_S / 60:.0f} minutes") from None
            show("no answer, asking again")
            time.sleep(max(wait_s, error.wait_s))
            wait_s = min(2 * wait_s, MAX_WAIT_S)


@contextmanager
def fetchable(job_id: str) -> Iterator[None]:
    """Add to the error that ends the block how to fetch the job's result later."""
    hint = f"--job {job_id} fetches the job's result"
    try:
        yield
    except ClientError as error:
        raise ClientError(f"{error}; {hint}") from None
    except OSError as error:
        raise ClientError(f"{explain(error)}; {hint}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {hint}") from None


def download(file: Json) -> bytes:
    """Return a file of the result that is in the bucket.

    Raises:
        ClientError: there is no link, or it is not answered for MAX_SILENCE_S.
    """
    if "url" not in file:
        raise ClientError(f"the result is in the bucket as {file['key']}, which has no presigned links; fetch it there")

    def fetch() -> bytes:
        try:
            response = requests.get(file["url"], timeout=READ_S)
        except requests.RequestException as error:
            raise NoAnswerError(f"the bucket does not answer ({type(error).__name__})") from None
        if response.status_code in TRANSIENT_STATUSES:
            raise NoAnswerError(f"the bucket answered {response.status_code}", _wait_s(response))
        if not response.ok:
            raise ClientError(f"the bucket answered {response.status_code} to the link of the result")
        return response.content

    return patiently(fetch)


def _never_connected(error: requests.RequestException) -> bool:
    """Return whether a request was not even sent."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _wait_s(response: requests.Response) -> float:
    return seconds_of(response.headers.get("Retry-After"), MAX_WAIT_S)
