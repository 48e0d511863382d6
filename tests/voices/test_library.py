from __future__ import annotations

import json
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from f5_worker.errors import (
    ConsentMissing,
    InvalidInput,
    ReferenceSilent,
    SettingsInvalid,
    StorageFailed,
    TranscriptNeeded,
    UnknownVoice,
    VoiceExists,
)
from f5_worker.reference.prepare import Reference
from f5_worker.reference.report import VoiceReport
from f5_worker.settings import Settings
from f5_worker.voices.info import NewVoice, VoiceDefaults
from f5_worker.voices.library import Library
from f5_worker.voices.naming import plain_name, upload_names
from f5_worker.voices.places import open_stores
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from f5_worker.voices.store_s3 import BucketStore
from tests.conftest import TINY, TINY_VOICES
from tests.voices.stores import CONSENT, SILENCE, MemoryStore, churn, clip, clip_bytes, new, prepare, report, settle

PROCESSES, CHURNS = 8, 25


def examine(data: bytes, transcript: str | bytes | None, settings: Settings) -> VoiceReport:
    return report(verdict="poor", reasons=(f"{transcript}",))


def reference_of(library: Library, name: str) -> Reference:
    """Return the reference of a voice as a job gets it."""
    return library.load(name).reference


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    directory = tmp_path / "shipped"
    directory.mkdir()
    (directory / "joe.flac").write_bytes(clip("joe"))
    (directory / "joe.txt").write_text("I am Joe.")
    return directory


@pytest.fixture
def opened(kept: Path, shipped: Path, settings: Settings) -> Callable[..., Library]:
    """Return a library as one worker opens it; each call is another worker."""

    def open_library(stores: list[Store] | None = None, **changes: object) -> Library:
        return Library(
            shipped,
            settings.model_copy(update=changes),
            stores=[DirectoryStore(kept)] if stores is None else stores,
            prepare=prepare,
            examine=examine,
        )

    return open_library


@pytest.fixture
def library(opened: Callable[..., Library]) -> Library:
    return opened()


def test_a_voice_that_was_added_is_there_for_all_workers(opened: Callable[..., Library]) -> None:
    defaults = VoiceDefaults(speed=1.2, quality="best", language="de", model="F5TTS_v1_Base")
    info = opened().add(new(defaults=defaults))
    assert info.metadata is not None
    assert info.metadata.prepared.report.verdict == "good"
    other = opened()
    loaded = other.load("ada")
    assert clip_bytes(loaded.reference) == clip("one")
    assert loaded.reference.transcript == "one"
    assert loaded.defaults == defaults
    assert other.names() == ["ada", "joe"]
    found = other.get("ada", with_audio=True)
    assert found.audio == clip("one")
    assert found.metadata is not None
    assert found.metadata.consent == CONSENT
    assert (found.source, found.format, found.size_bytes, found.has_transcript) == ("directory", "flac", 7, True)
    assert other.get("ada").audio is None
    assert other.report("ada").verdict == "good"


def test_stored_files_are_readable_by_people(library: Library, kept: Path) -> None:
    library.add(new(transcript="1\n00:00:00,000 --> 00:00:04,000\nGrüße\n"))
    record = json.loads((kept / "ada.json").read_text())
    assert record["consent"] == CONSENT
    assert (kept / f"ada.{record['version']}.flac").read_bytes() == clip("one")
    assert (kept / f"ada.{record['version']}.txt").read_text("utf-8").endswith("Grüße\n")


def test_a_kept_voice_is_prepared_once_for_all_workers(opened: Callable[..., Library], tiny: Path) -> None:
    """The reference of another worker is the same to the bit, without its recogniser."""
    audio = (tiny / "voices" / "joe.wav").read_bytes()
    voice = NewVoice("ada", audio, (tiny / "voices" / "joe.txt").read_text(), CONSENT)
    store = MemoryStore()
    settings = Settings(model="f5-tiny")
    first = Library(tiny / "voices", settings, stores=[store])
    first.add(voice)
    ours = reference_of(first, "joe")
    theirs = reference_of(opened([store]), "ada")
    assert np.array_equal(ours.samples, theirs.samples)
    assert theirs.samples.dtype == np.float32
    assert (ours.transcript, ours.report) == (theirs.transcript, theirs.report)


def test_a_kept_voice_longer_than_this_worker_uses_is_prepared_again(
    opened: Callable[..., Library], kept: Path
) -> None:
    opened().add(new())
    (samples,) = kept.glob("*.npy")
    samples.unlink()
    assert clip_bytes(reference_of(opened(reference_max_s=3.0), "ada")) == clip("one")


@pytest.mark.parametrize("consent", [None, "", "yes", " " * 20, "x" * 2_001])
def test_no_voice_without_consent(library: Library, kept: Path, consent: str | None) -> None:
    with pytest.raises(ConsentMissing):
        library.add(new(consent=consent))
    assert not kept.exists()


def test_consent_that_is_not_required_may_be_left_out(opened: Callable[..., Library]) -> None:
    info = opened(require_consent=False).add(new(consent=None))
    assert info.metadata is not None
    assert info.metadata.consent is None


@pytest.mark.parametrize("name", ["", "Ada", "../ada", "a/b", "-ada", "a" * 65, "ada.wav", "ada\n", "default"])
def test_invalid_names_are_refused(library: Library, kept: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        library.add(new(name))
    assert not kept.exists()


def test_a_voice_is_replaced_only_where_that_is_asked_for(library: Library, kept: Path) -> None:
    library.add(new(content="one"))
    reference_of(library, "ada")
    with pytest.raises(VoiceExists):
        library.add(new(content="two"))
    assert clip_bytes(reference_of(library, "ada")) == clip("one")
    library.add(new(content="two", replace=True))
    assert clip_bytes(reference_of(library, "ada")) == clip("two")
    assert len(os.listdir(kept)) == 4


def test_voices_that_ship_with_the_model_stay(library: Library) -> None:
    with pytest.raises(VoiceExists, match="ships with the model"):
        library.add(new("joe", replace=True))
    with pytest.raises(InvalidInput, match="ships with the model"):
        library.delete("joe")
    assert clip_bytes(reference_of(library, "joe")) == clip("joe")
    assert library.get("joe").source == "model"


def test_an_unfit_clip_is_not_kept(library: Library, kept: Path) -> None:
    with pytest.raises(ReferenceSilent):
        library.add(NewVoice("ada", SILENCE, "words", CONSENT))
    assert not kept.exists()
    assert library.names() == ["joe"]


def test_without_a_place_nothing_is_kept(opened: Callable[..., Library]) -> None:
    library = opened([])
    with pytest.raises(StorageFailed, match="F5_VOICES_DIR"):
        library.add(new())
    assert library.names() == ["joe"]


def test_a_deleted_voice_is_deleted_for_all_workers(opened: Callable[..., Library], kept: Path) -> None:
    mine, other = opened(), opened()
    mine.add(new())
    mine.load("ada")
    other.load("ada")
    mine.delete("ada")
    assert os.listdir(kept) == []
    for library in (mine, other):
        for ask in (library.load, library.get, library.report):
            with pytest.raises(UnknownVoice):
                ask("ada")
        assert len(library.references) == 0
        with pytest.raises(UnknownVoice):
            library.delete("ada")


def test_a_shipped_voice_is_offered_again_when_the_one_that_hid_it_is_deleted(library: Library, kept: Path) -> None:
    kept.mkdir()
    (kept / "JOE.flac").write_bytes(clip("mine"))
    (kept / "joe.txt").write_text("mine")
    assert clip_bytes(reference_of(library, "joe")) == clip("mine")
    assert [info.source for info in library.list()] == ["directory"]
    library.delete("joe")
    assert clip_bytes(reference_of(library, "joe")) == clip("joe")


def test_a_reference_prepared_while_its_voice_is_deleted_is_not_kept(library: Library, kept: Path) -> None:
    kept.mkdir()
    (kept / "ada.flac").write_bytes(clip("one"))
    (kept / "ada.txt").write_text("one")
    begun, deleted = threading.Event(), threading.Event()

    def slow(data: bytes, transcript: str | bytes | None, settings: Settings) -> Reference:
        begun.set()
        deleted.wait()
        return prepare(data, transcript, settings)

    library._prepare = slow
    thread = threading.Thread(target=library.load, args=("ada",))
    thread.start()
    begun.wait()
    library.delete("ada")
    deleted.set()
    thread.join()
    assert len(library.references) == 0


def test_a_voice_has_another_version_once_it_is_replaced(opened: Callable[..., Library], kept: Path) -> None:
    """Of what was added, and of files that were put there, for all workers."""
    library = opened()
    versions = []
    for name in ("one", "two"):
        library.add(new(content=name, replace=True))
        versions.append(library.get("ada").version)
    for audio, transcript in (("one", "one"), ("two", "one"), ("one", "One."), ("one", "one")):
        (kept / "bob.flac").write_bytes(clip(audio))
        (kept / "bob.txt").write_text(transcript)
        versions.append(opened().get("bob").version)
    assert versions[2] == versions.pop()
    assert len({*versions}) == 5
    assert all(re.fullmatch("[0-9a-f]{12}", version or "") for version in versions)
    assert opened().get("ada").version == versions[1]
    assert all(info.version is None for info in library.list())


def test_the_earlier_layout_is_read_as_it_is(library: Library, kept: Path) -> None:
    kept.mkdir()
    (kept / "Ada Lovelace.FLAC").write_bytes(clip("one"))
    (kept / "ada lovelace.CSV").write_bytes("Wörter".encode("cp1252"))
    (kept / "bob.flac").write_bytes(clip("two"))
    (kept / "eve.flac").write_bytes(clip("three"))
    (kept / "eve.txt").write_text(" \n")
    assert library.names() == ["ada_lovelace", "bob", "eve", "joe"]
    assert reference_of(library, "ada_lovelace").transcript == "Wörter"
    assert library.load("ada_lovelace").defaults == VoiceDefaults()
    assert library.get("ada_lovelace", with_audio=True).audio == clip("one")
    for name in ("bob", "eve"):
        with pytest.raises(TranscriptNeeded):
            reference_of(library, name)
    assert library.report("bob").reasons == ("None",)


def test_a_file_deleted_since_it_was_listed_is_looked_for_again(opened: Callable[..., Library]) -> None:
    store = MemoryStore()
    store.write("ada.flac", clip("one"))
    store.write("ada.txt", b"one")
    library = opened([store])
    library.names()
    store.delete(["ada.txt"])
    with pytest.raises(TranscriptNeeded):
        reference_of(library, "ada")
    store.delete(["ada.flac"])
    with pytest.raises(UnknownVoice):
        reference_of(library, "ada")


def test_the_list_is_in_order_and_may_be_asked_for_in_parts(library: Library, kept: Path) -> None:
    for name in ("cleo", "bob", "ada"):
        library.add(new(name, name))
    (kept / "zoe.mp3").write_bytes(clip("zoe"))
    infos = library.list()
    assert [info.name for info in infos] == ["ada", "bob", "cleo", "joe", "zoe"]
    assert [info.source for info in infos] == ["directory"] * 3 + ["model", "directory"]
    assert [info.has_transcript for info in infos] == [True] * 4 + [False]
    assert [info.name for info in library.list(after="ada", limit=2)] == ["bob", "cleo"]


def test_the_error_for_an_unknown_voice_names_the_nearest(library: Library) -> None:
    library.add(new("ada"))
    with pytest.raises(UnknownVoice, match=r"did you mean 'ada'\? this worker has ada, joe"):
        reference_of(library, "adda")
    for name in ("../joe", "jo e", "", "joe.txt", "a" * 10_000):
        with pytest.raises(UnknownVoice):
            reference_of(library, name)


def test_the_error_does_not_name_all_of_many_voices(library: Library, kept: Path) -> None:
    kept.mkdir()
    for index in range(100):
        (kept / f"voice{index}.wav").touch()
    with pytest.raises(UnknownVoice, match="and 81 more") as caught:
        reference_of(library, "nobody")
    assert len(str(caught.value)) < 500


def test_the_default_voice(opened: Callable[..., Library]) -> None:
    library = opened(default_voice="joe")
    assert library.load(None).name == library.load("default").name == "joe"
    with pytest.raises(InvalidInput, match="F5_DEFAULT_VOICE"):
        opened().load(None)
    with pytest.raises(UnknownVoice):
        opened().load("default")


def test_the_first_place_takes_new_voices_and_hides_the_next(
    opened: Callable[..., Library], shipped: Path, kept: Path
) -> None:
    bucket = MemoryStore()
    opened([bucket]).add(new("ada", "old"))
    opened([bucket]).add(new("bob", "old"))
    library = opened([DirectoryStore(kept), bucket])
    with pytest.raises(VoiceExists):
        library.add(new("ada", "new"))
    library.add(new("ada", "new", replace=True))
    assert clip_bytes(reference_of(library, "ada")) == clip("new")
    assert clip_bytes(reference_of(library, "bob")) == clip("old")
    assert [info.source for info in library.list()] == ["directory", "bucket", "model"]
    library.delete("bob")
    assert not bucket.files


def test_a_voice_is_prepared_once_for_all_threads_and_again_when_it_changes(library: Library, kept: Path) -> None:
    kept.mkdir()
    (kept / "ada.flac").write_bytes(clip("one"))
    (kept / "ada.txt").write_text("one")
    calls: list[bytes] = []
    library._prepare = lambda data, text, settings: (
        calls.append(data),
        time.sleep(0.02),
        prepare(data, text, settings),
    )[2]
    threads = [threading.Thread(target=library.load, args=("ada",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [clip("one")]
    (kept / "ada.flac").write_bytes(clip("other"))
    assert clip_bytes(reference_of(library, "ada")) == clip("other")


def test_a_failure_is_not_kept(library: Library, kept: Path) -> None:
    kept.mkdir()
    (kept / "ada.flac").write_bytes(clip("one"))
    with pytest.raises(TranscriptNeeded):
        reference_of(library, "ada")
    library._prepare = lambda data, text, settings: prepare(data, "heard", settings)
    assert reference_of(library, "ada").transcript == "heard"


def test_memory_is_bounded_and_keeps_the_references_used_last(opened: Callable[..., Library]) -> None:
    library = opened(voice_cache=2)
    for name in ("ada", "bob", "cleo"):
        library.add(new(name, name))
    ada = reference_of(library, "ada")
    reference_of(library, "bob")
    assert reference_of(library, "ada") is ada
    reference_of(library, "cleo")
    assert len(library.references) == 2
    assert reference_of(library, "ada") is ada


def test_places_to_keep_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, bucket = Settings(voices_dir=tmp_path / "here"), object()
    volume = tmp_path / "volume"
    volume.mkdir()
    assert open_stores(Settings(), volume=volume) == []  # not mounted: it would be the container's own disk
    monkeypatch.setattr(os.path, "ismount", lambda path: path == volume)
    assert open_stores(Settings(), volume=volume) == [DirectoryStore(volume / "f5-voices")]
    assert open_stores(here, volume=volume) == [DirectoryStore(tmp_path / "here")]
    in_bucket = {"voices_s3_prefix": "voices/"}
    (store,) = open_stores(Settings(**in_bucket), bucket, volume=volume)  # type: ignore[arg-type]
    assert isinstance(store, BucketStore)
    both = open_stores(here.model_copy(update=in_bucket), bucket, volume=volume)  # type: ignore[arg-type]
    assert [store.source for store in both] == ["directory", "bucket"]
    with pytest.raises(SettingsInvalid, match="F5_VOICES_S3_PREFIX"):
        open_stores(Settings(**in_bucket), volume=volume)


def test_the_models_own_voices_need_no_place() -> None:
    library = Library(TINY / "voices", Settings(model="f5-tiny"))
    assert library.names() == TINY_VOICES
    assert 3 < reference_of(library, "joe").duration_s < 12
    assert Library(TINY / "none", Settings()).names() == []


def test_voices_of_further_models_are_spoken_by_them(shipped: Path, tmp_path: Path) -> None:
    french = tmp_path / "french"
    french.mkdir()
    for name in ("joe", "siwis"):
        (french / f"{name}.flac").write_bytes(clip(name))
        (french / f"{name}.txt").write_text("Bonjour.")
    library = Library(shipped, Settings(), shipped_with={"f5-fr": french}, prepare=prepare)
    assert library.load("siwis").defaults == VoiceDefaults(model="f5-fr")
    assert library.load("joe").defaults == VoiceDefaults(), "that of the default model"
    assert {info.source for info in library.list()} == {"model"}
    with pytest.raises(InvalidInput, match="ships with the model"):
        library.delete("siwis")


def _worker(kept: Path, index: int, faults: multiprocessing.Queue[list[str]]) -> None:
    library = Library(kept / "none", Settings(), stores=[DirectoryStore(kept)], prepare=prepare)
    faults.put(churn(library, index, CHURNS))


@pytest.mark.slow
def test_processes_that_add_and_delete_the_same_voices_leave_a_consistent_library(kept: Path) -> None:
    context = multiprocessing.get_context("spawn")
    faults: multiprocessing.Queue[list[str]] = context.Queue()
    workers = [context.Process(target=_worker, args=(kept, index, faults)) for index in range(PROCESSES)]
    for worker in workers:
        worker.start()
    assert [faults.get(timeout=120) for _ in workers] == [[]] * PROCESSES
    for worker in workers:
        worker.join()
    assert settle(Library(kept / "none", Settings(), stores=[DirectoryStore(kept)], prepare=prepare)) == []
    assert os.listdir(kept) == []


# -- names in one's own script, and uploads ---------------------------------------------------------------------------


def put(kept: Path, stem: str, content: str | None = None) -> None:
    kept.mkdir(exist_ok=True)
    (kept / f"{stem}.flac").write_bytes(clip(content or stem))
    (kept / f"{stem}.txt").write_text(content or stem)


def uploaded(original: str, content: str, **changes: object) -> NewVoice:
    return new(upload_names(original)[0], content, original=original, replace=True, **changes)


def test_files_in_ones_own_script_are_voices_of_that_name(library: Library, kept: Path) -> None:
    put(kept, "Иван")
    put(kept, "小明")
    assert library.names() == ["joe", "Иван", "小明"]
    for name in ("Иван", "иван", "ИВАН", "Иван.flac", plain_name("Иван")):
        assert library.load(name).name == library.get(name).name == "Иван"
        assert clip_bytes(reference_of(library, name)) == clip("Иван")
    assert len(library.references) == 1
    assert [info.name for info in library.list(after="Иван")] == ["小明"]
    with pytest.raises(UnknownVoice, match=r"did you mean 'Иван'\?"):
        library.load("ивон")
    assert library.delete("иван") == "Иван"
    assert library.names() == ["joe", "小明"]


def test_files_whose_names_differ_only_in_case_are_both_reachable(library: Library, kept: Path) -> None:
    for stem in ("Ada", "ada", "José", "jose"):
        put(kept, stem)
    assert library.names() == ["Ada", "José", "ada", "joe", "jose"]
    for stem in ("Ada", "ada", "José", "jose"):
        assert clip_bytes(reference_of(library, stem)) == clip(stem)
    library.add(new("jose", "added", replace=True))
    assert clip_bytes(reference_of(library, "José")) == clip("José")
    library.add(new("ada", "added", replace=True))
    library.add(new("ada", "again", replace=True))
    library.delete("ada")
    assert clip_bytes(reference_of(library, "Ada")) == clip("Ada")


def test_uploads_whose_names_differ_never_become_one(opened: Callable[..., Library]) -> None:
    names = ("nn", "аnn", "a", "ä", "_a", "Ann", "ann", "My Voice", "my_voice", "My_Voice", "Иван", "иван", "x" * 70)
    library = opened()
    stored = {name: library.add(uploaded(name, name)).name for name in names}
    assert len(set(stored.values())) == len(names)
    other = opened()
    for name in names:
        assert clip_bytes(reference_of(other, f"{name}.wav")) == clip(name)  # as the legacy contract asks for it
        assert clip_bytes(reference_of(other, stored[name])) == clip(name)
        library.add(uploaded(name, f"{name} again"))
    assert len(library.names()) == len(names) + 1
    for name in names:
        assert clip_bytes(reference_of(other, f"{name}.wav")) == clip(f"{name} again")


def test_an_upload_replaces_the_voice_of_its_own_name_only(library: Library, kept: Path) -> None:
    library.add(new("my_voice", "native"))
    assert library.add(uploaded("My Voice", "upload")).name == "my_voice-" + upload_names("My Voice")[1][-8:]
    assert clip_bytes(reference_of(library, "my_voice")) == clip("native")
    assert clip_bytes(reference_of(library, "My Voice.wav")) == clip("upload")
    assert library.add(uploaded("my_voice", "again")).name == "my_voice"  # as the legacy worker replaced it
    put(kept, "Bob", "file")
    assert library.add(uploaded("Bob", "upload")).name == "bob"
    assert not (kept / "Bob.flac").exists()
    put(kept, "eve", "file")
    assert library.add(uploaded("EVE", "upload")).name != "eve"
    assert clip_bytes(reference_of(library, "eve")) == clip("file")


def test_a_voice_that_an_earlier_version_uploaded_is_found_by_its_files_name(library: Library) -> None:
    library.add(new("jose"))
    library.add(new("my_voice"))
    assert library.load("José.wav").name == "jose"
    assert library.load("My Voice.WAV").name == "my_voice"
    library.add(new("nn"))
    with pytest.raises(UnknownVoice):
        library.load("аnn.wav")


def test_a_voice_of_exactly_the_name_comes_before_one_of_another_spelling(library: Library, kept: Path) -> None:
    put(kept, "Jöe")
    put(kept, "JOE Smith")
    assert library.names() == ["Jöe", "joe", "joe_smith"]
    assert library.load("joe").name == "joe"
    assert clip_bytes(reference_of(library, "joe")) == clip("joe")  # ships with the model
    with pytest.raises(VoiceExists):
        library.add(new("joe", replace=True))
