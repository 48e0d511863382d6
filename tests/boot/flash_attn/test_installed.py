"""A flash_attn that the image brought: kept if proven, left if harmless, out of the way of f5_tts if broken."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn.ensure import FlashAttnOutcome
from f5_worker.boot.probe.probe import Installed, installed
from tests.boot.flash_attn.release_server import RAISES, RIGHT, WRONG, Releases, make_wheel, serve
from tests.boot.flash_attn.support import FACTS, House, filename, import_of, needs_pip, wheel


@pytest.fixture(scope="module")
def server() -> Iterator[Releases]:
    with serve() as releases:
        yield releases


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment of its own, with the pip of this one."""
    home = tmp_path_factory.mktemp("scratch")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    if (pip := importlib.util.find_spec("pip")) is not None:
        (site_packages(home) / "pip.pth").write_text(str(Path(str(pip.origin)).parents[1]))
    return home / "bin" / "python"


def site_packages(home: Path) -> Path:
    return next((home / "lib").glob("python3*")) / "site-packages"


@pytest.fixture
def house(server: Releases, tmp_path: Path, scratch: Path) -> Iterator[House]:
    server.assets.clear()
    server.requests.clear()
    house = House(server, tmp_path, replace(FACTS, executable=str(scratch)))
    yield house
    for path in at_home(house).glob("flash_attn*"):
        shutil.rmtree(path)


def put(house: House, where: Path, code: str, *, package: str = "flash_attn", importable: bool | None = None) -> None:
    """Unpack a wheel there and describe it as the probe would."""
    zipfile.ZipFile(io.BytesIO(make_wheel(code, "2.8.2", "py3-none-any", package))).extractall(where)
    works = "raise" not in code if importable is None else importable
    error = None if works else "ImportError: undefined symbol"
    found = Installed(str(where), (package.replace("_", "-"),), "2.8.2", works, error)
    house.facts = replace(house.facts, flash_attn=found)


def disown(house: House) -> None:
    """As if no package owned it; then pip, 0.6 s a time, is not asked."""
    assert house.facts.flash_attn is not None
    house.facts = replace(house.facts, flash_attn=replace(house.facts.flash_attn, distributions=()))


def import_in(house: House, outcome: FlashAttnOutcome) -> str:
    return import_of(outcome, os.environ, house.facts.executable)


def at_home(house: House) -> Path:
    return site_packages(Path(house.facts.executable).parents[1])


def test_proven_is_kept(house: House) -> None:
    put(house, at_home(house), RIGHT)
    outcome = house.ensure(mode="require")
    assert (outcome.decision, outcome.backend, outcome.version) == ("kept", "flash_attn", "2.8.2")
    assert (outcome.overlay, outcome.fatal) == (None, False)
    assert not house.releases.requests


@needs_pip
def test_broken_is_uninstalled(house: House) -> None:
    put(house, at_home(house), RAISES)
    outcome = house.ensure(mode="off")
    assert (outcome.decision, outcome.backend, outcome.overlay) == ("removed", "sdpa", None)
    assert "undefined symbol" in outcome.reason
    assert import_in(house, outcome) == "absent"
    assert not list(at_home(house).glob("flash_attn*"))


def test_wrong_results_are_as_bad(house: House) -> None:
    put(house, at_home(house), WRONG)
    disown(house)
    outcome = house.ensure(wanted=False)
    assert outcome.decision == "removed"
    assert import_in(house, outcome) == "absent"


@pytest.mark.usefixtures("unpacked")
def test_broken_is_replaced(house: House) -> None:
    put(house, at_home(house), RAISES)
    disown(house)
    house.publish({filename("2.8.3"): wheel()})
    outcome = house.ensure()
    assert (outcome.decision, outcome.filename) == ("wheel", filename("2.8.3"))
    assert import_in(house, outcome) == "works"


def test_remains_without_metadata_are_deleted(house: House) -> None:
    put(house, at_home(house), RAISES)
    for path in at_home(house).glob("*.dist-info/*"):
        path.unlink()
    disown(house)
    outcome = house.ensure(mode="off")
    assert outcome.decision == "removed"
    assert import_in(house, outcome) == "absent"


@pytest.mark.usefixtures("unpacked")
def test_what_cannot_be_removed_is_hidden(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside site-packages it may be somebody's source tree; a read-only image ends the same way."""
    tree = tmp_path / "source"
    tree.mkdir()
    put(house, tree, RAISES)
    (tree / "sitecustomize.py").write_text("import sys; sys.was_here = True")
    monkeypatch.setenv("PYTHONPATH", str(tree))
    disown(house)
    outcome = house.ensure(wanted=False)
    assert (outcome.decision, outcome.backend) == ("masked", "sdpa")
    assert "could not be removed" in outcome.reason
    assert import_in(house, outcome) == "absent"
    assert (tree / "flash_attn").exists()
    env = outcome.environment(os.environ)
    code = "import sys; print(sys.was_here)"  # the image's own sitecustomize still runs
    assert subprocess.check_output([house.facts.executable, "-c", code], env=env, text=True).strip() == "True"

    house.publish({filename("2.8.3"): wheel()})
    hidden = house.ensure()
    assert (hidden.decision, import_in(house, hidden)) == ("wheel", "works")


def test_without_a_gpu_what_imports_is_left_alone(house: House) -> None:
    put(house, at_home(house), RIGHT)
    house.facts = replace(house.facts, cuda_available=False, cuda_error="no driver")
    outcome = house.ensure()
    assert "nothing can be proven without a GPU: no driver" in outcome.reason
    assert import_in(house, outcome) == "works"


def test_a_sick_host_removes_nothing(house: House, tmp_path: Path) -> None:
    put(house, at_home(house), RIGHT)
    proof = tmp_path / "sick.py"
    proof.write_text("import os; os.kill(os.getpid(), 9)")
    outcome = house.ensure(proof=proof)
    assert "could not be proven: killed by SIGKILL" in outcome.reason
    assert import_in(house, outcome) == "works"


def test_installed_sees_namespace_packages(scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """flash-attn-4 alone brings `flash_attn/cute` and no `flash_attn/__init__.py`."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = installed(scratch, 30)
    assert found is not None
    assert found.location == str(tmp_path)
