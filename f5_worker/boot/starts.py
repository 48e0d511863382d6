"""The starts of an endpoint's workers, counted in a file that they share: crash loop or missing capacity?

From outside both look alike: jobs wait. A start writes a line when it begins, when the handler takes over, and when the
worker is ready or knows that it will not be. One that stays silent has died.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from f5_worker.errors import WorkerError
from f5_worker.settings import VOLUME, Settings, variable
from f5_worker.storage import files

T = TypeVar("T")
State = Literal["preparing", "loading", "ready", "failed", "stopped"]

FILE = "starts.json"
MAX_STARTS = 50
MAX_BYTES = 100_000
MAX_ERROR_CHARS = 300
LEASE_S = 1.0
ANSWER_S = 2.0  # for the disk; after it the start goes on without them
HOUR_S = 3_600.0
YEAR_3000_S = 3.25e10  # no later time is believed; gmtime() refuses much later ones
INIT_TIMEOUT_S = 420.0  # RunPod's limit for a cold start, unless RUNPOD_INIT_TIMEOUT raises it
DIED = {
    "preparing": "ended without an error while the container was prepared",
    "loading": "ended without an error while the model was loaded",
}
WAITED = (
    "jobs that waited since then waited for a machine, not for this image: look at the endpoint's GPU types, CUDA "
    "versions and worker limits, and at RunPod's capacity"
)
_PATH = re.compile(r"(?<![\w.])/[^\s'\":;,]+|\w+://\S+")


@dataclass(frozen=True)
class Start:
    """One start of a worker; `worker` is the same for the starts of one container, times are seconds since 1970."""

    id: str
    worker: str
    began_s: float
    state: State
    error: str | None = None


@dataclass(frozen=True)
class StartLog:
    """The starts in a file. A worker serves with or without it: what cannot be written is left out."""

    path: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> StartLog:
        """Return the one in the directory that workers share; other settings need not be right."""
        directory = environ.get(variable("cache_dir"), "").strip()
        settings = Settings(cache_dir=Path(directory)) if directory else Settings()
        return cls(settings.shared_cache / FILE)

    def read(self) -> list[Start]:
        """Return the starts, the oldest first; those that cannot be read are left out."""
        try:
            with self.path.open("rb") as file:
                found = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return []
        starts = [start for item in found if (start := _read(item))] if isinstance(found, list) else []
        return sorted(starts, key=lambda start: start.began_s)

    def begin(self, environ: Mapping[str, str] = os.environ) -> str:
        """Add a start of this container and return its id."""
        name = environ.get("RUNPOD_POD_ID") or platform.node()
        worker = hashlib.sha256(name.encode()).hexdigest()[:8]
        start = Start(secrets.token_hex(8), worker, round(time.time(), 3), "preparing")
        self._change(lambda starts: [*starts, start])
        return start.id

    def note(self, id_: str, state: State, error: str | None = None) -> None:
        """Write what became of a start, unless it is ready or has failed already.

        Of an error, paths, addresses and what goes on for more than a line are left out.
        """
        text = None if error is None else _PATH.sub("...", error.partition("\n")[0])[:MAX_ERROR_CHARS]

        def changed(starts: Sequence[Start]) -> list[Start]:
            return [
                replace(start, state=state, error=text) if start.id == id_ and start.state in DIED else start
                for start in starts
            ]

        self._change(changed)

    def _change(self, change: Callable[[Sequence[Start]], list[Start]]) -> None:
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with files.lease(self.path.with_name(f"{FILE}.lease"), wait_s=LEASE_S):
                starts = change(self.read())[-MAX_STARTS:]
                text = json.dumps([asdict(start) for start in starts], ensure_ascii=False)
                files.write(self.path, text.encode("utf-8", "replace"))


def begin(environ: Mapping[str, str], limit_s: float) -> dict[str, Any]:
    """Count a start; return its id, and what is known of those before it, for the boot report."""

    def work() -> dict[str, Any]:
        log = StartLog.of(environ)
        id_ = log.begin(environ)
        found = log.read()
        if not any(start.id == id_ for start in found):
            return uncounted | {"verdict": "the starts are not counted: the cache directory cannot be written to"}
        return {"id": id_, **summary(found, id_, time.time(), limit_s), "scope": _scope()}

    uncounted = {"verdict": "the starts are not counted: the disk does not answer", "errors": []}
    return _within(ANSWER_S, work) or uncounted


def look(
    environ: Mapping[str, str] = os.environ, limit_s: float = INIT_TIMEOUT_S, own: str | None = None
) -> dict[str, Any]:
    """Return what is known of the starts so far, and change nothing."""

    def work() -> dict[str, Any]:
        return {**summary(StartLog.of(environ).read(), own, time.time(), limit_s), "scope": _scope()}

    return _within(ANSWER_S, work) or {"verdict": "no start is known: the disk does not answer", "errors": []}


def note(
    boot: Mapping[str, Any],
    state: State,
    error: str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    wait_s: float = ANSWER_S,
) -> None:
    """Write what became of the start that a boot report names; wait no longer than `wait_s` for the disk."""
    if id_ := own_id(boot):
        _within(wait_s, lambda: StartLog.of(environ).note(id_, state, error))


@contextmanager
def loading(boot: Mapping[str, Any]) -> Iterator[None]:
    """Write that the start of a boot report is ready when the block ends, or the error that ends it."""
    try:
        yield
    except WorkerError as error:
        note(boot, "failed", str(error))
        raise
    note(boot, "ready", wait_s=0.0)


def end_at_sigterm(boot: Callable[[], Mapping[str, Any]]) -> None:
    """Let SIGTERM end this process at once, and write that the start was stopped: it has not died.

    By `os._exit`: no job has begun, and an exception could be lost inside an import.
    """

    def stop(signum: int, frame: object) -> None:
        note(boot(), "stopped", wait_s=1.0)
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, stop)


def own_id(boot: Mapping[str, Any]) -> str | None:
    """Return the id of the start that a boot report is about, if it was counted."""
    id_: str | None = (boot.get("starts") or {}).get("id")
    return id_


def _scope() -> str:
    return "all workers with this volume" if VOLUME.is_dir() else "this container only: there is no volume"


def _within(limit_s: float, work: Callable[[], T]) -> T | None:
    """Return the result of some work, None if it takes longer; it then goes on in its thread."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(limit_s)
    return results[0] if results else None


def summary(starts: Sequence[Start], own: str | None, now_s: float, limit_s: float = INIT_TIMEOUT_S) -> dict[str, Any]:
    """Return what a report says about the starts before this one.

    Args:
        own: the id of the start that asks.
        limit_s: a start that takes longer has died.
    """
    earlier = [start for start in starts if start.id != own]
    recent = [start for start in earlier if now_s - start.began_s <= HOUR_S]
    died = [start for start in earlier if _has_died(start, starts, now_s, limit_s)]
    errors = [{"at": _utc(start.began_s), "error": start.error or DIED.get(start.state)} for start in died[-3:]]
    ended = [start for start in earlier if start in died or start.state not in DIED]
    return {
        "verdict": _verdict(earlier, recent, [start for start in died if start in recent], own),
        "errors": errors,
        "last_died": bool(ended) and ended[-1] in died,
    }


def _verdict(earlier: Sequence[Start], recent: Sequence[Start], died: Sequence[Start], own: str | None) -> str:
    if not earlier:
        return "no earlier start is recorded"
    if not recent:
        before = "before this start none was tried" if own else "no start was tried"
        return f"{before} since {_utc(earlier[-1].began_s)}: {WAITED}"
    if not died:
        return f"no start of the last hour died before it was ready, of {len(recent)}"
    codes = Counter((start.error or DIED.get(start.state, "an unnamed error")).partition(":")[0] for start in died)
    reasons = ", ".join(f"{code} ({n})" if n > 1 else code for code, n in codes.most_common())
    if len(recent) == 1:
        return f"the one start of the last hour died before it was ready: {reasons}"
    return f"{len(died)} of the last {len(recent)} starts of the last hour died before they were ready: {reasons}"


def _has_died(start: Start, starts: Sequence[Start], now_s: float, limit_s: float) -> bool:
    """Return whether a start failed, or is silent although its time is over or its container has started again."""
    if start.state not in DIED:
        return start.state == "failed"
    again = any(other.worker == start.worker and other.began_s > start.began_s for other in starts)
    return again or now_s - start.began_s > limit_s


def _read(item: Any) -> Start | None:
    try:
        start = Start(str(item["id"]), str(item["worker"]), float(item["began_s"]), item["state"], item["error"])
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    is_known = start.state in ("preparing", "loading", "ready", "failed", "stopped")
    is_time = 0 <= start.began_s < YEAR_3000_S
    return start if is_known and is_time and isinstance(start.error, str | None) else None


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
