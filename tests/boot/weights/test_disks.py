"""Disks that are full, fail, or cannot be written to: one line each, and the next place is used."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from f5_worker.boot.weights import copies, disks, recipes, weights
from f5_worker.boot.weights.disks import space_problem
from f5_worker.boot.weights.recipes import Heartbeat, SourceFiles, Tools
from f5_worker.boot.weights.weights import CopyPrecision, WeightRoots, find_model
from f5_worker.errors import ModelUnavailable
from tests.boot.weights.test_weights import NAME, PINNED, Hub, cache_snapshot, hub, small_table

__all__ = ["hub", "small_table"]  # fixtures


def limit_disks(monkeypatch: pytest.MonkeyPatch, free: dict[Path, int]) -> None:
    """Make the disks of some directories report the given free bytes."""
    real = os.statvfs

    def statvfs(path: Path) -> object:
        measured = real(path)
        for place, free_bytes in free.items():
            if Path(path).is_relative_to(place):
                return os.statvfs_result((1, 1, *list(measured)[2:4], free_bytes, *list(measured)[5:]))
        return measured

    monkeypatch.setattr(disks.os, "statvfs", statvfs)


def test_a_full_disk_is_named_with_both_numbers_and_the_next_is_used(
    roots: WeightRoots, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_disks(monkeypatch, {roots.caches[0]: 1000})
    located = find_model(NAME, roots=roots, tools=hub.tools)
    assert located.directory.is_relative_to(roots.caches[1])
    assert located.notes == (f"{roots.caches[0]}: 1,000 bytes free, {370 + disks.RESERVE_BYTES:,} bytes needed",)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_while_writing_keeps_nothing_and_the_next_is_used(
    roots: WeightRoots, hub: Hub, code: int
) -> None:
    def convert(parts: SourceFiles, into: Path, precision: str, heartbeat: Heartbeat) -> None:
        if into.is_relative_to(roots.caches[0]):
            (into / copies.MODEL).write_bytes(b"half")
            raise OSError(code, os.strerror(code))
        hub.convert(parts, into, precision, heartbeat)

    located = find_model(NAME, roots=roots, tools=Tools(hub.fetch, convert))
    assert located.directory.is_relative_to(roots.caches[1])
    assert len(located.notes) == 1
    assert "free" in located.notes[0]
    assert [path for path in roots.caches[0].rglob("*") if path.is_file()] == []


def test_a_place_that_cannot_be_written_to_is_skipped(roots: WeightRoots, hub: Hub) -> None:
    unusable = replace(roots, caches=(Path("/proc/nowhere"), *roots.caches))
    located = find_model(NAME, roots=unusable, tools=hub.tools)
    assert located.directory.is_relative_to(roots.caches[0])
    assert "/proc/nowhere" in located.notes[0]


def test_a_file_where_the_directory_should_be(roots: WeightRoots, hub: Hub) -> None:
    (roots.caches[0] / f"fp16-{PINNED[:12]}").write_text("in the way")
    assert find_model(NAME, roots=roots, tools=hub.tools).directory.is_relative_to(roots.caches[1])


def test_without_any_place_the_error_lists_them_all(
    roots: WeightRoots, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_disks(monkeypatch, dict.fromkeys(roots.caches, 5))
    with pytest.raises(ModelUnavailable) as raised:
        find_model(NAME, roots=roots, tools=hub.tools)
    for place in roots.caches:
        assert f"{place}: 5 bytes free" in str(raised.value)
    assert str(raised.value).startswith(f"MODEL_UNAVAILABLE: F5_MODEL='{NAME}' is not available: ")
    assert "BAKE_MODEL" in str(raised.value)


def test_the_space_is_measured_and_nothing_changed(
    roots: WeightRoots, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit_disks(monkeypatch, {roots.caches[0]: 7})
    problems = [space_problem(place, 100) for place in (*roots.caches, tmp_path / "not" / "yet")]
    assert [problem is None for problem in problems] == [False, True, True]
    assert str(problems[0]).startswith(f"{roots.caches[0]}: 7 bytes free")
    assert not (tmp_path / "not").exists()


def needed_bytes(model: str, roots: WeightRoots, precision: CopyPrecision = "fp16") -> int:
    """Return the space that making a copy of a published model takes; 0 for any other model."""
    checkpoint = weights.published().get(model)
    if checkpoint is None:
        return 0
    return recipes.from_checkpoint(checkpoint, precision, ()).needed_bytes(roots.hub_caches)


def test_the_needed_space_takes_account_of_cached_files(roots: WeightRoots) -> None:
    assert needed_bytes(NAME, roots) == 370  # 210 of downloads, and the copy, half as large in fp16
    assert needed_bytes(NAME, roots, "fp32") == 420
    cache_snapshot(roots.hub_caches[0], PINNED)
    assert needed_bytes(NAME, roots) == 260  # the copy, and the vocoder's download
    assert needed_bytes("f5-tiny", roots) == 0


def test_dry_reports_where_the_copy_would_be_and_makes_none(roots: WeightRoots, hub: Hub) -> None:
    located = find_model(NAME, roots=roots, tools=hub.tools, dry=True)
    assert located.source == "hub"
    assert not located.directory.exists()
    assert list(roots.caches[0].iterdir()) == []
    assert hub.asked == []
    assert "370 bytes needed" in located.notes[0]
