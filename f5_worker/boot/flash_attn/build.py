"""flash-attn from its source distribution, for one GPU architecture, into the cache as a wheel.

Only with the kernels that this worker runs (nvcc_front.py), so such a wheel is for this worker alone.

Also a program, `python -m f5_worker.boot.flash_attn.build '{...}'`: the builder that goes on beside a serving worker.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from f5_worker import process as child
from f5_worker.boot.flash_attn.install import PIP
from f5_worker.boot.flash_attn.wheels import Wheel, build_arch, estimate_build
from f5_worker.boot.probe.probe import ProbeResult
from f5_worker.storage import files as cache

FAILED_NOTE, LEASE_NAME, LOG_NAME = "build.failed", "build.lease", "build.log"
LOG_LINES = 30
NICENESS = "10"
NVCC_FRONT = Path(__file__).with_name("nvcc_front.py")
REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class BuildLimits:
    """What a build may take, and what it needs.

    `tools` have to be in the environment already: torch's headers and ABI count, so there is no build isolation.
    Those are its setup_requires, which setuptools would fetch unpinned; and without ninja one file is compiled
    at a time, which takes 2 h (README of flash-attention).
    """

    total_s: float = 7_200.0
    free_bytes: int = 10 << 30
    failed_ttl_s: float = 86_400.0
    tools: tuple[str, ...] = ("setuptools", "wheel", "packaging", "psutil", "ninja")
    compiler: str = "c++"
    pip_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildRequest:
    """One build, as JSON for the builder's command line."""

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
    """In one line; `log` has the last lines of the build."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


def obstacle(facts: ProbeResult, limits: BuildLimits, work_dir: Path) -> str | None:
    """Why a build cannot work here, found out before anything is fetched."""
    nvcc, cuda = facts.nvcc, facts.cuda or ""
    if nvcc is None:
        return "nvcc is not installed"
    if nvcc.split(".")[0] != cuda.split(".")[0]:
        return f"nvcc is {nvcc}, torch was built with CUDA {cuda}: the majors have to be equal"
    arch = build_arch(facts.capability)
    if arch in ("100", "120") and tuple(int(part) for part in nvcc.split(".")) < (12, 8):
        return f"compute capability {facts.capability} needs nvcc 12.8; this is {nvcc}"
    if shutil.which(limits.compiler) is None:
        return f"the C++ compiler {limits.compiler} is not installed"
    if missing := _missing_tools(facts.executable, limits.tools):
        return f"not installed: {', '.join(missing)}"
    work_dir.mkdir(parents=True, exist_ok=True)
    free = cache.free_bytes(work_dir)
    if free < limits.free_bytes:
        return f"{free} bytes are free, {limits.free_bytes} are needed"
    return None


def request(facts: ProbeResult, sdist: Wheel, cache_dir: Path, work_dir: Path, limits: BuildLimits) -> BuildRequest:
    """One build for this GPU only, with as many jobs as cores and memory allow."""
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
    """The wheel that an earlier build left, if it is intact."""
    found = sorted(cache_dir.glob(f"flash_attn-{version}-*.whl"))
    return next((path for path in found if cache.intact(path, None)), None)


def under_way(cache_dir: Path) -> bool:
    path = cache_dir / LEASE_NAME
    return path.exists() and cache.age_s(path) < cache.STALE_LEASE_S


def build(order: BuildRequest, on_tick: Callable[[], None] = lambda: None) -> Path:
    """Build and cache. Whatever happens, nothing of it stays in the working directory.

    Raises:
        BuildFailed: also noted in the cache, so that not every start tries it again.
    """
    cache_dir = Path(order.cache_dir)
    room = cache.temporary_beside(Path(order.work_dir) / "build")
    try:
        (room / "tmp").mkdir(parents=True)
        return _keep(_compile(order, room, on_tick), cache_dir)
    except OSError as error:
        raise _noted(BuildFailed(cache.explain(error)), order) from error
    except BuildFailed as error:
        raise _noted(error, order) from None
    finally:
        shutil.rmtree(room, ignore_errors=True)


def start_detached(order: BuildRequest) -> int:
    """Begin a build that outlives this process and the handler that replaces it; its process id."""
    with (Path(order.cache_dir) / LOG_NAME).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            [order.python, "-m", "f5_worker.boot.flash_attn.build", json.dumps(asdict(order))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            start_new_session=True,
        )
    return process.pid


def main(text: str) -> int:
    """The detached builder: at most one for each cache directory."""
    raw = json.loads(text)
    order = BuildRequest(**{**raw, "pip_args": tuple(raw["pip_args"])})
    cache_dir = Path(order.cache_dir)
    with cache.lease(cache_dir / LEASE_NAME, wait_s=0) as turn:
        if not turn.held or built_wheel(cache_dir, order.version):
            return 0
        try:
            wheel = build(order, turn.heartbeat)
        except BuildFailed as error:
            sys.stdout.write(f"{error.log}\n{error}\n")
            return 1
    sys.stdout.write(f"built {wheel.name}\n")
    return 0


def _compile(order: BuildRequest, room: Path, on_tick: Callable[[], None]) -> Path:
    """Through pip, which knows the index, the proxy and the hash, and unpacks safely."""
    wanted = room / "requirements.txt"
    wanted.write_text(f"flash-attn=={order.version} --hash=sha256:{order.sha256}\n")
    # No cache: pip's is keyed by the source alone and would hand out a wheel for another torch or GPU.
    options = ("--no-deps", "--no-build-isolation", "--no-binary", "flash-attn", "--no-cache-dir", "-v")
    nice = shutil.which("nice")
    lower = (nice, "-n", NICENESS) if nice else ()
    done = child.run(
        [*lower, order.python, *PIP, "wheel", *options, *order.pip_args, "-r", wanted, "-w", room / "out"],
        timeout_s=order.total_s,
        env=_environment(order, room),
        cwd=room,
        on_tick=on_tick,
    )
    found = list((room / "out").glob("flash_attn-*.whl"))
    if not done.ok or not found:
        raise BuildFailed(f"the build failed: {done.ending}", done.tail(LOG_LINES))
    return found[0]


def _environment(order: BuildRequest, room: Path) -> dict[str, str]:
    env = {
        **os.environ,
        "MAX_JOBS": str(order.jobs),
        "NVCC_THREADS": "1",  # one architecture leaves a second thread nothing to do
        "FLASH_ATTN_CUDA_ARCHS": order.arch,
        "FLASH_ATTENTION_FORCE_BUILD": "TRUE",  # setup.py would fetch the very wheel that did not work
        "TMPDIR": str(room / "tmp"),
        # ninja and the like lie beside the interpreter, also where no environment is activated.
        "PATH": f"{Path(order.python).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if order.cuda_home:
        nvcc = (order.python, "-I", str(NVCC_FRONT), f"{order.cuda_home}/bin/nvcc")
        # torch puts the words as they are into ninja's command; without ninja it calls nvcc itself, for all kernels.
        env |= {"CUDA_HOME": order.cuda_home, "PYTORCH_NVCC": shlex.join(nvcc)}
    return env


def _keep(wheel: Path, cache_dir: Path) -> Path:
    target = cache_dir / wheel.name
    temporary = cache.temporary_beside(target)
    try:
        shutil.copyfile(wheel, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        cache.note_sum(temporary, target)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _noted(error: BuildFailed, order: BuildRequest) -> BuildFailed:
    cache.Notes(Path(order.cache_dir)).put(FAILED_NOTE, str(error), order.failed_ttl_s)
    return error


def _missing_tools(python: str, tools: tuple[str, ...]) -> list[str]:
    code = "import importlib.util as u, sys; print(*[t for t in sys.argv[1:] if not u.find_spec(t)])"
    done = child.run([python, "-c", code, *tools], timeout_s=30.0, cwd=Path("/"))
    return done.last_line.split() if done.ok else [done.last_line]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
