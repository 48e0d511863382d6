"""The limits of a container are those of its cgroup, not the machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from f5_worker.resources import ResourceLimits, limits


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in ({"proc/meminfo": "MemTotal:       16777216 kB\n"} | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_cgroup_v2(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/pod/box"
    files = {
        "sys/fs/cgroup/cgroup.controllers": "cpu memory",
        "proc/self/cgroup": "0::/pod/box\n",
        f"{group}/memory.max": "max\n",
        "sys/fs/cgroup/pod/memory.max": "4294967296\n",
        f"{group}/cpu.max": "50000 100000\n",
    }
    found = limits(tree(tmp_path, files))
    assert (found.memory_limit_bytes, found.cpu_limit) == (1 << 32, 0.5)
    assert (found.memory_bytes, found.cores) == (1 << 32, 0.5)


def test_cgroup_v1(tmp_path: Path) -> None:
    files = {
        # The path on the host, which does not exist inside the container's mount.
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "8589934592\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    found = limits(tree(tmp_path, files))
    assert (found.memory_limit_bytes, found.cpu_limit) == (8 << 30, 1.5)


def test_no_limits(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    found = limits(tree(tmp_path, files))
    assert (found.memory_limit_bytes, found.cpu_limit, found.memory_bytes) == (None, None, 16 << 30)


@pytest.mark.parametrize(("cores", "n_threads"), [(0.5, 1), (1.0, 1), (1.6, 2), (64.0, 64)])
def test_a_part_of_a_core_has_a_thread_too(cores: float, n_threads: int) -> None:
    assert ResourceLimits(None, None, 1 << 30, cores).n_threads == n_threads


def test_cores_are_those_that_the_process_may_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 5, 7})
    assert limits(tree(tmp_path, {})).cores == 3.0
