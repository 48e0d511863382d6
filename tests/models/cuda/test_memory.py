"""The arithmetic of the bound on a GPU's memory; tests/models/f5/test_gpu.py holds the bound itself."""

from __future__ import annotations

import pytest

from f5_worker.errors import SettingsInvalid
from f5_worker.models.cuda.memory import MB, MemoryBudget


def budget(max_mb: int) -> MemoryBudget:
    return MemoryBudget(max_mb * MB, loaded=900 * MB, forward=290 * MB + 1, states=384 * MB)


def test_a_bound_that_is_too_small_is_refused_with_what_was_measured() -> None:
    budget(1_575).check()
    with pytest.raises(SettingsInvalid) as caught:
        budget(1_574).check()
    assert str(caught.value) == (
        "SETTINGS_INVALID: F5_GPU_MEMORY_MB=1574 is too small: 900 MB are loaded on this GPU, the largest "
        "forward takes 290 MB, other segments 384 MB; set at least 1575, or lower F5_BATCH_FRAMES"
    )


def test_graphs_leave_what_segments_and_forwards_need() -> None:
    assert budget(2_000).has_room(1_325 * MB)
    assert not budget(2_000).has_room(1_326 * MB)
    assert not budget(1_575).has_room(901 * MB)
