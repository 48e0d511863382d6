"""The cores and the memory that this container may use, which are often fewer than the machine has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
UNLIMITED_BYTES = 1 << 60  # cgroup v1 expresses "no limit" by a number near 2**63


@dataclass(frozen=True)
class ResourceLimits:
    """The limits of the cgroup (None: not limited, or not readable), and the memory and cores that can be used."""

    memory_limit_bytes: int | None
    cpu_limit: float | None
    memory_bytes: int
    cores: float

    @property
    def n_threads(self) -> int:
        """Return how many threads or processes that compute all the time have a core each; at least one."""
        return max(1, round(self.cores))


def limits(root: Path = ROOT) -> ResourceLimits:
    """Return the limits, read from cgroup v2 or v1 in the file system at `root`."""
    memory, cpu = _cgroup_v2(root) if (root / "sys/fs/cgroup/cgroup.controllers").exists() else _cgroup_v1(root)
    total = _memory_total(root)
    cores = float(len(os.sched_getaffinity(0)))
    return ResourceLimits(memory, cpu, min(memory or total, total), min(cpu or cores, cores))


def _cgroup_v2(root: Path) -> tuple[int | None, float | None]:
    memories: list[int] = []
    cpus: list[float] = []
    for folder in _groups(root, "", root / "sys/fs/cgroup"):
        if (text := _text(folder / "memory.max")).isdigit():
            memories.append(int(text))
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            cpus.append(int(quota) / int(period))
    return min(memories, default=None), min(cpus, default=None)


def _cgroup_v1(root: Path) -> tuple[int | None, float | None]:
    memories: list[int] = []
    cpus: list[float] = []
    for folder in _groups(root, "memory", root / "sys/fs/cgroup/memory"):
        text = _text(folder / "memory.limit_in_bytes")
        if text.isdigit() and int(text) < UNLIMITED_BYTES:
            memories.append(int(text))
    for folder in _groups(root, "cpu", root / "sys/fs/cgroup/cpu"):
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # "-1": not limited
            cpus.append(int(quota) / int(period))
    return min(memories, default=None), min(cpus, default=None)


def _groups(root: Path, controller: str, mount: Path) -> Iterator[Path]:
    """Yield the directory of the process' group and of all groups above it: the lowest limit among them counts.

    In a container, the mount often shows the container's own group as its root while /proc still names the
    path on the host; directories that do not exist below the mount are read as having no limit.
    """
    path = "/"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if (number == "0" and not controller) or (controller and controller in controllers.split(",")):
            path = group
    folder = mount / path.strip("/")
    while folder != mount and mount in folder.parents:
        yield folder
        folder = folder.parent
    yield mount


def _memory_total(root: Path) -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""
