"""The recogniser's files: where they are looked for, how they are downloaded, which are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from f5_worker.boot.weights import bake, recogniser
from f5_worker.boot.weights.recipes import SourceProblem, Tools
from f5_worker.boot.weights.recogniser import COMPLETE_MARKER, find_recogniser, why_incomplete
from f5_worker.boot.weights.weights import WeightRoots
from f5_worker.models.published import HubFile, PublishedRecogniser, recognisers

NAME = "faster-whisper-base"
REVISION = "0" * 40
CONTENT = {"config.json": b"{}", "model.bin": b"weights", "tokenizer.json": b"{}", "vocabulary.txt": b"a\n"}


def published() -> dict[str, PublishedRecogniser]:
    files = tuple(
        HubFile("org/asr", REVISION, path, len(data), hashlib.sha256(data).hexdigest())
        for path, data in CONTENT.items()
    )
    return {NAME: PublishedRecogniser(NAME, files, "mit")}


@pytest.fixture(autouse=True)
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser, "recognisers", published)
    monkeypatch.setattr(bake, "recognisers", published)


class Hub:
    """Returns CONTENT or the given content for every file; records the requested files."""

    def __init__(self, **content: bytes) -> None:
        self.content = {**CONTENT, **content}
        self.asked: list[str] = []

    def fetch(self, file: HubFile, into: Path, heartbeat: Callable[[], None]) -> Path:
        self.asked.append(file.path)
        (into / file.path).write_bytes(self.content[file.path])
        return into / file.path

    @property
    def tools(self) -> Tools:
        return Tools(fetch=self.fetch)


def fill(directory: Path) -> Path:
    directory.mkdir(parents=True)
    for name, data in CONTENT.items():
        (directory / name).write_bytes(data)
    return directory


def test_the_published_table_is_complete() -> None:
    for name, entry in recognisers().items():
        paths = {file.path for file in entry.files}
        assert {"config.json", "tokenizer.json"} <= paths, name
        assert "model.bin" in paths or {"model.safetensors", "generation_config.json"} <= paths, name
        assert entry.weights.sha256 is not None, name
        assert entry.licence in ("mit", "apache-2.0"), name


def test_off_searches_nowhere(roots: WeightRoots) -> None:
    hub = Hub()
    found = find_recogniser("off", roots=roots, tools=hub.tools)
    assert (found.directory, found.notes, hub.asked) == (None, [], [])


def test_a_given_directory_comes_first(roots: WeightRoots, tmp_path: Path) -> None:
    mine = fill(tmp_path / "mine")
    assert find_recogniser(str(mine), roots=roots).directory == mine
    baked = fill(roots.baked / NAME)
    found = find_recogniser(NAME, roots=roots)
    assert (found.directory, found.source) == (baked, "baked")


def test_a_hub_cache_is_used_in_place(roots: WeightRoots) -> None:
    snapshot = fill(roots.hub_caches[0] / "models--org--asr" / "snapshots" / REVISION)
    found = find_recogniser(NAME, roots=roots, offline=True)
    assert (found.directory, found.source, found.made) == (snapshot, "runpod-cache", False)


def test_a_hub_cache_of_another_revision_must_have_the_known_content(roots: WeightRoots) -> None:
    snapshot = fill(roots.hub_caches[0] / "models--org--asr" / "snapshots" / ("1" * 40))
    assert find_recogniser(NAME, roots=roots, offline=True).directory == snapshot
    (snapshot / "model.bin").write_bytes(b"weightz")
    found = find_recogniser(NAME, roots=roots, offline=True)
    assert found.directory is None
    assert found.notes[0].startswith("the hub cache has revision 111111111111, in which model.bin has sha256")


def test_one_download_serves_the_next_worker(roots: WeightRoots) -> None:
    hub = Hub()
    first = find_recogniser(NAME, roots=roots, tools=hub.tools)
    assert first.made
    assert first.directory is not None
    assert {path.name for path in first.directory.iterdir()} == {*CONTENT, COMPLETE_MARKER}
    again = find_recogniser(NAME, roots=roots, tools=hub.tools, offline=True)
    assert (again.directory, again.source, len(hub.asked)) == (first.directory, "volume", len(CONTENT))


@pytest.mark.parametrize("data", [b"weightz", b"weight"])
def test_a_file_that_is_not_the_published_one_is_refused(roots: WeightRoots, data: bytes) -> None:
    found = find_recogniser(NAME, roots=roots, tools=Hub(**{"model.bin": data}).tools)
    assert found.directory is None
    assert "model.bin has" in found.notes[0]
    assert not list((roots.caches[0]).rglob("model.bin"))


def test_a_hub_that_does_not_answer_is_a_note(roots: WeightRoots) -> None:
    def fetch(file: HubFile, into: Path, heartbeat: Callable[[], None]) -> Path:
        raise SourceProblem("no connection")

    found = find_recogniser(NAME, roots=roots, tools=Tools(fetch=fetch))
    assert (found.directory, found.notes) == (None, ["hub: no connection"])


def test_a_directory_without_the_marker_is_not_used(roots: WeightRoots) -> None:
    target = fill(roots.caches[0] / f"asr-{REVISION[:12]}" / NAME)  # without the marker
    hub = Hub()
    found = find_recogniser(NAME, roots=roots, tools=hub.tools)
    assert found.made
    assert found.directory == target


def test_if_the_volume_cannot_be_written_to_the_local_disk_is_used(roots: WeightRoots) -> None:
    roots.caches[0].rmdir()
    roots.caches[0].write_text("a file where a directory should be")
    found = find_recogniser(NAME, roots=roots, tools=Hub().tools)
    assert found.directory is not None
    assert found.directory.is_relative_to(roots.caches[1])


def test_dry_changes_nothing(roots: WeightRoots) -> None:
    hub = Hub()
    found = find_recogniser(NAME, roots=roots, tools=hub.tools, dry=True)
    assert (found.directory, found.notes, hub.asked) == (None, [f"{NAME} would be downloaded"], [])


def test_without_its_tokenizer_it_is_incomplete(tmp_path: Path) -> None:
    directory = fill(tmp_path / "asr")
    assert why_incomplete(directory, None) is None
    (directory / "tokenizer.json").unlink()  # faster-whisper would download one
    assert why_incomplete(directory, None) == "has no tokenizer.json"


def test_hugging_faces_layout_needs_its_own_files(tmp_path: Path) -> None:
    directory = tmp_path / "asr"
    directory.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"):
        (directory / name).touch()
    assert why_incomplete(directory, None) is None
    (directory / "generation_config.json").unlink()
    assert why_incomplete(directory, None) == "has no generation_config.json"
    assert why_incomplete(directory, published()[NAME]) == "has 0 bytes of config.json instead of 2"


def test_it_can_be_baked_into_an_image(roots: WeightRoots, tmp_path: Path) -> None:
    target = bake.bake_recogniser(NAME, tmp_path / "image", roots=roots, tools=Hub().tools)
    assert why_incomplete(target, published()[NAME]) is None
    assert [path.name for path in (tmp_path / "image").iterdir()] == [NAME]
