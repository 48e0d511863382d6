"""Voices of many callers in one place: each sees its own and the operator's, and stores as much as is allowed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from f5_worker.errors import InvalidInput, UnknownVoice, VoiceExists, VoicesFull
from f5_worker.log import logger
from f5_worker.settings import Settings
from f5_worker.voices.library import Library
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from tests.voices.stores import MemoryStore, clip, clip_bytes, new, prepare

MINE, THEIRS = SecretStr("my own secret, 1234"), SecretStr("their own secret, 5678")

Open = Callable[..., Library]


@pytest.fixture(params=["directory", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return DirectoryStore(tmp_path / "kept") if request.param == "directory" else MemoryStore()


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Open:
    """Return a library as one worker opens it; each call is another worker."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "joe.flac").write_bytes(clip("joe"))
    (shipped / "joe.txt").write_text("joe")

    def open_library(**changes: object) -> Library:
        settings = Settings(**{"voices_scope": "per_key", **changes})  # type: ignore[arg-type]
        return Library(shipped, settings, stores=[store], prepare=prepare)

    return open_library


def spoken(library: Library, name: str) -> bytes:
    return clip_bytes(library.load(name).reference)


def test_each_key_has_its_own_voices(opened: Open, store: Store) -> None:
    store.write("Bob.flac", clip("bob"))
    store.write("Bob.txt", b"bob")
    library = opened()
    mine, theirs, neither = library.of(MINE), library.of(THEIRS), library.of(None)
    mine.add(new(content="mine"))
    theirs.add(new(content="theirs"))
    theirs.add(new("eve", content="eve"))
    assert mine.names() == ["ada", "bob", "joe"]
    assert theirs.names() == ["ada", "bob", "eve", "joe"]
    assert neither.names() == ["bob", "joe"]
    assert [spoken(mine, "ada"), spoken(theirs, "ada"), spoken(mine, "bob")] == [*map(clip, ("mine", "theirs", "bob"))]
    other = opened().of(MINE)  # another worker
    assert spoken(other, "ada") == clip("mine")
    assert [other.get(name).is_private for name in ("ada", "bob")] == [True, False]
    assert [info.is_private for info in other.list()] == [True, False, False]
    mine.add(new(content="again", replace=True))
    assert (spoken(other, "ada"), spoken(theirs, "ada")) == (clip("again"), clip("theirs"))
    mine.delete("ada")
    assert spoken(theirs, "ada") == clip("theirs")
    with pytest.raises(UnknownVoice):
        other.load("ada")


def test_errors_name_only_voices_that_the_caller_may_use(opened: Open) -> None:
    library = opened()
    library.of(THEIRS).add(new("geheim"))
    library.of(MINE).add(new("eigen"))
    for caller in (library, library.of(MINE)):
        for ask in (caller.load, caller.get, caller.report):
            with pytest.raises(UnknownVoice) as caught:
                ask("geheim")
            assert "geheim" not in str(caught.value)
    with pytest.raises(UnknownVoice, match="needs its voices_key"):
        library.load("geheim")
    with pytest.raises(UnknownVoice):
        library.of(MINE).delete("geheim")
    assert library.of(THEIRS).names() == ["geheim", "joe"]


def test_the_operators_voices_cannot_be_changed(opened: Open, store: Store) -> None:
    store.write("Bob.flac", clip("bob"))
    mine = opened().of(MINE)
    with pytest.raises(VoiceExists, match="is the operator's"):
        mine.add(new("bob", replace=True))
    with pytest.raises(InvalidInput, match="is the operator's and cannot be deleted"):
        mine.delete("Bob")
    with pytest.raises(VoiceExists, match="ships with the model"):
        mine.add(new("joe", replace=True))
    assert mine.names() == ["bob", "joe"]


def test_without_a_key_nothing_is_changed(opened: Open) -> None:
    library = opened()
    for change in (lambda: library.add(new()), lambda: library.delete("ada")):
        with pytest.raises(InvalidInput, match=r"voices_key is missing.*16 characters"):
            change()
    assert library.names() == ["joe"]


def test_a_key_is_not_ignored_where_all_callers_share_the_voices(opened: Open) -> None:
    shared = opened(voices_scope="shared")
    with pytest.raises(InvalidInput, match="F5_VOICES_SCOPE=shared"):
        shared.of(MINE)
    shared.add(new())
    assert opened().of(THEIRS).names() == ["ada", "joe"]  # what was everyone's stays so, and is not one caller's
    with pytest.raises(VoiceExists):
        opened().of(THEIRS).add(new(replace=True))


def test_a_key_is_nowhere_but_in_the_job(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.DEBUG)
    library = opened()
    mine = library.of(MINE)
    mine.add(new())
    with pytest.raises(UnknownVoice) as caught:
        mine.load("eve")
    files = [os.path.join(*found) for found in os.walk(tmp_path) for found in [(found[0], *found[2])]]
    assert MINE.get_secret_value() not in "".join([*files, str(caught.value), repr(mine), repr(library), caplog.text])


def test_prepared_references_of_two_keys_are_two(opened: Open) -> None:
    library = opened()
    mine, theirs = library.of(MINE), library.of(THEIRS)
    for caller, content in ((mine, "mine"), (theirs, "theirs")):
        caller.add(new(content=content))
        caller.load("ada")
    assert len(library.references) == 2
    assert library.of(MINE) is mine
    mine.delete("ada")
    assert len(library.references) == 1


# -- how much may be stored -------------------------------------------------------------------------------------------


def test_voices_are_bounded_in_number(opened: Open) -> None:
    library = opened(max_voices=2)
    mine = library.of(MINE)
    mine.add(new("ada"))
    mine.add(new("bob"))
    with pytest.raises(VoicesFull, match=r"there are 2 voices, at most 2 \(F5_MAX_VOICES\)"):
        mine.add(new("eve"))
    assert mine.names() == ["ada", "bob", "joe"]
    mine.add(new("bob", content="two", replace=True))  # no more than before
    with pytest.raises(VoiceExists):
        mine.add(new("bob"))
    library.of(THEIRS).add(new("eve"))  # who has a bound of their own
    mine.delete("ada")
    mine.add(new("eve"))


def test_voices_are_bounded_in_bytes(opened: Open) -> None:
    mine = opened(max_voices_mb=1).of(MINE)
    mine.add(new("ada", "a" * 50_000, transcript="words"))  # its samples take four bytes each
    with pytest.raises(VoicesFull, match=r"take 0\.3 MB and this one 0\.8, at most 1 MB \(F5_MAX_VOICES_MB\)"):
        mine.add(new("bob", "b" * 150_000, transcript="words"))
    mine.add(new("ada", "a" * 150_000, transcript="words", replace=True))
    with pytest.raises(VoicesFull, match=r"take 0\.8 MB"):
        mine.add(new("bob", "b" * 50_000, transcript="words"))


def test_where_callers_share_the_voices_they_share_the_bound(opened: Open, store: Store) -> None:
    store.write("Bob.flac", clip("bob"))
    shared = opened(voices_scope="shared", max_voices=2)
    shared.add(new("ada"))
    with pytest.raises(VoicesFull):
        opened(voices_scope="shared", max_voices=2).add(new("eve"))


def test_sizes_of_versions_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    library = Library(tmp_path / "none", Settings(), stores=[DirectoryStore(kept)], prepare=prepare)
    for name in ("ada", "bob", "eve"):
        library.add(new(name))
    asked: list[str] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: (asked.append(str(path)), stat(path, **how))[1])
    library.add(new("zoe"))
    versions = [path for path in asked if path.endswith((".flac", ".npy", ".txt")) and "/zoe." not in path]
    assert {path.split("/")[-1].split(".")[0] for path in versions} == {"eve"}  # added since the last time
