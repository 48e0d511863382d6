"""The options of PYTORCH_CUDA_ALLOC_CONF, and the torch release in which each of them first appeared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# Releases are named by their minor number: the parser never changed within a minor (2.4.0 and 2.4.1
# agree on every measured value). Releases outside this range are treated as the nearest measured one.
OLDEST = 1
NEWEST = 15

# From 2.10 on the string is parsed by c10/core/AllocatorConfig.cpp and c10/cuda/CUDAAllocatorConfig.cpp,
# each with an unchecked tokenizer; before, by the second alone, which checks every separator.
MODERN = 10


class Kind(StrEnum):
    """The type of an option's value."""

    BOOL = "bool"
    MEGABYTES = "megabytes"
    FRACTION = "fraction"
    THREADS = "threads"
    ROUNDUP = "roundup"
    BACKEND = "backend"
    RESERVE = "reserve"
    RESERVES = "reserves"


@dataclass(frozen=True)
class Option:
    """One option. Those that are `shared` belong to torch's device-independent parser from 2.10 on."""

    name: str
    kind: Kind
    since: int = OLDEST
    shared: bool = False

    def accepts(self, release: int) -> str:
        """Return a description of the accepted values, for messages."""
        if self.kind is Kind.MEGABYTES:
            return _MEGABYTES.get(self.name) or f"a whole number of MB >= {20 if release >= MODERN else 21}"
        if self.kind is Kind.FRACTION:
            return _FRACTIONS[self.name]
        if self.kind is Kind.ROUNDUP:
            off = "" if release < 4 else " (0 in a list: off)"
            return f"a power of 2, or a list like [256:1,512:2,>:8] of powers of 2{off}"
        return _ACCEPTS[self.kind]


_ACCEPTS = {
    Kind.BOOL: "exactly True or False",
    Kind.THREADS: "a power of 2 <= 128",
    Kind.BACKEND: "native or cudaMallocAsync",
    Kind.RESERVE: "a fraction like 0.5 or a size like 40G",
    Kind.RESERVES: "a list like [name:0.5,other:40G]",
}
_MEGABYTES = {
    "large_segment_size_mb": "a whole number of MB > 10",
    "pinned_reserve_segment_size_mb": "a whole number of MB > 0",
    "pinned_max_round_threshold_mb": "a whole number of MB",
    "pinned_max_cached_size_mb": "a whole number of MB",
}
_FRACTIONS = {
    "garbage_collection_threshold": "a number between 0 and 1, both excluded",
    "per_process_memory_fraction": "a number from 0 to 1",
}

OPTIONS = {
    option.name: option
    for option in (
        Option("backend", Kind.BACKEND),
        Option("max_split_size_mb", Kind.MEGABYTES, shared=True),
        Option("garbage_collection_threshold", Kind.FRACTION, shared=True),
        Option("roundup_power2_divisions", Kind.ROUNDUP, shared=True),
        Option("expandable_segments", Kind.BOOL, shared=True),
        Option("release_lock_on_cudamalloc", Kind.BOOL, 2),
        Option("release_lock_on_hipmalloc", Kind.BOOL, 2),
        Option("pinned_use_cuda_host_register", Kind.BOOL, 2),
        Option("pinned_use_hip_host_register", Kind.BOOL, 2),
        Option("pinned_num_register_threads", Kind.THREADS, 2),
        Option("pinned_use_background_threads", Kind.BOOL, 6, shared=True),
        Option("max_non_split_rounding_mb", Kind.MEGABYTES, 6, shared=True),
        Option("graph_capture_record_stream_reuse", Kind.BOOL, 9),
        Option("pinned_reserve_segment_size_mb", Kind.MEGABYTES, 10),
        Option("per_process_memory_fraction", Kind.FRACTION, 10),
        Option("large_segment_size_mb", Kind.MEGABYTES, 11, shared=True),
        Option("throw_on_cudamalloc_oom", Kind.BOOL, 12),
        Option("pinned_free_catch_all", Kind.BOOL, 12),
        Option("pinned_max_round_threshold_mb", Kind.MEGABYTES, 13, shared=True),
        Option("pinned_max_cached_size_mb", Kind.MEGABYTES, 13, shared=True),
        Option("expandable_segments_reserve", Kind.RESERVE, 15),
        Option("expandable_segments_reserve_by_class", Kind.RESERVES, 15),
    )
}


def lookup(key: str, release: int) -> Option | None:
    """Return the option of that name, or None if this release does not know it."""
    option = OPTIONS.get(key)
    return option if option and option.since <= release else None


def release_of(torch_version: str | None) -> tuple[int, bool]:
    """Return the minor number of a torch 2.x version, and whether that release was measured.

    Local and pre-release parts are accepted (`2.4.0+cu124`, `2.16.0.dev20261101`). A version that cannot be
    read counts as the newest release, whose parser is the strictest about structure: it ends the process.
    """
    match = re.match(r"\s*v?(\d{1,6})\.(\d{1,6})", torch_version or "", re.ASCII)
    if not match:
        return NEWEST, False
    major, minor = int(match[1]), int(match[2])
    if major != 2:
        return (OLDEST if major < 2 else NEWEST), False
    return min(max(minor, OLDEST), NEWEST), OLDEST <= minor <= NEWEST
