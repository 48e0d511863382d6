from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import pytest

from f5_worker.errors import StorageFailed
from f5_worker.schema.requests import VoiceDefaultsInput
from f5_worker.voices import versions
from f5_worker.voices.cache import PreparedReference
from f5_worker.voices.listing import SAMPLES_EXTENSION
from f5_worker.voices.record import VoiceMetadata
from f5_worker.voices.store import Store
from f5_worker.voices.versions import (
    MAX_LISTING_AGE_S,
    ORPHAN_AGE_S,
    StaleVersionError,
    VersionedVoiceStore,
)
from tests.voices.stores import CONSENT, MemoryFile, MemoryStore, interleave, report

SCHEDULES = 25

METADATA = VoiceMetadata(
    created_at=datetime(2026, 5, 1, tzinfo=UTC),
    consent=CONSENT,
    defaults=VoiceDefaultsInput(speed=1.1),
    clip_bytes=4,
    prepared=PreparedReference(transcript="words ", source_s=4.0, warnings=(), report=report()),
)


def contents(text: str) -> dict[str, bytes]:
    """Return a voice whose files are all equal, so that a mixture is recognised."""
    return {"flac": text.encode(), "txt": text.encode(), SAMPLES_EXTENSION: text.encode()}


def add(voices: VersionedVoiceStore, text: str, *, replace: bool = True, name: str = "ada") -> bool:
    return voices.add(name, contents(text), METADATA, replace=replace)


def read(voices: VersionedVoiceStore, name: str = "ada") -> str | None:
    """Return the content of the voice's files, None if there is none; a mixture fails."""
    for _ in range(100):
        found = voices.find(name)
        if found is None:
            return None
        files = [file for file in (found.clip, found.transcript, found.samples) if file]
        try:
            texts = {voices.read(found, file, 1_000) for file in files}
        except StaleVersionError:
            continue
        assert len(texts) == 1
        return texts.pop().decode()
    return None  # its files were deleted and stay so


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def voices(store: MemoryStore) -> VersionedVoiceStore:
    return VersionedVoiceStore(store)


def test_a_voice_is_found_as_it_was_added(voices: VersionedVoiceStore, store: MemoryStore) -> None:
    assert add(voices, "one")
    found = voices.find("ada")
    assert found is not None
    assert found.record is not None
    assert found.record.consent == CONSENT
    assert found.defaults.speed == 1.1
    assert found.clip_stat.size_bytes == 4
    assert read(voices) == "one"
    version = found.record.version
    assert set(store.files) == {"ada.json", *(f"ada.{version}.{kind}" for kind in ("flac", "txt", "npy"))}


def test_replacing_leaves_nothing_of_what_was_there(voices: VersionedVoiceStore, store: MemoryStore) -> None:
    for name in ("ada.wav", "ada.mp3", "ADA.srt"):
        store.write(name, b"early")
    assert not add(voices, "one", replace=False)
    assert len(store.files) == 3
    assert add(voices, "one")
    assert not add(voices, "two", replace=False)
    assert add(voices, "two")
    assert read(voices) == "two"
    assert len(store.files) == 4


def test_deleting_leaves_nothing(voices: VersionedVoiceStore, store: MemoryStore) -> None:
    add(voices, "one", name="bob")
    kept = set(store.files)
    add(voices, "one")
    for name in ("ada.wav", "ada.mp3", "ADA.srt", "ada.0123456789ab.wav", "ada.0123456789ab.txt"):
        store.write(name, b"other")
    assert voices.delete("ada")
    assert set(store.files) == kept
    assert voices.find("ada") is None
    assert not voices.delete("ada")


def test_a_file_of_another_spelling_is_another_voice_and_stays(voices: VersionedVoiceStore, store: MemoryStore) -> None:
    for delete in (voices.delete, lambda name: add(voices, "one") and add(voices, "two") and voices.delete(name)):
        for name in ("ada.wav", "Ada.wav"):
            store.write(name, b"early")
        assert delete("ada")
        assert set(store.files) == {"Ada.wav"}


def test_only_valid_names_reach_the_store(voices: VersionedVoiceStore, store: MemoryStore) -> None:
    asked: list[str] = []
    store.read = lambda name, max_bytes: asked.append(name)  # type: ignore[method-assign, assignment]
    for name in ("../ada", "ada/b", "Ada", "", "a" * 65, "ada.json", "a\0b", "ada\n", ".."):
        assert voices.find(name) is voices.find_spelling(name) is None
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*\.json", name) for name in asked)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": "../../etc/pa"},
        {"files": {}},
        {"files": {"flac": "0", "npy": "0", "/etc/passwd": "0"}},
        {"files": {"txt": "0", "npy": "0"}},
        {"prepared": None},
    ],
)
def test_an_invalid_record_is_not_a_voice(
    voices: VersionedVoiceStore, store: MemoryStore, damage: dict[str, object]
) -> None:
    add(voices, "one")
    record = json.loads(store.files["ada.json"].data)
    store.write("ada.json", json.dumps(record | damage).encode())
    assert voices.find("ada") is None


def test_a_damaged_file_is_an_error(voices: VersionedVoiceStore, store: MemoryStore) -> None:
    add(voices, "one")
    found = voices.find("ada")
    assert found is not None
    store.write(found.clip, b"two")
    with pytest.raises(StorageFailed, match="damaged"):
        voices.read(found, found.clip, 1_000)


def test_a_record_whose_files_were_deleted_does_not_take_the_name(
    voices: VersionedVoiceStore, store: MemoryStore
) -> None:
    """A worker died while deleting, after another had written the record."""
    add(voices, "one")
    store.delete([name for name in store.files if name != "ada.json"])
    assert "ada" not in VersionedVoiceStore(store).listing()
    assert add(voices, "two", replace=False)
    assert read(voices) == "two"


def test_files_of_workers_that_died_are_deleted_once_they_are_old(
    voices: VersionedVoiceStore, store: MemoryStore
) -> None:
    old = time.time() - ORPHAN_AGE_S - 60
    young = {f"{name}.0123456789ab.wav" for name in ("ada", "eve")}
    for name in ("ada", "bob"):
        store.files[f"{name}.ba9876543210.wav"] = MemoryFile(f"{name}.ba9876543210.wav", b"", old)
    store.files["eve.wav"] = MemoryFile("eve.wav", b"", old)
    for name in young:
        store.write(name, b"")
    add(voices, "one")
    assert {name for name in store.files if name.endswith(".wav")} == young | {"eve.wav"}


def test_others_changes_are_seen_at_once_and_in_lists_after_seconds(store: MemoryStore) -> None:
    now = 0.0
    mine, other = VersionedVoiceStore(store, clock=lambda: now), VersionedVoiceStore(store)
    assert list(mine.listing()) == []
    add(other, "one")
    store.write("Bob.wav", b"early")
    assert read(mine) == "one"
    assert mine.find("bob") is None
    assert list(mine.listing()) == []
    now = MAX_LISTING_AGE_S
    assert sorted(mine.listing()) == ["ada", "bob"]
    other.delete("ada")
    assert read(mine) is None


def test_an_early_voice_that_changes_has_another_key(store: MemoryStore) -> None:
    store.write("ada.wav", b"one")
    first = VersionedVoiceStore(store).find("ada")
    store.write("ada.txt", b"words")
    second = VersionedVoiceStore(store).find("ada")
    assert first is not None
    assert second is not None
    assert first.key != second.key
    assert (first.transcript, second.transcript) == (None, "ada.txt")


def test_the_record_is_deleted_first(
    voices: VersionedVoiceStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(voices, "one")
    seen: list[list[str]] = []
    delete = store.delete
    monkeypatch.setattr(store, "delete", lambda names: delete(seen.append(list(names)) or seen[-1]))
    voices.delete("ada")
    assert seen[0][0] == "ada.json"


def adder(text: str, replace: bool, results: dict[str, bool]) -> Callable[[Store], None]:
    def work(store: Store) -> None:
        results[text] = add(VersionedVoiceStore(store), text, replace=replace)

    return work


def deleter(results: dict[str, bool]) -> Callable[[Store], None]:
    def work(store: Store) -> None:
        results["deleted"] = VersionedVoiceStore(store).delete("ada")

    return work


def reader(texts: list[str | None]) -> Callable[[Store], None]:
    def work(store: Store) -> None:
        for _ in range(4):
            texts.append(read(VersionedVoiceStore(store)))

    return work


def is_clean(store: MemoryStore) -> bool:
    """Return True for a whole voice or none, and not half of one."""
    text = read(VersionedVoiceStore(store))
    return (text is not None) == ("ada.json" in store.files)


@pytest.mark.parametrize("there", [False, True])
def test_adding_against_deleting_in_any_order(there: bool) -> None:
    for seed in range(SCHEDULES):
        store, results, texts = MemoryStore(), dict[str, bool](), list[str | None]()
        if there:
            add(VersionedVoiceStore(store), "zero")
        workers = [adder("one", True, results), deleter(results), reader(texts)]
        interleave(store, workers, seed)
        assert results["one"]
        assert is_clean(store), seed
        assert set(texts) <= {None, "zero", "one"}
        assert len(store.files) in (0, 4), (seed, store.files)


def test_adding_twice_against_deleting_twice_in_any_order() -> None:
    for seed in range(SCHEDULES):
        store, results = MemoryStore(), dict[str, bool]()
        add(VersionedVoiceStore(store), "zero")
        workers = [adder("one", True, results), adder("two", True, results), deleter(results), deleter(results)]
        interleave(store, workers, seed)
        assert is_clean(store), seed
        VersionedVoiceStore(store).delete("ada")
        assert not store.files


def test_of_two_workers_that_add_a_new_voice_one_learns_that_it_exists() -> None:
    for seed in range(SCHEDULES):
        store, results = MemoryStore(), dict[str, bool]()
        interleave(store, [adder("one", False, results), adder("two", False, results)], seed)
        assert sorted(results.values()) == [False, True]
        assert results[str(read(VersionedVoiceStore(store)))]
        assert len(store.files) == 4


def after(store: MemoryStore, name: str, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run another worker's action, once, right after the store has written or deleted a file."""
    write, delete, done = store.write, store.delete, list[str]()

    def then(names: list[str]) -> None:
        if name in names and not done:
            done.append(name)
            action()

    def write_then(file: str, data: bytes, *, replace: bool = True) -> bool:
        written = write(file, data, replace=replace)
        then([file])
        return written

    def delete_then(files: Iterable[str]) -> None:
        names = list(files)
        delete(names)
        then(names)

    monkeypatch.setattr(store, "write", write_then)
    monkeypatch.setattr(store, "delete", delete_then)


def test_a_version_that_is_replaced_unseen_deletes_its_files(
    voices: VersionedVoiceStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other had looked for older files before this one's record was there."""
    others = MemoryStore()
    add(VersionedVoiceStore(others), "two")
    after(store, "ada.json", lambda: store.files.update(others.files), monkeypatch)
    assert add(voices, "one")
    assert read(voices) == "two"
    assert store.files == others.files


def test_a_voice_that_is_added_while_another_is_deleted_stays(
    voices: VersionedVoiceStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(voices, "one")
    after(store, "ada.json", lambda: add(VersionedVoiceStore(store), "two"), monkeypatch)
    assert voices.delete("ada")
    assert read(voices) == "two"
    assert len(store.files) == 4


def test_a_voice_that_others_add_again_and_again_is_deleted_as_it_was(
    voices: VersionedVoiceStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(voices, "one")
    before, list_files = store.files.keys() - {"ada.json"}, store.list

    def list_and_add(prefix: str = "") -> list[MemoryFile]:
        files = list_files(prefix)
        monkeypatch.setattr(store, "list", list_files)
        add(VersionedVoiceStore(store), "two")
        monkeypatch.setattr(store, "list", list_and_add)
        return files

    monkeypatch.setattr(store, "list", list_and_add)
    assert voices.delete("ada")
    assert not before & set(store.files)


def test_an_add_that_never_succeeds_is_an_error(
    voices: VersionedVoiceStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MAX_ROUNDS", 3)
    write = store.write

    def write_and_lose(name: str, data: bytes, *, replace: bool = True) -> bool:
        for other in [other for other in store.files if other.endswith(".flac")]:
            del store.files[other]
        return write(name, data, replace=replace)

    monkeypatch.setattr(store, "write", write_and_lose)
    with pytest.raises(StorageFailed, match="try again"):
        add(voices, "one")
