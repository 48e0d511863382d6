"""The sources of a model, their order, and the notes when a source or a disk cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from f5_worker.boot.weights import copies, recipes, weights
from f5_worker.boot.weights.bake import bake
from f5_worker.boot.weights.bake import main as bake_main
from f5_worker.boot.weights.pins import PinPolicy
from f5_worker.boot.weights.recipes import Heartbeat, SourceFiles, SourceProblem, Tools
from f5_worker.boot.weights.weights import WeightRoots, find_model
from f5_worker.errors import ModelUnavailable
from f5_worker.models import published as checkpoints
from f5_worker.models.config import PUBLISHED_CONFIGS, read_config
from f5_worker.models.published import HubFile
from f5_worker.settings import REPOSITORY, Settings

NAME = "F5TTS_v1_Base"
PINNED = checkpoints.published()[NAME].model.revision


def tensors(payload: bytes = b"weights!") -> bytes:
    """A safetensors file with one tensor of bytes."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]}}).encode()
    return struct.pack("<Q", len(header)) + header + payload


def content(file: HubFile) -> bytes:
    return (
        tensors() if file.path.endswith(".safetensors") else b" \r\na\r\n" if file.path.endswith(".txt") else b"pickle"
    )


class Hub:
    """A replacement for the hub and the conversion: counts calls, and raises `error` if it is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.converted = 0
        self.error: Exception | None = None
        self.commit = "c" * 40

    def fetch(self, file: HubFile, into: Path, heartbeat: Heartbeat) -> Path:
        self.asked.append(file.path)
        if self.error:
            raise self.error
        path = into / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(file))
        return path

    def convert(self, parts: SourceFiles, into: Path, precision: str, heartbeat: Heartbeat) -> None:
        self.converted += 1
        data = parts.model.read_bytes()
        (into / copies.MODEL).write_bytes(tensors(data) if parts.model.suffix == ".pt" else data)
        shutil.copyfile(parts.vocab, into / copies.VOCAB)
        (into / copies.VOCODER).write_bytes(tensors(parts.vocoder.read_bytes()))

    def resolve(self, file: HubFile, heartbeat: Heartbeat) -> str:
        self.asked.append(f"{file.repo}@{file.revision}")
        return self.commit

    @property
    def tools(self) -> Tools:
        return Tools(self.fetch, self.convert, self.resolve)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture(autouse=True)
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published names with files of a few bytes, with their sha256 where the real one is known."""

    def shrunk(file: HubFile, size_bytes: int) -> HubFile:
        sha256 = hashlib.sha256(content(file)).hexdigest() if file.sha256 else None
        return replace(file, size_bytes=size_bytes, sha256=sha256)

    small = {
        name: replace(
            entry, model=shrunk(entry.model, 100), vocab=shrunk(entry.vocab, 10), vocoder=shrunk(entry.vocoder, 100)
        )
        for name, entry in checkpoints.published().items()
    }
    monkeypatch.setattr(weights, "published", lambda: small)
    monkeypatch.setattr(recipes, "default_vocoder", lambda: small[NAME].vocoder)


def fill(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names or copies.REQUIRED:
        (directory / name).write_bytes(tensors() if name.endswith(".safetensors") else b" \na\n")
    return directory


def cache_snapshot(hub_cache: Path, revision: str, *, main: bool = False) -> Path:
    """The layout of huggingface_hub: snapshots hold links to blobs."""
    entry = checkpoints.published()[NAME]
    for file in (entry.model, entry.vocab):
        repository = hub_cache / file.folder
        blob = repository / "blobs" / f"{revision}-{Path(file.path).name}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content(file))
        link = repository / "snapshots" / revision / file.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if main:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(revision)
    return repository / "snapshots" / revision


def test_f5_tiny_ships_with_the_code() -> None:
    located = find_model("f5-tiny", roots=WeightRoots())
    assert (located.directory, located.source) == (REPOSITORY / "models" / "f5-tiny", "shipped")
    assert not located.made
    assert located.notes == ()


def test_a_path_is_used_as_it_is(roots: WeightRoots, tmp_path: Path) -> None:
    mine = fill(tmp_path / "elsewhere" / "my-voice")
    assert find_model(str(mine), roots=roots).directory == mine


def test_each_source_is_used_before_the_ones_after_it(roots: WeightRoots, hub: Hub) -> None:
    def source() -> str:
        return find_model(NAME, roots=roots, tools=hub.tools).source

    assert source() == "hub"
    assert source() == "volume"
    fill(roots.baked / NAME)
    assert source() == "baked"
    cache_snapshot(roots.hub_caches[0], "0" * 40)
    assert source() == "runpod-cache"
    fill(roots.shipped / NAME)
    assert source() == "shipped"


def test_the_second_worker_downloads_and_converts_nothing(roots: WeightRoots, hub: Hub) -> None:
    first = find_model(NAME, roots=roots, tools=hub.tools)
    asked = list(hub.asked)
    second = find_model(NAME, roots=roots, tools=hub.tools, offline=True, deep=True)
    assert (second.directory, hub.asked, hub.converted) == (first.directory, asked, 1)
    assert (first.made, second.made) == (True, False)


def test_refs_main_is_preferred_among_snapshots(roots: WeightRoots, hub: Hub) -> None:
    cache_snapshot(roots.hub_caches[0], "a" * 40)
    cache_snapshot(roots.hub_caches[0], "b" * 40, main=True)
    located = find_model(NAME, roots=roots, tools=hub.tools)
    assert located.revision == "b" * 40
    assert "bbbbbbbbbbbb, not the published one" in located.notes[0]
    assert hub.asked == ["pytorch_model.bin"]  # RunPod caches one repository only; the vocoder is in another


def test_an_image_with_the_cached_revision_needs_no_conversion(roots: WeightRoots, hub: Hub) -> None:
    bake(NAME, roots.baked, roots=roots, tools=hub.tools)
    cache_snapshot(roots.hub_caches[0], PINNED)
    assert find_model(NAME, roots=roots, tools=hub.tools).source == "baked"
    assert hub.converted == 1


def test_a_baked_model_is_found_by_the_container(roots: WeightRoots, hub: Hub) -> None:
    baked = bake(NAME, roots.baked, roots=roots, tools=hub.tools)
    assert [path.name for path in roots.baked.iterdir()] == [NAME]
    found = find_model(NAME, roots=roots, tools=hub.tools, offline=True, deep=True)
    assert (found.directory, found.source) == (baked.directory, "baked")


def test_the_layouts_of_runpod_and_huggingface_are_searched(tmp_path: Path) -> None:
    volume = tmp_path / "runpod-volume"
    environ = {"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}

    def found() -> WeightRoots:
        return WeightRoots.from_environment(
            environ, models_dir=Path("/opt/models"), cache_dir=volume / "f5-worker", volume=volume, local=Path("/c")
        )

    assert found().hub_caches == (volume / "huggingface-cache" / "hub", Path("/a"), Path("/b/hub"), Path("/b"))
    assert found().caches == (Path("/c"),)  # no volume is mounted: its directory must not be created
    volume.mkdir()
    assert found().caches == (volume / "f5-worker" / "models", Path("/c"))


def test_a_copy_has_a_manifest_and_voices(roots: WeightRoots, hub: Hub) -> None:
    directory = find_model(NAME, roots=roots, tools=hub.tools).directory
    assert directory.name == NAME
    manifest = copies.read_manifest(directory)
    assert manifest is not None
    assert (manifest.source, manifest.revision, manifest.precision) == ("hub", PINNED, "fp16")
    assert {"voices/joe.wav", "voices/joe.txt", "arch.json", *copies.REQUIRED} == set(manifest.files)
    assert json.loads((directory / "arch.json").read_text()) == NAME
    assert read_config(directory) == PUBLISHED_CONFIGS[NAME]
    assert len(manifest.origin) == 3
    assert sorted(path.name for path in directory.parent.iterdir()) == [NAME]  # no lease, no leftovers


def test_a_fine_tune_without_vocoder_is_completed(roots: WeightRoots, hub: Hub) -> None:
    mine = fill(roots.baked / "mine", "model_500.safetensors", "vocab.txt")
    (mine / "arch.json").write_text("{}")
    (mine / "text.json").write_text('{"lower_capitals": true}')
    located = find_model("mine", roots=roots, tools=hub.tools)
    assert located.source == "baked"
    assert (located.directory / "text.json").read_text() == '{"lower_capitals": true}'
    assert located.directory.is_relative_to(roots.caches[0])
    assert (located.directory / "arch.json").read_text() == "{}"
    assert hub.asked == ["pytorch_model.bin"]
    assert find_model("mine", roots=roots, tools=hub.tools, offline=True).directory == located.directory


def test_two_checkpoints_in_one_directory_are_refused(roots: WeightRoots, hub: Hub) -> None:
    fill(roots.baked / "mine", "model_1.safetensors", "model_2.safetensors", "vocab.txt")
    with pytest.raises(ModelUnavailable, match=r"2 checkpoints are in .*leave one"):
        find_model("mine", roots=roots, tools=hub.tools)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "model.safetensors").write_bytes(b"x"), "model.safetensors has 1 bytes instead of"),
        (lambda d: (d / "vocab.txt").unlink(), "vocab.txt cannot be read"),
        (lambda d: (d / "manifest.json").unlink(), "has no readable manifest"),
        (lambda d: (d / "manifest.json").write_text('{"format": 1'), "has no readable manifest"),
        (lambda d: (d / "manifest.json").write_text("[]"), "has no readable manifest"),
        (lambda d: (d / "manifest.json").write_text('{"format": 99}'), "has no readable manifest"),
    ],
)
def test_a_damaged_copy_is_not_used_but_made_again(roots: WeightRoots, hub: Hub, damage, message) -> None:  # type: ignore[no-untyped-def]
    damage(find_model(NAME, roots=roots, tools=hub.tools).directory)
    located = find_model(NAME, roots=roots, tools=hub.tools)
    assert located.made
    assert any(message in note for note in located.notes)
    assert copies.defect(located.directory, deep=True) is None


def test_flipped_bytes_are_found_when_asked(roots: WeightRoots, hub: Hub) -> None:
    directory = find_model(NAME, roots=roots, tools=hub.tools).directory
    (directory / copies.MODEL).write_bytes(tensors(b"weightz!"))
    assert not find_model(NAME, roots=roots, tools=hub.tools).made
    located = find_model(NAME, roots=roots, tools=hub.tools, deep=True)
    assert located.made
    assert (directory / copies.MODEL).read_bytes() == tensors()


def test_a_manifest_cannot_point_outside(roots: WeightRoots, hub: Hub) -> None:
    directory = find_model(NAME, roots=roots, tools=hub.tools).directory
    value = json.loads((directory / "manifest.json").read_text())
    value["files"]["../../x"] = {"size_bytes": 1, "sha256": ""}
    (directory / "manifest.json").write_text(json.dumps(value))
    assert copies.defect(directory) == "its manifest names a file outside"


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 7, tensors()[:-1], tensors() + b"x", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]"]
)
def test_truncated_weights_are_detected_from_the_header(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    assert copies.truncation(path) is not None


def test_a_half_downloaded_snapshot_is_replaced_by_a_download(roots: WeightRoots, hub: Hub) -> None:
    snapshot = cache_snapshot(roots.hub_caches[0], PINNED)
    (snapshot / NAME / "model_1250000.safetensors").resolve().write_bytes(tensors()[:-3])
    located = find_model(NAME, roots=roots, tools=hub.tools)
    assert located.source == "hub"
    assert "its header says" in located.notes[0]


def test_wrong_content_is_refused(roots: WeightRoots, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = weights.published()[NAME]
    pinned = replace(entry, model=replace(entry.model, sha256="0" * 64))
    monkeypatch.setattr(weights, "published", lambda: {NAME: pinned})
    with pytest.raises(ModelUnavailable, match=r"model_1250000.safetensors has sha256 .* instead of 000000000000"):
        find_model(NAME, roots=roots, tools=hub.tools)
    assert list(roots.caches[0].rglob("*.safetensors")) == []


def test_a_cache_is_checked_whatever_its_revision(roots: WeightRoots, hub: Hub) -> None:
    """RunPod caches what main is at: the sums decide, and where they differ the hub's pinned files are taken."""
    snapshot = cache_snapshot(roots.hub_caches[0], "a" * 40, main=True)
    (snapshot / NAME / "model_1250000.safetensors").resolve().write_bytes(tensors(b"of today"))
    found = find_model(NAME, roots=roots, tools=hub.tools)
    assert (found.source, found.revision) == ("hub", PINNED)
    assert any("runpod-cache: model_1250000.safetensors has sha256" in note for note in found.notes)
    allowed = find_model(NAME, roots=roots, tools=hub.tools, policy=PinPolicy(allow_unpinned=True))
    assert (allowed.source, allowed.revision) == ("runpod-cache", "a" * 40)
    assert (allowed.directory / copies.MODEL).read_bytes() == tensors(b"of today")
    assert f"F5_PINS={NAME}@{'a' * 40}:{hashlib.sha256(tensors(b'of today')).hexdigest()}" in allowed.notes[-1]
    again = find_model(NAME, roots=roots, tools=hub.tools)
    assert again.directory == found.directory, "a copy made while all was allowed is no copy of the pinned one"


UNPINNED = "F5TTS_German"


@pytest.mark.parametrize("name", [UNPINNED, "E2TTS_Base"])
def test_a_checkpoint_that_is_not_pinned_is_refused(roots: WeightRoots, hub: Hub, name: str) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        find_model(name, roots=roots, tools=hub.tools)
    for part in ("no commit", "no sha256", f"F5_PINS={name}@COMMIT:SHA256", "F5_ALLOW_UNPINNED=true"):
        assert part in str(raised.value)
    assert hub.asked == []


def test_what_was_allowed_is_reported_as_a_pin_and_kept(roots: WeightRoots, hub: Hub) -> None:
    allowed = PinPolicy(allow_unpinned=True)
    found = find_model(UNPINNED, roots=roots, tools=hub.tools, policy=allowed)
    german = weights.published()[UNPINNED]
    assert hub.asked[0] == f"{german.model.repo}@main"
    pin = f"{UNPINNED}@{hub.commit}:{hashlib.sha256(content(german.model)).hexdigest()}"
    assert f"these are F5_PINS={pin}" in found.notes[-1]

    hub.commit, hub.asked = "d" * 40, []  # main moves on
    again = find_model(UNPINNED, roots=roots, tools=hub.tools, policy=allowed, offline=True)
    assert (again.directory, again.revision, hub.asked) == (found.directory, "c" * 40, [])

    pinned = find_model(UNPINNED, roots=roots, tools=hub.tools, policy=PinPolicy.from_settings(pin, False))
    assert (pinned.source, pinned.revision, pinned.notes) == ("hub", "c" * 40, ())
    with pytest.raises(ModelUnavailable, match="not pinned"):
        find_model(UNPINNED, roots=roots, tools=hub.tools)


def test_a_pin_with_another_sum_is_refused(roots: WeightRoots, hub: Hub) -> None:
    policy = PinPolicy.from_settings(f"{UNPINNED}@{'e' * 40}:{'0' * 64}", allow_unpinned=True)
    with pytest.raises(ModelUnavailable, match="instead of 000000000000"):
        find_model(UNPINNED, roots=roots, tools=hub.tools, policy=policy)


def test_an_operators_directory_needs_no_pin(roots: WeightRoots, hub: Hub) -> None:
    fill(roots.baked / UNPINNED)
    assert find_model(UNPINNED, roots=roots, tools=hub.tools).source == "baked"


def test_baking_follows_the_same_settings(roots: WeightRoots, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelUnavailable, match="not pinned"):
        bake(UNPINNED, roots.baked, roots=roots, tools=hub.tools)
    made = bake(UNPINNED, roots.baked, roots=roots, tools=hub.tools, policy=PinPolicy(allow_unpinned=True))
    assert find_model(UNPINNED, roots=roots, offline=True).directory == made.directory
    monkeypatch.setenv("F5_PINS", "F5TTS_German@main:0")
    assert bake_main([UNPINNED, str(roots.baked)]) == 1


def test_every_published_file_of_weights_is_pinned_or_refused() -> None:
    """The default is pinned with all its files, and its vocoder; no file of a pinned checkpoint is on a branch."""
    table = checkpoints.published()
    assert {name for name, entry in table.items() if entry.unknown} == {
        "E2TTS_Base", "F5TTS_Finnish", "F5TTS_French", "F5TTS_German", "F5TTS_Hindi", "F5TTS_Japanese", "F5TTS_Latvian",
        "F5TTS_Russian",
    }  # fmt: skip
    assert all(entry.arch in PUBLISHED_CONFIGS for entry in table.values())
    default = table[Settings().model]
    assert all(file.sha256 for file in (default.model, default.vocab, default.vocoder))
    for entry in table.values():
        assert entry.vocoder.is_at_commit
        assert entry.vocoder.sha256
        assert entry.unknown or entry.vocab.is_at_commit
    for asr in checkpoints.recognisers().values():
        assert asr.weights.sha256
        assert all(file.is_at_commit for file in asr.files)


def test_offline_without_any_copy(roots: WeightRoots, hub: Hub) -> None:
    with pytest.raises(ModelUnavailable, match=r"HF_HUB_OFFLINE is set.*BAKE_MODEL"):
        find_model(NAME, roots=roots, tools=hub.tools, offline=True)
    assert hub.asked == []


def test_an_unknown_name_lists_the_known(roots: WeightRoots, hub: Hub) -> None:
    with pytest.raises(ModelUnavailable, match=r"F5TTS_Base, F5TTS_Finnish, .*, F5TTS_v1_Base"):
        find_model("F5TTS_v2", roots=roots, tools=hub.tools)


def test_a_failing_hub_is_quoted_and_asked_once(roots: WeightRoots, hub: Hub) -> None:
    hub.error = SourceProblem("the hub answers 503")
    with pytest.raises(ModelUnavailable, match="hub: the hub answers 503"):
        find_model(NAME, roots=roots, tools=hub.tools)
    assert len(hub.asked) == 1
    assert [path for path in roots.caches[0].rglob("*") if path.is_file()] == []


def test_the_boot_process_imports_nothing_heavy() -> None:
    program = (
        "import sys, f5_worker.boot.weights.weights, f5_worker.boot.weights.bake\n"
        "print({'torch', 'numpy', 'safetensors', 'huggingface_hub', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
