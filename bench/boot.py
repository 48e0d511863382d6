"""The time of boot, the phases of a start, and what a flash-attn in the image adds to a cold start.

    python bench/boot.py                           boot, as after a start that was ready and after one that died, when
                                                   the probe imports torch; writes bench/results/boot.json
    python bench/boot.py --start                   each phase of a start: with what is done while torch is imported and
                                                   without, and after one that died; writes
                                                   bench/results/start-<device>-<torch>.json
    python bench/boot.py --flash-attn WHEEL        cold starts with and without it; needs a GPU
                                                   writes bench/results/boot-flash-attn-<device>-<torch>.json

A cold start is boot and the loading of a model of F5TTS_v1_Base's size with random weights, until it is ready for
jobs. The cases alternate in new processes; the results are medians. Triton's compiled kernels are there in each.
`first`: this image has not started on this kind of machine before, so that flash-attn is not yet verified and attention
not chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 7
START_ROUNDS = 4
TUNED_S = 60.0

sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is not an installed package
from f5_worker.boot.starts import StartLog  # noqa: E402 - the same


@dataclass(frozen=True)
class Case:
    """A kind of start: with flash-attn or without, the first one or a later one."""

    name: str
    has_wheel: bool
    is_first: bool = False
    setting: str = "auto"
    reads_ahead: bool = True
    after_death: bool = False


CASES = (
    Case("without, first", has_wheel=False, is_first=True),
    Case("without", has_wheel=False),
    Case("with, first", has_wheel=True, is_first=True),
    Case("with", has_wheel=True),
    Case("required, first", has_wheel=True, is_first=True, setting="require"),
    Case("required", has_wheel=True, setting="require"),
)  # in this order: each first start leaves what the later one finds
STARTS = (
    Case("ahead", has_wheel=False),
    Case("not ahead", has_wheel=False, reads_ahead=False),
    Case("after a death", has_wheel=False, after_death=True),
)
BEFORE_TORCH = ("environment", "probe", "flash_attn", "weights", "extras", "context", "read_ahead", "torch")


def seconds(command: list[str], *, after_death: bool = False) -> float:
    """Return the wall time of a command."""
    environment = os.environ | {"F5_MODEL": "f5-tiny", "F5_CACHE_DIR": "/tmp/f5-bench-cache", "HF_HUB_OFFLINE": "1"}
    set_last_start(environment, has_died=after_death)
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def set_last_start(environment: Mapping[str, str], *, has_died: bool) -> None:
    """Let boot find a start that ended without a word, after which its probe imports torch, or none."""
    log = StartLog.of(environment)
    log.path.unlink(missing_ok=True)
    if has_died:
        log.begin(environment)


def measure_boot() -> dict[str, Any]:
    """Return the time of boot without a flash-attn, and of `import torch`."""
    bare = [sys.executable, "-c", "import torch"]
    boot = [sys.executable, "model_cache_init.py", "run", "--then", "true"]
    rounds = [(seconds(bare), seconds(boot), seconds(boot, after_death=True)) for _ in range(ROUNDS + 1)]
    columns = zip(*rounds[1:], strict=True)  # the first warms the disk cache
    torch_s, boot_s, after_death_s = (round(statistics.median(column), 3) for column in columns)
    return {"import_torch_s": torch_s, "boot_s": boot_s, "boot_after_a_death_s": after_death_s, "rounds": ROUNDS}


def become_ready(*, reads_ahead: bool) -> None:
    """Be the handler that boot starts: load, say when that is done, then say what attention was chosen."""
    from f5_worker.boot.report import read_report
    from f5_worker.models import ahead
    from f5_worker.server.startup import load_worker
    from f5_worker.settings import load_settings

    if not reads_ahead:
        ahead.begin = lambda settings, open_driver=None: {}
    worker = load_worker(load_settings())
    print("READY", flush=True)
    for thread in threading.enumerate():
        if thread.name == "capture":
            thread.join(TUNED_S)
    import torch

    runner: Any = worker.models.default
    found = {
        "device": runner.device,
        "torch": torch.__version__,
        "attention": {name: best._asdict() for name, best in runner.attention.items()},
        "boot": read_report(),
    }
    print("TUNED " + json.dumps(found), flush=True)
    os._exit(0)


def start(case: Case, home: Path, site: Path) -> dict[str, Any]:
    """Start once; return the seconds until it was ready, and what it found."""
    cache, overlay = home / "cache" / str(case.has_wheel), home / "overlay"
    shutil.rmtree(overlay, ignore_errors=True)  # it is in the container, which is a new one
    if case.is_first:
        shutil.rmtree(cache / "flash-attn", ignore_errors=True)
        for choice in cache.glob("triton/f5-*.json"):
            choice.unlink()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("F5_")} | {
        "F5_MODEL": str(home / "model"),
        "F5_CACHE_DIR": str(cache),
        "F5_OVERLAY_DIR": str(overlay),
        "F5_ASR_MODEL": "off",
        "F5_WARM_UP_S": "0",  # the same with and without: graphs are captured beside the first jobs
        "F5_FLASH_ATTN": case.setting,
        "HF_HUB_OFFLINE": "1",
    }
    if case.has_wheel:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    set_last_start(environment, has_died=case.after_death)
    handler = [sys.executable, "-u", __file__, "--ready" if case.reads_ahead else "--ready-not-ahead"]
    command = [sys.executable, "-u", "model_cache_init.py", "run", "--then", *handler]
    started, lines, found = time.perf_counter(), [], {}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line == "READY\n":
                found["ready_s"] = time.perf_counter() - started
            elif line.startswith("TUNED "):
                found |= json.loads(line.removeprefix("TUNED ")) | {"tuned_s": time.perf_counter() - started}
    if "tuned_s" not in found:
        sys.exit(f"{case.name}: the worker did not become ready:\n{''.join(lines)}")
    return found


def measure_start() -> dict[str, Any]:
    """Return the seconds of a start and the ms of its phases, with reading ahead, without, and after a death."""
    with tempfile.TemporaryDirectory(prefix="f5-boot-") as directory:
        home = Path(directory)
        subprocess.run([sys.executable, ROOT / "bench" / "random_checkpoint.py", home / "model"], check=True)
        bare = [sys.executable, "-c", "import torch"]
        rounds: list[dict[str, Any]] = [
            {"torch": seconds(bare)} | {case.name: start(case, home, home / "site") for case in STARTS}
            for _ in range(START_ROUNDS + 1)
        ][1:]  # the first fills the disk cache, and Triton's
    last = rounds[-1]["ahead"]
    result: dict[str, Any] = {
        "device": last["device"],
        "torch": last["torch"],
        "rounds": START_ROUNDS,
        "import_torch_s": round(statistics.median(found["torch"] for found in rounds), 2),
    }
    for case in STARTS:
        starts = [found[case.name] for found in rounds]
        phases = [found["boot"]["phases_ms"] for found in starts]
        after_torch_ms = [sum(ms for name, ms in one.items() if name not in BEFORE_TORCH) for one in phases]
        result[case.name] = {
            "ready_s": round(statistics.median(found["ready_s"] for found in starts), 2),
            "after_torch_ms": round(statistics.median(after_torch_ms)),
            "phases_ms": {name: round(statistics.median(one[name] for one in phases), 1) for name in phases[0]},
        }
    return result


def measure_starts(wheel: Path) -> dict[str, Any]:
    """Return the seconds of cold starts with and without a flash-attn."""
    with tempfile.TemporaryDirectory(prefix="f5-boot-") as directory:
        home, site = Path(directory), Path(directory, "site")
        subprocess.run([sys.executable, ROOT / "bench" / "random_checkpoint.py", home / "model"], check=True)
        zipfile.ZipFile(wheel).extractall(site)
        rounds = [{case.name: start(case, home, site) for case in CASES} for _ in range(START_ROUNDS + 1)]
    rounds = rounds[1:]  # the first fills the disk cache, and Triton's
    ready = {case.name: statistics.median(found[case.name]["ready_s"] for found in rounds) for case in CASES}
    last = rounds[-1]
    return {
        "device": last["with"]["device"],
        "torch": last["with"]["torch"],
        "wheel": wheel.name,
        "rounds": START_ROUNDS,
        "ready_s": {name: round(value, 2) for name, value in ready.items()},
        "added_s": round(ready["with"] - ready["without"], 2),
        "added_first_s": round(ready["with, first"] - ready["without, first"], 2),
        "tuned_s": {name: round(found["tuned_s"], 2) for name, found in last.items()},
        "flash_attn": {name: _decision(found["boot"]) for name, found in last.items()},
        "phases_ms": {name: found["boot"]["phases_ms"] for name, found in last.items()},
        "attention": {name: found["attention"] for name, found in last.items()},
    }


def _decision(boot: Mapping[str, Any]) -> str:
    return f"{boot['flash_attn']['decision']}: {boot['flash_attn']['reason']}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flash-attn", type=Path, metavar="WHEEL", help="measure cold starts with this wheel")
    parser.add_argument("--start", action="store_true", help="measure each phase of a start")
    parser.add_argument("--ready", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ready-not-ahead", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ready or options.ready_not_ahead:
        become_ready(reads_ahead=options.ready)
    elif options.start:
        result = measure_start()
        record(f"start-{'-'.join(result['device'].lower().split())}-{result['torch'].split('+')[0]}", result)
    elif options.flash_attn is None:
        record("boot", measure_boot())
    else:
        result = measure_starts(options.flash_attn.resolve())
        record(f"boot-flash-attn-{'-'.join(result['device'].lower().split())}-{result['torch'].split('+')[0]}", result)


if __name__ == "__main__":
    main()
