"""A worker that dies, at any moment, while it changes a voice: the others find the voice as it was, or as it became."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from f5_worker.errors import UnknownVoice
from f5_worker.settings import Settings
from f5_worker.voices.library import Library
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from tests.voices.stores import MemoryStore, clip, clip_bytes, interleave, new, prepare

Stores = list[MemoryStore]


class KilledError(BaseException):
    """The end of a worker: no handler of the program may catch it."""


class DyingStore:
    """A store whose worker dies before the n-th of some operations. Each file that is deleted is one."""

    def __init__(self, store: Store, operations: Iterable[int], dies_at: int) -> None:
        self.source = store.source
        self._store, self._operations, self._dies_at = store, iter(operations), dies_at

    def _operate(self) -> Store:
        if next(self._operations) >= self._dies_at:
            raise KilledError
        return self._store

    def within(self, folder: str) -> Store:
        return self._store.within(folder)

    def list(self, prefix: str = "") -> Sequence[object]:
        return self._operate().list(prefix)

    def read(self, name: str, max_bytes: int) -> bytes | None:
        return self._operate().read(name, max_bytes)

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        return self._operate().write(name, data, replace=replace)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            self._operate().delete([name])


def open_library(stores: Sequence[Store]) -> Library:
    return Library(Path("none"), Settings(), stores=stores, prepare=prepare)


def voices(stores: Sequence[Store]) -> Mapping[str, str]:
    """Return what another worker speaks in each voice that it lists; all facts of each can be asked for."""
    library = open_library(stores)
    names = library.names()
    for name in {*names, "ada"} - {*names}:
        for ask in (library.get, library.load, library.report):
            with pytest.raises(UnknownVoice):
                ask(name)
    spoken = {}
    for info in library.list():
        library.get(info.name, with_audio=True)
        reference = library.load(info.name).reference
        assert clip_bytes(reference) == clip(reference.transcript)
        spoken[info.name] = reference.transcript
    assert sorted(spoken) == names
    return spoken


def put(store: Store, *names: str, content: str = "early") -> None:
    """Put files of the earlier layout into a store."""
    for name in names:
        store.write(name, content.encode() if name.endswith((".txt", ".srt")) else clip(content))


@dataclass(frozen=True)
class Change:
    """A change of the voice `ada`, and what there was before."""

    change: Callable[[Library], object]
    before: Callable[[Stores], object] = field(default=lambda stores: None)
    n_stores: int = 1

    def stores(self) -> Stores:
        stores = [MemoryStore() for _ in range(self.n_stores)]
        self.before(stores)
        return stores


def add(content: str, *, replace: bool = True) -> Callable[[Library], object]:
    return lambda library: library.add(new(content=content, replace=replace))


def delete(library: Library) -> None:
    library.delete("ada")


def without_files(stores: Stores) -> None:
    open_library(stores).add(new())
    stores[0].delete([name for name in stores[0].files if name != "ada.json"])


def hiding_a_file(stores: Stores) -> None:
    put(stores[0], "ada.wav", "ada.txt")
    files = dict(stores[0].files)
    open_library(stores).add(new(replace=True))
    stores[0].files |= files


CHANGES = {
    "a new voice": Change(add("two", replace=False)),
    "a new voice, replacing none": Change(add("two")),
    "a new voice where a record has lost its files": Change(add("two", replace=False), without_files),
    "replacing": Change(add("two"), lambda stores: open_library(stores).add(new())),
    "replacing a file": Change(add("two"), lambda stores: put(stores[0], "Ada.wav", "Ada.mp3", "ada.txt")),
    "deleting": Change(delete, lambda stores: open_library(stores).add(new())),
    "deleting a file": Change(delete, lambda stores: put(stores[0], "Ada.wav", "Ada.mp3", "ada.txt", "ada.srt")),
    "deleting one that hides a file": Change(delete, hiding_a_file),
    "replacing one of the second place": Change(
        add("two"), lambda stores: open_library(stores[1:]).add(new()), n_stores=2
    ),
    "deleting one that hides another place's": Change(
        delete,
        lambda stores: [open_library(stores[1:]).add(new()), open_library(stores[:1]).add(new(content="top"))],
        2,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_worker_that_dies_at_any_operation_leaves_the_old_voice_or_the_new_one(name: str) -> None:
    change = CHANGES[name]
    before = voices(change.stores())
    whole = change.stores()
    change.change(open_library(whole))
    after = voices(whole)
    assert before != after
    found, dies_at, died = [], 0, True
    while died:
        stores, operations, died = change.stores(), iter(range(1_000)), False
        try:
            change.change(open_library([DyingStore(store, operations, dies_at) for store in stores]))
        except KilledError:
            died = True
        found.append(voices(stores))
        assert found[-1] in (before, after), dies_at
        open_library(stores).add(new(content="again", replace=True))  # what was left is in nobody's way
        assert voices(stores) == {"ada": "again"}
        dies_at += 1
    assert found[0] == before
    assert found[-1] == after  # what was answered is there
    assert found.index(after) == len(found) - found.count(after)  # once changed it stays so


@pytest.mark.slow
@pytest.mark.parametrize("dying", [("add",), ("delete",), ("add", "delete")], ids=" and ".join)
@pytest.mark.parametrize("there", [False, True])
def test_a_worker_that_dies_beside_another_leaves_no_voice_that_cannot_be_spoken(
    dying: tuple[str, ...], there: bool
) -> None:
    """One adds and one deletes the voice, in every order of their operations that the seeds give."""
    for seed in range(80):
        store = MemoryStore()
        if there:
            open_library([store]).add(new(content="zero"))
        together = iter(range(1_000))
        workers = [
            _work(change, together if len(dying) > 1 else iter(range(1_000)), seed % 25 if name in dying else 1_000)
            for name, change in (("add", add("one")), ("delete", delete))
        ]
        interleave(store, workers, seed)
        assert voices([store]) in ({}, {"ada": "zero"}, {"ada": "one"})


def _work(change: Callable[[Library], object], operations: Iterable[int], dies_at: int) -> Callable[[Store], None]:
    def run(store: Store) -> None:
        with suppress(KilledError, UnknownVoice):
            change(open_library([DyingStore(store, operations, dies_at)]))

    return run


def _run_and_die(kept: Path, change: Callable[[Library], object], dies_at: int) -> bool:
    """Run the change in another process; return True if it was killed before its n-th call to the file system."""
    pid = os.fork()
    if pid == 0:
        n_calls = 0

        def count(event: str, arguments: object) -> None:
            nonlocal n_calls
            if event in ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.scandir"):
                if n_calls == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                n_calls += 1

        library = open_library([DirectoryStore(kept)])
        sys.addaudithook(count)
        change(library)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "one"])
def test_a_process_that_is_killed_at_any_call_to_the_file_system(tmp_path: Path, content: str | None) -> None:
    before, seen, dies_at, died = {} if content is None else {"ada": content}, [], 0, True
    while died:
        kept = tmp_path / str(dies_at)
        if content is not None:
            open_library([DirectoryStore(kept)]).add(new(content=content))
        died = _run_and_die(kept, add("two"), dies_at)
        seen.append(voices([DirectoryStore(kept)]))
        assert seen[-1] in (before, {"ada": "two"}), dies_at
        dies_at += 1
    assert seen[-1] == {"ada": "two"}
    assert len(seen) > 20
