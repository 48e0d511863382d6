"""The build from source, with a source distribution whose setup.py succeeds, fails, hangs or is killed."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn import build
from f5_worker.boot.flash_attn.install_run import FlashAttnOutcome
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.storage import files
from tests.boot.flash_attn.release_server import PADDING, RAISES, RIGHT, Releases, make_wheel
from tests.boot.flash_attn.support import (
    FACTS,
    GIB,
    SDIST_VERSION,
    Container,
    import_of,
    kernel_file,
    needs_compiler,
    needs_pip,
)

SETUP = """
import os, pathlib, subprocess, sys, time
print("jobs", os.environ["MAX_JOBS"], "archs", os.environ["FLASH_ATTN_CUDA_ARCHS"], "nice", os.nice(0), flush=True)
{before}
from setuptools import setup
setup(name="flash_attn", version="{version}", packages=["flash_attn"])
"""
SLEEPER = "subprocess.Popen(['sleep', '60']); print('compiling', flush=True); time.sleep(60)"


def make_sdist(folder: Path, before: str = "", code: str = RIGHT) -> str:
    """Write the archive and return its sha256."""
    name = f"flash_attn-{SDIST_VERSION}"
    entries = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: flash_attn\nVersion: {SDIST_VERSION}\n",
        "setup.py": SETUP.format(before=before, version=SDIST_VERSION),
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        "flash_attn/__init__.py": f'__version__ = "{SDIST_VERSION}"\n{code}\n',
        "flash_attn/bert_padding.py": PADDING,
    }
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path, text in entries.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.tar.gz").write_bytes(data.getvalue())
    return hashlib.sha256(data.getvalue()).hexdigest()


@pytest.fixture
def container(server: Releases, tmp_path: Path) -> Container:
    return Container(server, tmp_path)


def limits(container: Container, **changes: float) -> build.BuildLimits:
    index = ("--no-index", "--find-links", str(container.root / "index"))
    usual = build.BuildLimits(total_s=60, free_bytes=1 << 20, tools=(), compiler="true", pip_args=index)
    return replace(usual, **changes)  # type: ignore[arg-type]


def run(container: Container, before: str = "", code: str = RIGHT, **changes: float) -> FlashAttnOutcome:
    container.sdist_sha256 = make_sdist(container.root / "index", before, code)
    return container.ensure(build="always", build_limits=limits(container, **changes))


def check_nothing_left(container: Container, outcome: FlashAttnOutcome) -> None:
    assert outcome.backend == "sdpa"
    assert import_of(outcome, os.environ) == "absent"
    assert not [path for path in container.root.rglob("*") if path.name.startswith(".")]
    assert not list(container.cache.glob("*.whl"))


def sleepers() -> int:
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += path.read_bytes() == b"sleep\x0060\x00"
        except OSError:
            continue
    return count


@needs_pip
@pytest.mark.e2e
def test_built_once_for_the_whole_endpoint(container: Container, tmp_path: Path) -> None:
    outcome = run(container)
    assert (outcome.decision, outcome.backend, outcome.version) == ("built", "flash_attn", SDIST_VERSION)
    assert import_of(outcome, os.environ) == "works"
    assert not container.temporaries()
    other = container.ensure(build="never", overlay_dir=tmp_path / "other")
    assert (other.decision, "built earlier" in other.reason) == ("built", True)
    # A damaged wheel is not installed.
    wheel = build.built_wheel(container.cache, SDIST_VERSION)
    assert wheel is not None
    wheel.write_bytes(b"half")
    assert container.ensure(build="never", overlay_dir=tmp_path / "third").backend == "sdpa"


@needs_pip
@needs_compiler
@pytest.mark.e2e
def test_only_the_kernels_of_this_worker_reach_nvcc(container: Container, tmp_path: Path) -> None:
    nvcc = tmp_path / "cuda" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\necho \"$@\" >> '{tmp_path}/nvcc.log'\n")
    nvcc.chmod(0o755)
    container.facts = replace(FACTS, cuda_home=str(tmp_path / "cuda"))
    kept, left_out = (kernel_file(tmp_path, kind, "half_t", 64, False) for kind in ("fwd", "bwd"))
    # Like ninja: the text of PYTORCH_NVCC before its own arguments, passed to the shell.
    compiles = [f"os.system(os.environ['PYTORCH_NVCC'] + ' -c {source} -o {source}.o')" for source in (kept, left_out)]
    assert run(container, "; ".join(compiles)).decision == "built"
    # Twice: pip runs setup.py once for the name and once for the wheel.
    assert set((tmp_path / "nvcc.log").read_text().splitlines()) == {f"-c {kept} -o {kept}.o"}
    assert Path(f"{left_out}.o").exists()


@needs_pip
@pytest.mark.e2e
def test_failed(container: Container) -> None:
    outcome = run(container, "sys.exit('nvcc fatal: Unsupported gpu architecture')")
    assert "nvcc fatal: Unsupported gpu architecture" in outcome.log_tail
    assert "jobs 12 archs 80 nice" in outcome.log_tail
    assert "the build failed: exit code 1" in outcome.reason
    check_nothing_left(container, outcome)
    again = container.ensure(build="auto", build_limits=limits(container), seconds_left=10**5)
    assert "tried recently, the build failed: exit code 1" in again.reason


@needs_pip
@pytest.mark.e2e
def test_exceeds_its_time_limit(container: Container) -> None:
    before, started = sleepers(), time.monotonic()
    outcome = run(container, SLEEPER, total_s=2.0)
    assert "no answer within 2 s" in outcome.reason
    assert "compiling" in outcome.log_tail
    assert sleepers() == before
    assert time.monotonic() - started < 10
    check_nothing_left(container, outcome)


@needs_pip
@pytest.mark.e2e
def test_killed(container: Container) -> None:
    outcome = run(container, "print('Killed', flush=True); os.kill(os.getppid(), 9)")
    assert "the build failed" in outcome.reason
    check_nothing_left(container, outcome)


@needs_pip
@pytest.mark.e2e
def test_hash_of_the_source_is_checked(container: Container) -> None:
    make_sdist(container.root / "index")
    outcome = container.ensure(build="always", build_limits=limits(container))
    assert "DO NOT MATCH THE HASHES" in outcome.log_tail
    check_nothing_left(container, outcome)


@pytest.mark.usefixtures("unpacked")
def test_built_but_broken(container: Container) -> None:
    """It is verified at the next start; then it is neither used nor built again."""
    container.cache.mkdir(parents=True)
    path = container.cache / f"flash_attn-{SDIST_VERSION}-py3-none-any.whl"
    path.write_bytes(make_wheel(RAISES, SDIST_VERSION, "py3-none-any"))
    files.write_checksum(path, path)
    outcome = container.ensure(build="always", build_limits=limits(container))
    assert f"{path.name}: failed verification" in outcome.reason
    check_nothing_left(container, outcome)
    again = container.ensure(build="auto", build_limits=limits(container), seconds_left=10**5)
    assert "not built: tried recently, the build failed verification" in again.reason


@needs_pip
@pytest.mark.e2e
def test_background(container: Container) -> None:
    container.sdist_sha256 = make_sdist(container.root / "index")
    outcome = container.ensure(build="background", build_limits=limits(container))
    assert outcome.backend == "sdpa"
    assert "being built for the next start" in outcome.reason
    deadline = time.monotonic() + 30
    while not build.built_wheel(container.cache, SDIST_VERSION) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert container.ensure(build="background", build_limits=limits(container)).decision == "built"


@pytest.mark.parametrize(
    ("changes", "build_mode", "reason"),
    [
        ({}, "never", "F5_FLASH_ATTN_BUILD is never"),
        ({"nvcc": None}, "always", "nvcc is not installed"),
        ({"nvcc": "13.0"}, "always", "nvcc is 13.0, torch was built with CUDA 12.4"),
        ({}, "auto", "it is estimated at 580 s with 12 jobs, and 2"),
        ({"cores": 2.0}, "auto", "with 2 jobs"),
    ],
)
def test_not_started(container: Container, changes: dict[str, object], build_mode: str, reason: str) -> None:
    container.facts = replace(FACTS, **changes)  # type: ignore[arg-type]
    outcome = container.ensure(build=build_mode, build_limits=limits(container))
    assert reason in outcome.reason
    assert outcome.backend == "sdpa"


def test_obstacles(tmp_path: Path) -> None:
    usual = build.BuildLimits(free_bytes=1, tools=(), compiler="true")
    assert build.obstacle(FACTS, usual, tmp_path) is None
    assert "needs nvcc 12.8" in str(build.obstacle(_blackwell(), usual, tmp_path))
    no_compiler = replace(usual, compiler="no-such-compiler")
    assert build.obstacle(FACTS, no_compiler, tmp_path) == "the C++ compiler no-such-compiler is not installed"
    no_tools = replace(usual, tools=("json", "no_such_tool"))
    assert build.obstacle(FACTS, no_tools, tmp_path) == "not installed: no_such_tool"
    full = replace(usual, free_bytes=1 << 60)
    assert "are free, 1152921504606846976 are needed" in str(build.obstacle(FACTS, full, tmp_path))


def _blackwell() -> ProbeResult:
    return replace(FACTS, devices=(replace(FACTS.devices[0], capability="12.0"),))


def test_the_request_fits_the_machine(tmp_path: Path) -> None:
    sdist = Container(Releases(), tmp_path).manifest().sdist
    request = build.request_for(replace(FACTS, memory_bytes=12 * GIB), sdist, tmp_path, tmp_path, build.BuildLimits())
    assert (request.jobs, request.arch, request.python) == (2, "80", sys.executable)


def test_the_lease_of_a_dead_process_does_not_delay_others(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    path.write_text(f"{os.uname().nodename} 999999999")
    started = time.monotonic()
    with files.lease(path, wait_s=60) as lease:
        assert lease.held
    assert time.monotonic() - started < 20
    path.write_text("another-host 1")
    with files.lease(path, wait_s=0.2) as lease:
        assert not lease.held
    os.utime(path, (0, time.time() - 600))
    with files.lease(path, wait_s=5) as lease:
        assert lease.held
    assert not path.exists()
