"""Build of flash-attn from its source distribution, for one GPU architecture, as a wheel in the cache.

The wheel has only the kernels that this worker runs (nvcc_front.py), so it is for this worker only.

Also a program, `python -m f5_worker.boot.flash_attn.build '{...}'`: the builder that runs while the worker serves.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from f5_worker import process
from f5_worker.boot.flash_attn.install import PIP
from f5_worker.boot.flash_attn.wheels import Wheel, build_arch, estimate_build
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.storage import files

FAILED_NOTE, LEASE_NAME, LOG_NAME = "build.failed", "build.lease", "build.log"
LOG_LINES = 30
NICENESS = "10"
NVCC_FRONT = Path(__file__).with_name("nvcc_front.py")
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class BuildLimits:
    """The limits and requirements of a build.

    `tools` have to be installed already: the build needs torch's headers and ABI, so there is no build isolation.
    They are flash-attn's setup_requires, which setuptools would download unpinned, and ninja: without it, one file
    is compiled at a time, which takes 2 h (README of flash-attention).
    """

    total_s: float = 7_200.0
    free_bytes: int = 10 << 30
    failed_ttl_s: float = 86_400.0
    tools: tuple[str, ...] = ("setuptools", "wheel", "packaging", "psutil", "ninja")
    compiler: str = "c++"
    pip_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildRequest:
    """One build; passed as JSON on the builder's command line."""

    python: str
    version: str
    sha256: str
    cache_dir: str
    work_dir: str
    arch: str
    jobs: int
    total_s: float
    failed_ttl_s: float
    cuda_home: str | None
    pip_args: tuple[str, ...] = ()


class BuildFailed(Exception):
    """The message is one line; `log` has the last lines of the build."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


def obstacle(facts: ProbeResult, limits: BuildLimits, work_dir: Path) -> str | None:
    """Return why a build cannot work here, before anything is downloaded, or None if it may."""
    nvcc, cuda = facts.nvcc, facts.cuda or ""
    if nvcc is None:
        return "nvcc is not installed"
    if nvcc.split(".")[0] != cuda.split(".")[0]:
        return f"nvcc is {nvcc}, torch was built with CUDA {cuda}: the major versions have to be equal"
    arch = build_arch(facts.capability)
    if arch in ("100", "120") and tuple(int(part) for part in nvcc.split(".")) < (12, 8):
        return f"compute capability {facts.capability} needs nvcc 12.8; this is {nvcc}"
    if shutil.which(limits.compiler) is None:
        return f"the C++ compiler {limits.compiler} is not installed"
    if missing := _missing_tools(facts.executable, limits.tools):
        return f"not installed: {', '.join(missing)}"
    work_dir.mkdir(parents=True, exist_ok=True)
    free = files.free_bytes(work_dir)
    if free < limits.free_bytes:
        return f"{free} bytes are free, {limits.free_bytes} are needed"
    return None


def request_for(facts: ProbeResult, sdist: Wheel, cache_dir: Path, work_dir: Path, limits: BuildLimits) -> BuildRequest:
    """Return a build for this GPU only, with as many jobs as cores and memory allow."""
    return BuildRequest(
        python=facts.executable,
        version=sdist.version,
        sha256=str(sdist.sha256),
        cache_dir=str(cache_dir),
        work_dir=str(work_dir),
        arch=str(build_arch(facts.capability)),
        jobs=estimate_build(facts.cores, facts.memory_bytes).jobs,
        total_s=limits.total_s,
        failed_ttl_s=limits.failed_ttl_s,
        cuda_home=facts.cuda_home,
        pip_args=limits.pip_args,
    )


def built_wheel(cache_dir: Path, version: str) -> Path | None:
    """Return the wheel of an earlier build, or None if there is none that is intact."""
    found = sorted(cache_dir.glob(f"flash_attn-{version}-*.whl"))
    return next((path for path in found if files.is_intact(path, None)), None)


def is_running(cache_dir: Path) -> bool:
    """Return whether another process holds the lease of the builder."""
    path = cache_dir / LEASE_NAME
    return path.exists() and files.age_s(path) < files.STALE_LEASE_S


def build(request: BuildRequest, on_tick: Callable[[], None] = lambda: None) -> Path:
    """Build a wheel, put it into the cache and return its path; the working directory is emptied in any case.

    Raises:
        BuildFailed: also noted in the cache, so that not every start tries it again.
    """
    cache_dir = Path(request.cache_dir)
    build_dir = files.temporary_beside(Path(request.work_dir) / "build")
    try:
        (build_dir / "tmp").mkdir(parents=True)
        return _put_into_cache(_compile(request, build_dir, on_tick), cache_dir)
    except OSError as error:
        raise _noted(BuildFailed(files.explain(error)), request) from error
    except BuildFailed as error:
        raise _noted(error, request) from None
    finally:
        shutil.rmtree(build_dir, ignore_errors=True)


def start_detached(request: BuildRequest) -> int:
    """Start a builder that outlives this process and the handler that replaces it; return its process id."""
    command = [request.python, "-m", "f5_worker.boot.flash_attn.build", json.dumps(asdict(request))]
    return process.start_detached(command, log=Path(request.cache_dir) / LOG_NAME, cwd=REPOSITORY)


def main(text: str) -> int:
    """Run the detached builder, at most one for each cache directory, and return its exit code."""
    raw = json.loads(text)
    request = BuildRequest(**{**raw, "pip_args": tuple(raw["pip_args"])})
    cache_dir = Path(request.cache_dir)
    with files.lease(cache_dir / LEASE_NAME, wait_s=0) as lease:
        if not lease.held or built_wheel(cache_dir, request.version):
            return 0
        try:
            wheel = build(request, lease.heartbeat)
        except BuildFailed as error:
            sys.stdout.write(f"{error.log}\n{error}\n")
            return 1
    sys.stdout.write(f"built {wheel.name}\n")
    return 0


def _compile(request: BuildRequest, build_dir: Path, on_tick: Callable[[], None]) -> Path:
    """Build with pip, which knows the index, the proxy and the hash, and unpacks safely."""
    requirements = build_dir / "requirements.txt"
    requirements.write_text(f"flash-attn=={request.version} --hash=sha256:{request.sha256}\n")
    # No cache: the keys of pip's cache do not include torch and the GPU, so it could return a wheel for others.
    options = ("--no-deps", "--no-build-isolation", "--no-binary", "flash-attn", "--no-cache-dir", "-v")
    nice = shutil.which("nice")
    prefix = (nice, "-n", NICENESS) if nice else ()
    wheel_dir = build_dir / "out"
    done = process.run(
        [*prefix, request.python, *PIP, "wheel", *options, *request.pip_args, "-r", requirements, "-w", wheel_dir],
        timeout_s=request.total_s,
        env=_environment(request, build_dir),
        cwd=build_dir,
        on_tick=on_tick,
    )
    found = list(wheel_dir.glob("flash_attn-*.whl"))
    if not done.ok or not found:
        raise BuildFailed(f"the build failed: {done.ending}", done.tail(LOG_LINES))
    return found[0]


def _environment(request: BuildRequest, build_dir: Path) -> dict[str, str]:
    env = {
        **os.environ,
        "MAX_JOBS": str(request.jobs),
        "NVCC_THREADS": "1",  # for one architecture, a second thread has no work
        "FLASH_ATTN_CUDA_ARCHS": request.arch,
        "FLASH_ATTENTION_FORCE_BUILD": "TRUE",  # without it, setup.py would download the wheel that did not work
        "TMPDIR": str(build_dir / "tmp"),
        # ninja and other tools are next to the interpreter, which may not be on PATH.
        "PATH": f"{Path(request.python).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if request.cuda_home:
        nvcc = (request.python, "-I", str(NVCC_FRONT), f"{request.cuda_home}/bin/nvcc")
        # torch puts this text unchanged into ninja's command; without ninja, it calls nvcc itself for all kernels.
        env |= {"CUDA_HOME": request.cuda_home, "PYTORCH_NVCC": shlex.join(nvcc)}
    return env


def _put_into_cache(wheel: Path, cache_dir: Path) -> Path:
    target = cache_dir / wheel.name
    temporary = files.temporary_beside(target)
    try:
        shutil.copyfile(wheel, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        files.write_checksum(temporary, target)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _noted(error: BuildFailed, request: BuildRequest) -> BuildFailed:
    """Write a note about the error into the cache, and return the error."""
    files.ExpiringNotes(Path(request.cache_dir)).put(FAILED_NOTE, str(error), request.failed_ttl_s)
    return error


def _missing_tools(python: str, tools: tuple[str, ...]) -> list[str]:
    code = "import importlib.util as u, sys; print(*[t for t in sys.argv[1:] if not u.find_spec(t)])"
    done = process.run([python, "-c", code, *tools], timeout_s=30.0, cwd=Path("/"))
    return done.last_line.split() if done.ok else [done.last_line]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
