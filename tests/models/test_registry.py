"""The registry of checkpoints: each is loaded once, memory is bounded, and none in use is unloaded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from f5_worker.errors import OutOfMemory, UnknownModel
from f5_worker.models import registry
from f5_worker.models.registry import ModelRegistry
from f5_worker.settings import Settings
from f5_worker.text.traits import TextTraits
from tests.conftest import ToneDevice

MB = 1_000_000


class FakeModel(ToneDevice):
    def __init__(self, name: str, n_bytes: int) -> None:
        super().__init__()
        self.name, self.n_bytes = name, n_bytes  # type: ignore[misc]


class Checkpoints:
    """Directories with weight files, and a loader that counts its calls."""

    def __init__(self, directory: Path, sizes: dict[str, int]) -> None:
        self.loads: list[str] = []
        self.directories = {name: directory / name for name in sizes}
        self.sizes = sizes
        for name, size in sizes.items():
            (directory / name).mkdir()
            with (directory / name / "model.safetensors").open("wb") as file:
                file.truncate(size)

    def load(self, name: str, directory: Path) -> FakeModel:
        self.loads.append(name)
        return FakeModel(name, self.sizes[directory.name])

    def registry(self, memory_mb: int) -> ModelRegistry:
        settings = Settings(models_memory_mb=memory_mb)
        return ModelRegistry(FakeModel("base", 100 * MB), self.directories, self.load, settings)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, {"german": 100 * MB, "french": 100 * MB, "hindi": 50 * MB})


def test_the_default_needs_no_loading(checkpoints: Checkpoints) -> None:
    registry = checkpoints.registry(1_000)
    for name in (None, "base"):
        with registry.use(name) as model:
            assert model is registry.default
    assert checkpoints.loads == []


def test_a_checkpoint_is_loaded_once(checkpoints: Checkpoints) -> None:
    registry = checkpoints.registry(1_000)
    for _ in range(3):
        with registry.use("german") as model:
            assert model.name == "german"
    assert checkpoints.loads == ["german"]


def test_the_least_recently_used_is_unloaded(checkpoints: Checkpoints) -> None:
    registry = checkpoints.registry(310)
    for name in ("german", "french", "german", "hindi"):  # hindi needs memory: french is unloaded
        with registry.use(name):
            pass
    with registry.use("german"):
        pass
    assert checkpoints.loads == ["german", "french", "hindi"]
    with registry.use("french"):
        pass
    assert checkpoints.loads == ["german", "french", "hindi", "french"]


def test_one_in_use_stays_loaded(checkpoints: Checkpoints) -> None:
    registry = checkpoints.registry(250)
    with registry.use("german"):
        with pytest.raises(OutOfMemory, match=r"F5_MODELS_MEMORY_MB"), registry.use("french"):
            pass
        with registry.use("german"):
            pass
    with registry.use("french"):
        pass
    assert checkpoints.loads == ["german", "french"]


def test_an_unknown_name_is_distinguished_from_one_not_fetched(checkpoints: Checkpoints) -> None:
    registry = checkpoints.registry(1_000)
    with (
        pytest.raises(UnknownModel, match=r"did you mean 'german'\? this worker has base, german"),
        registry.use("germ"),
    ):
        pass
    with (
        pytest.raises(UnknownModel, match=r"did not fetch it; add it to F5_EXTRA_MODELS"),
        registry.use("F5TTS_Finnish"),
    ):
        pass


def test_many_threads_share_one_load(checkpoints: Checkpoints) -> None:
    registry, gate = checkpoints.registry(1_000), threading.Barrier(8)

    def use(_: int) -> str:
        gate.wait()
        with registry.use("hindi") as model:
            return model.name

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(use, range(8))) == {"hindi"}
    assert checkpoints.loads == ["hindi"]


def test_a_checkpoint_says_its_languages_and_the_published_table_does_for_others(checkpoints: Checkpoints) -> None:
    registry = checkpoints.registry(1_000)
    assert registry.languages(FakeModel("F5TTS_v1_Base", MB)) == ("en", "zh")
    mine = FakeModel("mine", MB)
    assert registry.languages(mine) == ()
    mine.traits = TextTraits(languages=("fr", "en"))
    assert registry.languages(mine) == ("fr", "en")


def test_a_fingerprint_is_that_of_what_decides_the_sound_and_made_once(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoints.directories["german"] / "vocab.txt").write_text("a\nb\n")
    hashed: list[str] = []
    monkeypatch.setattr(registry, "sha256_of", lambda path: hashed.append(path.name) or path.name)
    one = checkpoints.registry(350)
    with ThreadPoolExecutor(8) as threads:
        (german,) = set(threads.map(lambda _: one.fingerprint("german"), range(8)))
    assert hashed == ["model.safetensors", "vocab.txt"]
    assert len({german, one.fingerprint("french"), one.fingerprint(None), one.fingerprint("base")}) == 3
    (checkpoints.directories["german"] / "arch.json").write_text("{}")
    assert checkpoints.registry(350).fingerprint("german") != german
    (checkpoints.directories["french"] / "README.md").write_text("Notes.")
    (checkpoints.directories["french"] / "manifest.json").write_text('{"source": "hub"}')
    assert checkpoints.registry(350).fingerprint("french") == one.fingerprint("french")
    with pytest.raises(UnknownModel):
        one.fingerprint("greek")
