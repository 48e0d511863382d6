"""A flash_attn in the image: kept if verified, ignored if harmless, removed or hidden if broken."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from f5_worker.boot.flash_attn.install_run import FlashAttnOutcome
from f5_worker.boot.probe.probe import Gpu, Installed, installed
from f5_worker.settings import REPOSITORY
from tests.boot.flash_attn.release_server import ABORTS, RAISES, RIGHT, WRONG, Releases, make_wheel
from tests.boot.flash_attn.support import (
    FACTS,
    FAKE_VERIFIER,
    Container,
    filename,
    import_of,
    needs_pip,
    site_packages,
    wheel,
)


@pytest.fixture
def container(server: Releases, tmp_path: Path, scratch: Path) -> Iterator[Container]:
    server.assets.clear()
    server.requests.clear()
    container = Container(server, tmp_path, replace(FACTS, executable=str(scratch)))
    yield container
    for path in image_packages(container).glob("flash_attn*"):
        shutil.rmtree(path)


def put(
    container: Container,
    where: Path,
    code: str,
    *,
    package: str = "flash_attn",
    importable: bool | None = None,
    imported: bool = True,
) -> None:
    """Unpack a wheel at `where` and describe it as the probe would, which imported it or not."""
    zipfile.ZipFile(io.BytesIO(make_wheel(code, "2.8.2", "py3-none-any", package))).extractall(where)
    is_importable = "raise" not in code if importable is None else importable
    error = None if is_importable else "ImportError: undefined symbol"
    found = Installed(str(where), (package.replace("_", "-"),), "2.8.2", is_importable, error)
    if not imported:
        found = replace(found, importable=None, error=None)
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
    outcome = container.ensure()
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
    outcome = container.ensure(mode="off")
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
    assert outcome.decision == "sdpa"
    assert import_in(container, outcome) == "absent"  # the handler must not import it; another start verifies it
    assert (image_packages(container) / "flash_attn").exists()


@pytest.fixture
def in_handler(container: Container) -> Callable[[FlashAttnOutcome], str]:
    """Do what a handler does that boot started with an outcome: run the deferred proof, then import flash_attn."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from importlib.util import find_spec; before = find_spec('flash_attn')\n"
        "from f5_worker.boot.flash_attn.proof import DeferredProof\n"
        "proof = DeferredProof.from_report(json.loads(sys.argv[1]))\n"
        "print(before, proof.run(Path(sys.argv[2])), find_spec('flash_attn') is not None)"
    )

    def run(outcome: FlashAttnOutcome) -> str:
        env = outcome.environment({**os.environ, "PYTHONPATH": str(REPOSITORY)})
        report = json.dumps({"flash_attn": asdict(outcome)})
        command = [container.facts.executable, "-c", code, report, str(FAKE_VERIFIER)]
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr

    return run


def test_the_handler_verifies_one_that_boot_has_hidden(
    container: Container, in_handler: Callable[[FlashAttnOutcome], str]
) -> None:
    put(container, image_packages(container), RIGHT, imported=False)
    first = container.ensure(defer=True)
    assert (first.decision, first.backend, import_in(container, first)) == ("deferred", "sdpa", "absent")
    assert in_handler(first) == "None True True"
    again = container.ensure(defer=True, verifier=FAKE_VERIFIER)
    assert (again.decision, again.overlay, again.deferred) == ("kept", None, None)
    assert again.reason.endswith("passed verification at an earlier start")
    other_gpu = replace(container.facts, devices=(Gpu("NVIDIA A40", "8.6", 1, 1),))
    container.facts, facts = other_gpu, container.facts
    assert container.ensure(defer=True).decision == "deferred"
    container.facts = replace(facts, driver="999")
    assert container.ensure(defer=True).decision == "deferred"
    container.facts = facts
    (image_packages(container) / "flash_attn" / "__init__.py").write_text(RIGHT + "# changed")
    assert container.ensure(defer=True).decision == "deferred"


@pytest.mark.parametrize("code", [RAISES, WRONG, ABORTS])
def test_one_that_the_handler_found_broken_is_never_imported_and_removed_at_the_next_start(
    container: Container, in_handler: Callable[[FlashAttnOutcome], str], code: str
) -> None:
    put(container, image_packages(container), code, imported=False)
    forget_owner(container)
    first = container.ensure(defer=True)
    assert first.decision == "deferred"
    assert in_handler(first) == "None False False"
    again = container.ensure(defer=True)
    assert (again.decision, import_in(container, again)) == ("removed", "absent")


def test_where_nothing_can_be_hidden_boot_verifies_at_once(container: Container, tmp_path: Path) -> None:
    put(container, image_packages(container), RIGHT, imported=False)
    (tmp_path / "file").write_text("")
    outcome = container.ensure(defer=True, overlay_dir=tmp_path / "file")
    assert (outcome.decision, import_in(container, outcome)) == ("kept", "works")


@pytest.mark.parametrize(
    ("options", "capability", "reason"),
    [
        ({"mode": "off"}, "8.9", "F5_FLASH_ATTN is off; installed"),
        ({"unused": "F5_ATTENTION=triton does not use flash-attn"}, "8.9", "F5_ATTENTION=triton does not use"),
        ({}, "7.5", "this GPU has 7.5; installed"),
    ],
)
def test_one_that_is_not_used_is_hidden_without_running_it(
    container: Container, options: dict[str, Any], capability: str, reason: str
) -> None:
    put(container, image_packages(container), ABORTS, imported=False)
    container.facts = replace(container.facts, devices=(Gpu("a GPU", capability, 1, 1),))
    outcome = container.ensure(**options)
    assert (outcome.decision, outcome.backend) == ("off", "sdpa")
    assert reason in outcome.reason
    assert import_in(container, outcome) == "absent"
    assert (image_packages(container) / "flash_attn").exists()


def test_installed_sees_namespace_packages(scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """flash-attn-4 without flash-attn installs `flash_attn/cute` and no `flash_attn/__init__.py`."""
    (tmp_path / "flash_attn" / "cute").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = installed(scratch, 30)
    assert found is not None
    assert found.location == str(tmp_path)
