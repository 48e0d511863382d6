"""Many workers on one volume, and workers that are killed: there is either no copy or a complete one."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from f5_worker.boot.weights import copies, weights
from f5_worker.boot.weights.recipes import Heartbeat, SourceFiles, Tools
from f5_worker.boot.weights.weights import WeightRoots, find_model
from f5_worker.models.published import HubFile
from f5_worker.storage import files
from tests.boot.weights.test_weights import NAME, content, small_table, tensors

__all__ = ["small_table"]  # fixtures

FORK = multiprocessing.get_context("fork")
WORKERS = 8
KILLS = 30  # at least: the pauses of one round alone last long enough
SHORTEST_LIFE_S, LONGER_LIFE = 0.0005, 1.05


def write_slowly(path: Path, data: bytes, pause_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, len(data), max(1, len(data) // 3)):
            file.write(data[start : start + max(1, len(data) // 3)])
            file.flush()
            time.sleep(pause_s)


def slow_tools(pause_s: float) -> Tools:
    def fetch(file: HubFile, into: Path, heartbeat: Heartbeat) -> Path:
        write_slowly(into / file.path, content(file), pause_s)
        return into / file.path

    def convert(parts: SourceFiles, into: Path, precision: str, heartbeat: Heartbeat) -> None:
        write_slowly(into / copies.MODEL, parts.model.read_bytes(), pause_s)
        write_slowly(into / copies.VOCAB, parts.vocab.read_bytes(), pause_s)
        write_slowly(into / copies.VOCODER, tensors(parts.vocoder.read_bytes()), pause_s)

    return Tools(fetch, convert)


def run_worker(
    start: Barrier, answers: multiprocessing.Queue[str], roots: WeightRoots, wait_s: float, seed: int
) -> None:
    tools = slow_tools(random.Random(seed).uniform(0, 0.01))
    start.wait()
    try:
        located = find_model(NAME, roots=roots, tools=tools, wait_s=wait_s, deep=True)
        answers.put(copies.defect(located.directory, deep=True) or f"{located.directory} {located.notes}")
    except BaseException as error:  # noqa: BLE001 - reported to the parent
        answers.put(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("wait_s", [0.0, 10.0], ids=["each makes its own", "one makes it"])
def test_eight_workers_on_one_empty_volume_end_with_one_copy(roots: WeightRoots, wait_s: float) -> None:
    start, answers = FORK.Barrier(WORKERS), FORK.Queue()
    workers = [FORK.Process(target=run_worker, args=(start, answers, roots, wait_s, seed)) for seed in range(WORKERS)]
    for worker in workers:
        worker.start()
    received = {answers.get(timeout=30) for _ in workers}
    for worker in workers:
        worker.join(10)
    copy = next(roots.caches[0].glob(f"*/{NAME}"))
    assert received == {f"{copy} ()"}
    assert list(copy.parent.iterdir()) == [copy]  # no second copy, no leftovers, no lease
    assert list(roots.caches[1].iterdir()) == []


def test_eight_workers_on_one_damaged_copy(roots: WeightRoots) -> None:
    copy = find_model(NAME, roots=roots, tools=slow_tools(0)).directory
    (copy / copies.VOCAB).unlink()
    start, answers = FORK.Barrier(WORKERS), FORK.Queue()
    workers = [FORK.Process(target=run_worker, args=(start, answers, roots, 0.0, seed)) for seed in range(WORKERS)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert answers.get(timeout=30).startswith(str(copy))
    for worker in workers:
        worker.join(10)
    assert copies.defect(copy, deep=True) is None
    assert list(copy.parent.iterdir()) == [copy]


def test_a_kill_at_any_moment_never_leaves_an_incomplete_copy(roots: WeightRoots) -> None:
    """Each round starts from the files that the killed ones before it left, and is killed a little later.

    The rounds go on until some had enough time to finish, so the kills are spread over the whole
    operation, however slow the machine is.
    """
    life_s, killed, finished = SHORTEST_LIFE_S, 0, 0
    while finished < 3:
        child = os.fork()
        if child == 0:
            find_model(NAME, roots=roots, tools=slow_tools(0.0005), wait_s=0.0)
            os._exit(0)
        time.sleep(life_s)
        life_s *= LONGER_LIFE
        os.kill(child, signal.SIGKILL)
        killed += os.waitpid(child, 0)[1] != 0
        for copy in roots.caches[0].glob(f"*/{NAME}"):
            finished += 1
            assert copies.defect(copy, deep=True) is None
            shutil.rmtree(copy)
    assert killed > KILLS
    # Without waiting: a lease whose holder was killed before it wrote its name is valid for half a minute.
    last = find_model(NAME, roots=roots, tools=slow_tools(0), wait_s=0.0)
    assert copies.defect(last.directory, deep=True) is None


def test_leftovers_of_killed_workers_are_removed_by_age(roots: WeightRoots) -> None:
    folder = find_model(NAME, roots=roots, tools=slow_tools(0)).directory.parent
    shutil.rmtree(folder / NAME)
    old, young = folder / f".{NAME}.aaaa.part", folder / f".{NAME}.bbbb.part"
    for leftover in (old, young):
        (leftover / ".source").mkdir(parents=True)
        (leftover / "model.safetensors").write_bytes(b"half")
    past = time.time() - files.STALE_TEMPORARY_S - 60
    os.utime(old, (past, past))
    find_model(NAME, roots=roots, tools=slow_tools(0))
    assert not old.exists()
    assert young.exists()  # its worker may still run


def test_the_lease_of_a_dead_worker_does_not_delay_others(roots: WeightRoots) -> None:
    folder = find_model(NAME, roots=roots, tools=slow_tools(0)).directory.parent
    shutil.rmtree(folder / NAME)
    (folder / ".lease").write_text("another-host 1")
    os.utime(folder / ".lease", (time.time() - 3600,) * 2)
    started = time.monotonic()
    assert find_model(NAME, roots=roots, tools=slow_tools(0), wait_s=60).made
    assert time.monotonic() - started < 5


def test_a_copy_that_was_published_meanwhile_is_kept(roots: WeightRoots, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of the slower of two workers: its own copy is deleted, the other's is kept."""
    theirs: list[int] = []
    real = copies.write_manifest

    def slow_manifest(directory: Path, **arguments: object) -> None:
        real(directory, **arguments)  # type: ignore[arg-type]
        target = directory.parent / NAME
        shutil.copytree(directory, target)
        theirs.append(target.stat().st_ino)

    monkeypatch.setattr(weights.copies, "write_manifest", slow_manifest)
    directory = find_model(NAME, roots=roots, tools=slow_tools(0)).directory
    assert [directory.stat().st_ino] == theirs
    assert list(directory.parent.iterdir()) == [directory]
