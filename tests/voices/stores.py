"""Voices without sound: a store in memory, and a `prepare` that takes any bytes for a clip, in no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from f5_worker.errors import ReferenceSilent, TranscriptNeeded, UnknownVoice, VoiceExists, WorkerError
from f5_worker.reference.prepare import Reference
from f5_worker.reference.report import VoiceReport
from f5_worker.settings import Settings
from f5_worker.voices.info import NewVoice
from f5_worker.voices.library import Library
from f5_worker.voices.store import FileStat, Store, StoredFile, VoiceSource, too_large

CONSENT = "Ada Lovelace agreed on 1 May to the use of her voice."
SILENCE = b"fLaC silence"
NAMES = ("ada", "bob")


def clip(content: str) -> bytes:
    """Bytes that begin like a FLAC file."""
    return b"fLaC" + content.encode()


def report(**changes: Any) -> VoiceReport:
    facts = VoiceReport(
        duration_s=4.0,
        sample_rate=24_000,
        clip_s=4.0,
        bandwidth_hz=11_000.0,
        snr_db=40.0,
        clipped_share=0.0,
        silence_share=0.1,
        chars_per_s=14.0,
        agreement=None,
        language="en",
        verdict="good",
        reasons=(),
    )
    return facts.model_copy(update=changes)


def prepare(data: bytes, transcript: str | None, settings: Settings) -> Reference:
    """A reference whose samples are the clip's bytes and whose transcript is the one given."""
    if data == SILENCE:
        raise ReferenceSilent("the recording is silent")
    if transcript is None:
        raise TranscriptNeeded("send its transcript")
    return Reference(np.frombuffer(data, np.uint8).astype(np.float32), transcript, 4.0, (), report())


def new(name: str = "ada", what: str = "one", **changes: Any) -> NewVoice:
    """A voice whose transcript is its clip's content."""
    return NewVoice(name, clip(what), **{"transcript": what, "consent": CONSENT} | changes)


def sound(reference: Reference) -> bytes:
    """The clip's bytes again."""
    return reference.samples.astype(np.uint8).tobytes()


@dataclass(frozen=True)
class MemoryFile:
    name: str
    data: bytes
    modified_s: float

    def facts(self) -> FileStat:
        return FileStat(len(self.data), self.modified_s)


class MemoryStore:
    """Files in a dictionary, written and deleted one at a time."""

    source: VoiceSource = "bucket"

    def __init__(self) -> None:
        self.files: dict[str, MemoryFile] = {}

    def list(self, prefix: str = "") -> list[MemoryFile]:
        return [file for name, file in sorted(self.files.items()) if name.startswith(prefix)]

    def read(self, name: str, max_bytes: int) -> bytes | None:
        file = self.files.get(name)
        if file is not None and len(file.data) > max_bytes:
            raise too_large(len(file.data), max_bytes)
        return file.data if file else None

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        if not replace and name in self.files:
            return False
        self.files[name] = MemoryFile(name, data, time.time())
        return True

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.files.pop(name, None)


class Scheduler:
    """A store's files as one of several workers sees them: it does one thing and then waits for its next turn."""

    source: VoiceSource = "bucket"

    def __init__(self, store: Store) -> None:
        self._store = store
        self.go, self.arrived = threading.Semaphore(0), threading.Semaphore(0)

    def _wait(self) -> None:
        self.arrived.release()
        self.go.acquire()

    def list(self, prefix: str = "") -> list[StoredFile]:
        self._wait()
        return [*self._store.list(prefix)]

    def read(self, name: str, max_bytes: int) -> bytes | None:
        self._wait()
        return self._store.read(name, max_bytes)

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        self._wait()
        return self._store.write(name, data, replace=replace)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:  # a directory loses one file after the other
            self._wait()
            self._store.delete([name])


def interleave(store: Store, workers: list[Callable[[Store], None]], seed: int) -> None:
    """Run the workers side by side, one step of one of them at a time, in an order that the seed makes."""
    turns = [Scheduler(store) for _ in workers]
    living = set(range(len(workers)))

    def run(index: int) -> None:
        try:
            workers[index](turns[index])
            done.append(index)
        finally:
            living.discard(index)
            turns[index].arrived.release()

    done: list[int] = []
    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(workers))]
    random = Random(seed)
    for thread, turn in zip(threads, turns, strict=True):
        thread.start()
        turn.arrived.acquire()
    while living:
        turn = turns[random.choice(sorted(living))]
        turn.go.release()
        turn.arrived.acquire()
    for thread in threads:
        thread.join()
    assert len(done) == len(workers), "a worker failed"


def churn(library: Library, index: int, turns: int) -> list[str]:
    """Add, delete and read two voices at random, as others do; what went wrong."""
    random = Random(index)
    faults: list[str] = []
    for turn in range(turns):
        name, what = random.choice(NAMES), f"{index} {turn} " * random.randrange(1, 5_000)
        acts = (
            lambda name, what: library.add(new(name, what, replace=True)),
            lambda name, what: library.add(new(name, what)),
            lambda name, what: library.delete(name),
            lambda name, what: faults.extend(_mixtures(library, name)),
        )
        try:
            random.choice(acts)(name, what)
        except (UnknownVoice, VoiceExists):
            pass
        except WorkerError as error:
            faults.append(str(error))
    return faults


def settle(library: Library) -> list[str]:
    """Delete what `churn` left; what was wrong with it."""
    faults = [fault for name in library.names() for fault in _mixtures(library, name)]
    for name in NAMES:
        with suppress(UnknownVoice):
            library.delete(name)
    return faults


def _mixtures(library: Library, name: str) -> list[str]:
    reference = library.reference(name)
    audio = library.get(name, with_audio=True).audio
    whole = sound(reference) == clip(reference.transcript) and audio is not None and audio.startswith(b"fLaC")
    return [] if whole else [f"{name} is mixed"]
