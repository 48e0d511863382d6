"""A flash_attn in the image: kept if verified, ignored if harmless, removed or hidden if broken."""

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

from f5_worker.boot.flash_attn.install_run import FlashAttnOutcome
from f5_worker.boot.probe.probe import Installed, installed
from tests.boot.flash_attn.release_server import RAISES, RIGHT, WRONG, Releases, make_wheel
from tests.boot.flash_attn.support import FACTS, Container, filename, import_of, needs_pip, wheel


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a separate environment, with the pip of this one."""
    home = tmp_path_factory.mktemp("scratch")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    if (pip := importlib.util.find_spec("pip")) is not None:
        (site_packages(home) / "pip.pth").write_text(str(Path(str(pip.origin)).parents[1]))
    return home / "bin" / "python"


def site_packages(home: Path) -> Path:
    return next((home / "lib").glob("python3*")) / "site-packages"


@pytest.fixture
def container(server: Releases, tmp_path: Path, scratch: Path) -> Iterator[Container]:
    server.assets.clear()
    server.requests.clear()
    container = Container(server, tmp_path, replace(FACTS, executable=str(scratch)))
    yield container
    for path in image_packages(container).glob("flash_attn*"):
        shutil.rmtree(path)


def put(
    container: Container, where: Path, code: str, *, package: str = "flash_attn", importable: bool | None = None
) -> None:
    """Unpack a wheel at `where` and describe it as the probe would."""
    zipfile.ZipFile(io.BytesIO(make_wheel(code, "2.8.2", "py3-none-any", package))).extractall(where)
    is_importable = "raise" not in code if importable is None else importable
    error = None if is_importable else "ImportError: undefined symbol"
    found = Installed(str(where), (package.replace("_", "-"),), "2.8.2", is_importable, error)
    container.facts = replace(container.facts, flash_attn=found)


def forget_owner(container: Container) -> None:
    """Pretend that no package owns it; then pip, which takes 0.6 s each time, is not run."""
    assert container.facts.flash_attn is not None
    container.facts = replace(container.facts, flash_attn=replace(container.facts.flash_attn, distributions=()))


def import_in(container: Container, outcome: FlashAttnOutcome) -> str:
    return import_of(outcome, os.environ, container.facts.executable)


def image_packages(container: Container) -> Path:
    return site_packages(Path(container.facts.executable).parents[1])


def test_a_verified_one_is_kept(container: Container) -> None:
    put(container, image_packages(container), RIGHT)
    outcome = container.ensure(mode="require")
    assert (outcome.decision, outcome.backend, outcome.version) == ("kept", "flash_attn", "2.8.2")
    assert (outcome.overlay, outcome.fatal) == (None, False)
    assert not container.releases.requests


@needs_pip
def test_a_broken_one_is_uninstalled(container: Container) -> None:
    put(container, image_packages(container), RAISES)
    outcome = container.ensure(mode="off")
    assert (outcome.decision, outcome.backend, outcome.overlay) == ("removed", "sdpa", None)
    assert "undefined symbol" in outcome.reason
    assert import_in(container, outcome) == "absent"
    assert not list(image_packages(container).glob("flash_attn*"))


def test_one_with_wrong_results_is_removed(container: Container) -> None:
    put(container, image_packages(container), WRONG)
    forget_owner(container)
    outcome = container.ensure(wanted=False)
    assert outcome.decision == "removed"
    assert import_in(container, outcome) == "absent"


@pytest.mark.usefixtures("unpacked")
def test_a_broken_one_is_replaced(container: Container) -> None:
    put(container, image_packages(container), RAISES)
    forget_owner(container)
    container.publish({filename("2.8.3"): wheel()})
    outcome = container.ensure()
    assert (outcome.decision, outcome.filename) == ("wheel", filename("2.8.3"))
    assert import_in(container, outcome) == "works"


def test_remains_without_metadata_are_deleted(container: Container) -> None:
    put(container, image_packages(container), RAISES)
    for path in image_packages(container).glob("*.dist-info/*"):
        path.unlink()
    forget_owner(container)
    outcome = container.ensure(mode="off")
    assert outcome.decision == "removed"
    assert import_in(container, outcome) == "absent"


@pytest.mark.usefixtures("unpacked")
def test_one_that_cannot_be_removed_is_hidden(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside site-packages it may be a source tree; a read-only image has the same result."""
    tree = tmp_path / "source"
    tree.mkdir()
    put(container, tree, RAISES)
    (tree / "sitecustomize.py").write_text("import sys; sys.was_here = True")
    monkeypatch.setenv("PYTHONPATH", str(tree))
    forget_owner(container)
    outcome = container.ensure(wanted=False)
    assert (outcome.decision, outcome.backend) == ("masked", "sdpa")
    assert "could not be removed" in outcome.reason
    assert import_in(container, outcome) == "absent"
    assert (tree / "flash_attn").exists()
    env = outcome.environment(os.environ)
    code = "import sys; print(sys.was_here)"  # the image's own sitecustomize still runs
    assert subprocess.check_output([container.facts.executable, "-c", code], env=env, text=True).strip() == "True"

    container.publish({filename("2.8.3"): wheel()})
    hidden = container.ensure()
    assert (hidden.decision, import_in(container, hidden)) == ("wheel", "works")


def test_without_a_gpu_one_that_imports_is_not_changed(container: Container) -> None:
    put(container, image_packages(container), RIGHT)
    container.facts = replace(container.facts, cuda_available=False, cuda_error="no driver")
    outcome = container.ensure()
    assert "cannot be verified without a GPU: no driver" in outcome.reason
    assert import_in(container, outcome) == "works"


def test_on_a_faulty_host_nothing_is_removed(container: Container, tmp_path: Path) -> None:
    put(container, image_packages(container), RIGHT)
    verifier = tmp_path / "faulty.py"
    verifier.write_text("import os; os.kill(os.getpid(), 9)")
    outcome = container.ensure(verifier=verifier)
    assert "could not be verified: killed by SIGKILL" in outcome.reason
    assert import_in(container, outcome) == "works"


def test_installed_sees_namespace_packages(scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """flash-attn-4 without flash-attn installs `flash_attn/cute` and no `flash_attn/__init__.py`."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = installed(scratch, 30)
    assert found is not None
    assert found.location == str(tmp_path)
