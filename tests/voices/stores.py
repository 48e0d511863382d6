"""Helpers for voices without sound: a store in memory, and a `prepare` that accepts any bytes as a clip."""

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
from f5_worker.transcripts.encodings import decode_transcript
from f5_worker.voices.info import NewVoice
from f5_worker.voices.library import Library
from f5_worker.voices.store import FileStat, Store, StoredFile, VoiceSource, too_large_error

CONSENT = "Ada Lovelace agreed on 1 May to the use of her voice."
SILENCE = b"fLaC silence"
NAMES = ("ada", "bob")


def clip(content: str) -> bytes:
    """Return bytes that begin like a FLAC file."""
    return b"fLaC" + content.encode()


def report(**changes: Any) -> VoiceReport:
    good = VoiceReport(
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
    return good.model_copy(update=changes)


def prepare(data: bytes, transcript: str | bytes | None, settings: Settings) -> Reference:
    """Return a reference whose samples are the clip's bytes and whose transcript is the one given."""
    if data == SILENCE:
        raise ReferenceSilent("the recording is silent")
    if transcript is None:
        raise TranscriptNeeded("send its transcript")
    words = decode_transcript(transcript).text if isinstance(transcript, bytes) else transcript
    return Reference(np.frombuffer(data, np.uint8).astype(np.float32), words, 4.0, (), report())


def new(name: str = "ada", content: str = "one", **changes: Any) -> NewVoice:
    """Return a new voice whose transcript is its clip's content."""
    return NewVoice(name, clip(content), **{"transcript": content, "consent": CONSENT} | changes)


def clip_bytes(reference: Reference) -> bytes:
    """Return the bytes of the clip that `prepare` made a reference of."""
    return reference.samples.astype(np.uint8).tobytes()


@dataclass(frozen=True)
class MemoryFile:
    name: str
    data: bytes
    modified_s: float

    def stat(self) -> FileStat:
        return FileStat(len(self.data), self.modified_s)


class MemoryStore:
    """Files in a dictionary, written and deleted one at a time."""

    source: VoiceSource = "bucket"

    def __init__(self) -> None:
        self.files: dict[str, MemoryFile] = {}
        self.folders: dict[str, MemoryStore] = {}

    def within(self, folder: str) -> MemoryStore:
        return self.folders.setdefault(folder, MemoryStore())

    def list(self, prefix: str = "") -> list[MemoryFile]:
        return [file for name, file in sorted(self.files.items()) if name.startswith(prefix)]

    def read(self, name: str, max_bytes: int) -> bytes | None:
        file = self.files.get(name)
        if file is not None and len(file.data) > max_bytes:
            raise too_large_error(len(file.data), max_bytes)
        return file.data if file else None

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        if not replace and name in self.files:
            return False
        self.files[name] = MemoryFile(name, data, time.time())
        return True

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self.files.pop(name, None)


class StepStore:
    """A store as one of several workers uses it: each operation waits until the worker may take its next step."""

    source: VoiceSource = "bucket"

    def __init__(self, store: Store) -> None:
        self._store = store
        self.may_step, self.is_waiting = threading.Semaphore(0), threading.Semaphore(0)

    def _wait(self) -> None:
        self.is_waiting.release()
        self.may_step.acquire()

    def within(self, folder: str) -> Store:
        return self._store.within(folder)

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
    """Run the workers side by side, one step of one of them at a time, in an order that depends on the seed."""
    steps = [StepStore(store) for _ in workers]
    running = set(range(len(workers)))

    def run(index: int) -> None:
        try:
            workers[index](steps[index])
            done.append(index)
        finally:
            running.discard(index)
            steps[index].is_waiting.release()

    done: list[int] = []
    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(workers))]
    random = Random(seed)
    for thread, step in zip(threads, steps, strict=True):
        thread.start()
        step.is_waiting.acquire()
    while running:
        step = steps[random.choice(sorted(running))]
        step.may_step.release()
        step.is_waiting.acquire()
    for thread in threads:
        thread.join()
    assert len(done) == len(workers), "a worker failed"


def churn(library: Library, index: int, n_actions: int) -> list[str]:
    """Add, delete and read two voices at random while others do the same; return the faults."""
    random = Random(index)
    faults: list[str] = []
    for action in range(n_actions):
        name, content = random.choice(NAMES), f"{index} {action} " * random.randrange(1, 5_000)
        actions = (
            lambda name, content: library.add(new(name, content, replace=True)),
            lambda name, content: library.add(new(name, content)),
            lambda name, content: library.delete(name),
            lambda name, content: faults.extend(_mixtures(library, name)),
        )
        try:
            random.choice(actions)(name, content)
        except (UnknownVoice, VoiceExists):
            pass
        except WorkerError as error:
            faults.append(str(error))
    return faults


def settle(library: Library) -> list[str]:
    """Delete the voices that `churn` left; return the faults in them."""
    faults = [fault for name in library.names() for fault in _mixtures(library, name)]
    for name in NAMES:
        with suppress(UnknownVoice):
            library.delete(name)
    return faults


def _mixtures(library: Library, name: str) -> list[str]:
    """Return a fault if a voice has files of several versions."""
    reference = library.load(name).reference
    audio = library.get(name, with_audio=True).audio
    is_whole = clip_bytes(reference) == clip(reference.transcript) and audio is not None and audio.startswith(b"fLaC")
    return [] if is_whole else [f"{name} is mixed"]
