"""The time and memory that building flash-attn from source takes: `python bench/flash_attn_build.py`.

Runs boot's builder for one GPU architecture and measures each call of nvcc: processor time and the largest process.
The wheel is then installed into an overlay and imported. Neither needs a GPU.

Run it with an interpreter that has a CUDA torch, einops and the build tools; nvcc has to be of torch's CUDA major.
Writes bench/results/flash-attn-build.json, and exits with 1 if the build or the import failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is not an installed package
from f5_worker.boot.flash_attn import build, install  # noqa: E402
from f5_worker.boot.flash_attn.wheels import load_manifest  # noqa: E402
from f5_worker.boot.probe.probe import Device, probe  # noqa: E402


def compile_measured(log: Path, nvcc: str, arguments: Sequence[str]) -> int:
    """Run nvcc and log the processor time and memory of the compilation of a file; return its exit code."""
    process = subprocess.Popen([nvcc, *arguments])
    _, status, used = os.wait4(process.pid, 0)
    sources = [Path(word).name for word in arguments if word.endswith(".cu")]
    if sources:
        cpu_s, gib = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
        with log.open("a") as lines:
            lines.write(json.dumps({"file": sources[0], "cpu_s": round(cpu_s, 1), "gib": round(gib, 2)}) + "\n")
    return os.waitstatus_to_exitcode(status)


def measured_cuda(real: Path, home: Path, log: Path) -> Path:
    """Create a CUDA_HOME like the real one, with an nvcc that logs its time and memory to `log`."""
    (home / "bin").mkdir(parents=True)
    for entry in real.iterdir():
        if entry.name != "bin":
            (home / entry.name).symlink_to(entry)
    nvcc = home / "bin" / "nvcc"
    command = (sys.executable, str(Path(__file__).resolve()), "--compile", str(log), str(real / "bin" / "nvcc"))
    nvcc.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    nvcc.chmod(0o755)
    return home


def why_no_import(wheel: Path, overlay: Path) -> str | None:
    """Return the error of `import flash_attn`, or None if it works; it resolves every symbol of the extension."""
    install.install(wheel, overlay, python=sys.executable, timeout_s=300)
    code = f"import torch, sys; sys.path.insert(0, {str(overlay)!r}); import flash_attn_2_cuda, flash_attn"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def measure(capability: str | None, jobs: int | None, keep: Path | None, limits: build.BuildLimits) -> dict[str, Any]:
    """Build once in an empty cache; return the time and memory of the whole build and of each file."""
    with tempfile.TemporaryDirectory(prefix="flash-attn-build-") as directory:
        cache, work, cuda, log = (Path(directory) / name for name in ("cache", "work", "cuda", "compiled.jsonl"))
        cache.mkdir()
        facts = probe(timeout_s=120, paths=[cache])
        if capability is not None:
            facts = dataclasses.replace(facts, devices=(Device("", capability, 0, None),))
        if problem := build.obstacle(facts, limits, work):
            sys.exit(f"nothing to measure: {problem}")
        facts = dataclasses.replace(facts, cuda_home=str(measured_cuda(Path(str(facts.cuda_home)), cuda, log)))
        request = build.request_for(facts, load_manifest().sdist, cache, work, limits)
        request = dataclasses.replace(request, jobs=jobs or request.jobs)
        wheel, failure, size = None, None, None
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        try:
            wheel = build.build(request)
        except build.BuildFailed as error:
            failure = [str(error), *error.log.splitlines()]
        after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - started
        if wheel is not None:
            size, failure = wheel.stat().st_size, why_no_import(wheel, work / "overlay")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(wheel, keep)
        compiled = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    core_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "version": request.version,
        "arch": request.arch,
        "torch": facts.torch,
        "nvcc": facts.nvcc,
        "cores": facts.cores,
        "memory_gib": round(facts.memory_bytes / 2**30, 1),
        "jobs": request.jobs,
        "wall_s": round(wall_s, 1),
        "core_s": round(core_s, 1),
        "nvcc_core_s": round(sum(file["cpu_s"] for file in compiled), 1),
        "largest_process_gib": round(after.ru_maxrss / 2**20, 2),
        "failure": failure,
        "wheel_bytes": size,
        "compiled_by_nvcc": compiled,
    }


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.argv[1:2] == ["--compile"]:
        log, nvcc, *arguments = sys.argv[2:]
        return compile_measured(Path(log), nvcc, arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", help="of the GPU to build for, such as 9.0; default: of this machine")
    parser.add_argument("--jobs", type=int, help="parallel compilers; by default as boot would")
    parser.add_argument("--limit-s", type=float, default=7_200.0)
    parser.add_argument("--find-links", type=Path, help="a directory with the sdist, for use without an index")
    parser.add_argument("--keep", type=Path, help="a directory to copy the wheel to")
    options = parser.parse_args()
    offline = ("--no-index", "--find-links", str(options.find_links.resolve())) if options.find_links else ()
    limits = build.BuildLimits(total_s=options.limit_s, pip_args=offline)
    result = measure(options.capability, options.jobs, options.keep, limits)
    record("flash-attn-build", result)
    return 1 if result["failure"] else 0


if __name__ == "__main__":
    sys.exit(main())
