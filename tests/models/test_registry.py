"""Checkpoints that jobs choose: loaded once, bounded, never taken away from a job."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from f5_worker.errors import OutOfMemory, UnknownModel
from f5_worker.models.registry import Models
from f5_worker.settings import Settings
from tests.conftest import ToneDevice

MB = 1_000_000


class Pack(ToneDevice):
    def __init__(self, name: str, n_bytes: int) -> None:
        super().__init__()
        self.name, self.n_bytes = name, n_bytes  # type: ignore[misc]


class Shop:
    """Directories with weight files, and a loader that counts."""

    def __init__(self, directory: Path, sizes: dict[str, int]) -> None:
        self.loads: list[str] = []
        self.directories = {name: directory / name for name in sizes}
        self.sizes = sizes
        for name, size in sizes.items():
            (directory / name).mkdir()
            with (directory / name / "model.safetensors").open("wb") as file:
                file.truncate(size)

    def load(self, name: str, directory: Path) -> Pack:
        self.loads.append(name)
        return Pack(name, self.sizes[directory.name])

    def models(self, room_mb: int) -> Models:
        settings = Settings(models_memory_mb=room_mb)
        return Models(Pack("base", 100 * MB), self.directories, self.load, settings)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, {"german": 100 * MB, "french": 100 * MB, "hindi": 50 * MB})


def test_the_default_needs_no_loading(shop: Shop) -> None:
    models = shop.models(1_000)
    for name in (None, "base"):
        with models.use(name) as model:
            assert model is models.default
    assert shop.loads == []


def test_a_checkpoint_is_loaded_once(shop: Shop) -> None:
    models = shop.models(1_000)
    for _ in range(3):
        with models.use("german") as model:
            assert model.name == "german"
    assert shop.loads == ["german"]


def test_the_one_unused_longest_makes_way(shop: Shop) -> None:
    models = shop.models(310)
    for name in ("german", "french", "german", "hindi"):  # hindi needs room: french goes
        with models.use(name):
            pass
    with models.use("german"):
        pass
    assert shop.loads == ["german", "french", "hindi"]
    with models.use("french"):
        pass
    assert shop.loads == ["german", "french", "hindi", "french"]


def test_one_in_use_stays(shop: Shop) -> None:
    models = shop.models(250)
    with models.use("german"):
        with pytest.raises(OutOfMemory, match=r"F5_MODELS_MEMORY_MB"), models.use("french"):
            pass
        with models.use("german"):
            pass
    with models.use("french"):
        pass
    assert shop.loads == ["german", "french"]


def test_an_unknown_name_is_told_from_one_not_fetched(shop: Shop) -> None:
    models = shop.models(1_000)
    with pytest.raises(UnknownModel, match=r"did you mean 'german'\? this worker has base, german"), models.use("germ"):
        pass
    with pytest.raises(UnknownModel, match=r"did not fetch it; add it to F5_EXTRA_MODELS"), models.use("F5TTS_Finnish"):
        pass


def test_many_threads_share_one_load(shop: Shop) -> None:
    models, gate = shop.models(1_000), threading.Barrier(8)

    def use(_: int) -> str:
        gate.wait()
        with models.use("hindi") as model:
            return model.name

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(use, range(8))) == {"hindi"}
    assert shop.loads == ["hindi"]


def test_languages_are_those_of_the_published_table(shop: Shop) -> None:
    models = shop.models(1_000)
    assert models.languages("F5TTS_v1_Base") == ("en", "zh")
    assert models.languages("german") == ()
