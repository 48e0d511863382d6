"""The flash-attn of an image: the wheel that fits the base, the one that is asked for, or none."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from f5_worker.boot.bake_flash_attn import Refused, bake, why_not
from f5_worker.boot.flash_attn.wheels import WheelManifest
from f5_worker.boot.probe.probe import Environment
from tests.boot.flash_attn.release_server import RAISES, RIGHT, Releases
from tests.boot.flash_attn.support import FACTS, Container, filename, needs_pip, site_packages, wheel
from tests.test_container import lay_out

TORCH = """
import types
__version__ = "{version}"
version = types.SimpleNamespace(git_version="abc", cuda={cuda!r})
_C = types.SimpleNamespace(_GLIBCXX_USE_CXX11_ABI=False, _cuda_getArchFlags=lambda: "sm_80")
def init(): raise RuntimeError("Found no NVIDIA driver on your system.")
cuda = types.SimpleNamespace(init=init, is_available=lambda: False)
"""
BASE = Environment("3.11.9", "2.4.0+cu124", "12.4", False, "x86_64", "2.35", None)


@pytest.fixture
def base(scratch: Path) -> Iterator[Path]:
    """The packages of a base without a GPU, with the torch of FACTS."""
    packages = site_packages(scratch.parents[1])
    (packages / "torch.py").write_text(TORCH.format(version=FACTS.torch, cuda=FACTS.cuda))
    yield packages
    (packages / "torch.py").unlink()
    for path in packages.glob("flash_attn*"):
        shutil.rmtree(path)


@pytest.fixture
def container(server: Releases, tmp_path: Path) -> Container:
    server.assets.clear()
    server.requests.clear()
    return Container(server, tmp_path)


def manifest(container: Container) -> WheelManifest:
    """Return the manifest of the published wheels, at the test's server."""
    found = container.manifest()
    here = {name: replace(wheel, url=f"{container.releases.url}/{name}") for name, wheel in found.wheels.items()}
    return replace(found, wheels=here)


def version_in(base: Path) -> str | None:
    init = base / "flash_attn" / "__init__.py"
    return init.read_text().splitlines()[0].split('"')[1] if init.exists() else None


@needs_pip
def test_auto_takes_the_wheel_that_fits_and_imports(container: Container, base: Path, scratch: Path) -> None:
    container.publish({filename("2.8.3"): wheel(RAISES), filename("2.8.2"): wheel(RIGHT, "2.8.2")})
    said = bake("auto", container.root, str(scratch), manifest(container))
    assert said == "flash-attn 2.8.2 is installed and imports; it is run at the first start on a GPU"
    assert version_in(base) == "2.8.2"
    assert bake("auto", container.root, str(scratch), manifest(container)) == (
        "the base has flash-attn 2.8.2, which imports"
    )


@needs_pip
def test_auto_leaves_it_out_where_every_wheel_is_broken(container: Container, base: Path, scratch: Path) -> None:
    container.publish({filename(version): wheel(RAISES, version) for version in ("2.8.3", "2.8.2")})
    said = bake("auto", container.root, str(scratch), manifest(container))
    assert said.startswith("flash-attn is left out: flash-attn was installed and does not import: ImportError")
    assert version_in(base) is None


@needs_pip
def test_auto_refuses_a_file_that_is_not_the_published_one(container: Container, base: Path, scratch: Path) -> None:
    container.publish({filename("2.8.3"): wheel()})
    expected = manifest(container)
    container.publish({filename("2.8.3"): wheel(RAISES)})
    with pytest.raises(Refused, match=r"HASHES.*FLASH_ATTN_WHEEL=none builds without it"):
        bake("auto", container.root, str(scratch), expected)
    assert version_in(base) is None


@pytest.mark.parametrize(
    ("torch", "cuda", "reason"),
    [
        ("2.9.1+cu130", "13.0", "no official flash-attn wheel for CUDA 13"),
        ("2.6.0+cu124", "12.4", "no hash is published"),
        ("2.8.0+cpu", None, "torch is built without CUDA"),
    ],
)
def test_auto_leaves_it_out_on_a_base_without_a_wheel(
    container: Container, base: Path, scratch: Path, torch: str, cuda: str | None, reason: str
) -> None:
    (base / "torch.py").write_text(TORCH.format(version=torch, cuda=cuda))
    said = bake("auto", container.root, str(scratch))
    assert said.startswith("flash-attn is left out: ")
    assert reason in said
    assert not container.releases.requests
    assert version_in(base) is None


@needs_pip
def test_a_wheel_that_is_asked_for_is_installed_or_the_build_fails(
    container: Container, base: Path, scratch: Path, tmp_path: Path
) -> None:
    name, body = filename("2.8.3"), wheel()
    container.publish({name: body})
    url = f"{container.releases.url}/{name.replace('+', '%2B')}"
    assert "2.8.3 is installed" in bake(f"{url}#sha256={hashlib.sha256(body).hexdigest()}", tmp_path, str(scratch))
    (tmp_path / filename("2.8.2")).write_bytes(wheel(RIGHT, "2.8.2"))
    assert "2.8.2 is installed" in bake(f"wheels/{filename('2.8.2')}", tmp_path, str(scratch))
    assert version_in(base) == "2.8.2"
    for wanted, reason in (
        (url, "has no sha256: FLASH_ATTN_WHEEL=URL#sha256=SUM"),
        (f"{url}#sha256={'0' * 64}", "HASHES"),
        ("wheels/flash_attn-1.whl", "flash_attn-1.whl is not in the directory wheels/"),
    ):
        with pytest.raises(Refused, match=reason):
            bake(wanted, tmp_path, str(scratch))
    for wanted in (url, f"{url}#sha256={'0' * 64}"):
        with pytest.raises(Refused) as refused:
            bake(wanted.replace("://", "://me:password@"), tmp_path, str(scratch))
        assert "password" not in str(refused.value)
    (tmp_path / name).write_bytes(wheel(RAISES))
    with pytest.raises(Refused, match="does not import: ImportError"):
        bake(name, tmp_path, str(scratch))


def test_none_needs_nothing() -> None:
    assert "left out" in bake("none", Path("/nonexistent"), "/nonexistent/python")


def test_a_base_without_torch_is_named(base: Path, scratch: Path) -> None:
    (base / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    with pytest.raises(Refused, match="torch is not installed"):
        bake("auto", Path("/"), str(scratch))


OURS = "flash_attn-2.8.3+cu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (OURS, None),
        ("flash_attn-2.8.3.post2-cp311-cp311-linux_x86_64.whl", None),
        ("flash_attn-2.8.3+cu124torch2.4-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl", None),
        (OURS.replace("cp311", "cp310"), "is for Python 3.10, this base has 3.11"),
        (OURS.replace("2.4cxx", "2.6cxx"), "is for torch 2.6, this base has 2.4"),
        (OURS.replace("cu12", "cu13"), "is for CUDA 13, this base has 12"),
        (OURS.replace("FALSE", "TRUE"), "is for C++11 ABI TRUE, this base has FALSE"),
        (OURS.replace("x86_64", "aarch64"), "is for machine aarch64, this base has x86_64"),
        (
            OURS.replace("cp311", "cp310").replace("2.4cxx", "2.8cxx"),
            "for Python 3.10, this base has 3.11; for torch 2.8",
        ),
        ("wheel.whl", "is not the name of a flash-attn wheel"),
        ("flash_attn-2.8.3.tar.gz", "is not the name of a flash-attn wheel"),
        (OURS.replace("linux", "win"), "is not the name of a flash-attn wheel"),
    ],
)
def test_a_wheel_for_another_base_is_refused_by_its_name(name: str, reason: str | None) -> None:
    found = why_not(name, BASE)
    assert found is None if reason is None else reason in str(found)


def test_what_is_copied_before_it_suffices(tmp_path: Path, base: Path, scratch: Path) -> None:
    (base / "torch.py").write_text(TORCH.format(version="2.8.0+cpu", cuda=None))
    app = lay_out(tmp_path / "app", until="f5_worker.boot.bake_flash_attn")
    command = [scratch, "-m", "f5_worker.boot.bake_flash_attn", "auto", tmp_path]
    done = subprocess.run(command, cwd=app, capture_output=True, text=True, check=False)
    assert done.stdout == "flash-attn is left out: torch is built without CUDA\n", done.stderr
