from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from f5_worker.errors import ReferenceTooLarge, StorageFailed
from f5_worker.storage import files
from f5_worker.voices.store_directory import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "voices")


def fail_with(code: int, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), str(args[0]))

    monkeypatch.setattr(os, name, fail)


def test_files_come_back_as_they_were_written(store: DirectoryStore) -> None:
    assert store.list() == []
    assert store.read("ada.wav", 10) is None
    assert store.write("ada.wav", b"one")
    assert store.write("ada.wav", b"two")
    assert store.write("bob.wav", b"")
    assert store.read("ada.wav", 3) == b"two"
    assert sorted(file.name for file in store.list()) == ["ada.wav", "bob.wav"]
    (file,) = store.list("ada.")
    stat = file.stat()
    assert stat is not None
    assert stat.size_bytes == 3
    assert abs(stat.modified_s - time.time()) < 60
    store.delete(["ada.wav", "nobody.wav"])
    assert store.read("ada.wav", 3) is None
    assert file.stat() is None


def test_hidden_files_and_directories_are_not_listed(store: DirectoryStore) -> None:
    store.write("ada.wav", b"")
    (store.directory / ".ada.wav.part").write_bytes(b"")
    (store.directory / "bob.wav").mkdir()
    assert [file.name for file in store.list()] == ["ada.wav"]


def test_a_file_too_large_is_not_read(store: DirectoryStore) -> None:
    store.write("ada.wav", b"1234")
    with pytest.raises(ReferenceTooLarge, match="4 bytes, at most 3"):
        store.read("ada.wav", 3)


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_created_only_once(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        fail_with(errno.EOPNOTSUPP, monkeypatch, "link")
    assert store.write("ada.json", b"one", replace=False)
    assert not store.write("ada.json", b"two", replace=False)
    assert store.read("ada.json", 10) == b"one"
    assert os.listdir(store.directory) == ["ada.json"]


def test_of_threads_that_create_one_file_one_succeeds(store: DirectoryStore) -> None:
    created: list[bytes] = []
    together = threading.Barrier(8)

    def create(data: bytes) -> None:
        together.wait()
        if store.write("ada.json", data, replace=False):
            created.append(data)

    threads = [threading.Thread(target=create, args=(b"%d" % index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.read("ada.json", 10)] == created


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "no space is left"), (errno.EROFS, "Read-only file system"), (errno.EIO, "Input/output error")],
)
def test_a_disk_that_cannot_be_written_is_an_error_with_the_reason(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    store.write("ada.json", b"one")
    fail_with(code, monkeypatch, "fsync")
    for replace in (True, False):
        with pytest.raises(StorageFailed, match=words) as caught:
            store.write("bob.json", b"two", replace=replace)
        assert str(store.directory) not in str(caught.value)
    assert os.listdir(store.directory) == ["ada.json"]


def test_a_directory_that_cannot_be_read_or_is_a_file_is_an_error(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(errno.EACCES, monkeypatch, "scandir")
    with pytest.raises(StorageFailed, match="cannot be read: Permission denied"):
        store.list()
    store.directory.write_bytes(b"")
    assert store.read("ada.wav", 10) is None
    with pytest.raises(StorageFailed, match="cannot be written"):
        store.write("ada.wav", b"")


def test_temporary_files_of_killed_processes_are_deleted(store: DirectoryStore) -> None:
    store.write("ada.wav", b"")
    for name, age_s in (("old", files.STALE_TEMPORARY_S + 60), ("new", 0.0)):
        part = store.directory / f".{name}{files.TEMPORARY}"
        part.write_bytes(b"")
        os.utime(part, (time.time() - age_s,) * 2)
    store.delete([])
    assert sorted(os.listdir(store.directory)) == [f".new{files.TEMPORARY}", "ada.wav"]
