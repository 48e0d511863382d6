"""The bound on the memory of a GPU that this process takes (F5_GPU_MEMORY_MB), and what CUDA graphs leave of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from f5_worker.engine.types import ModelRunner, Segment
from f5_worker.errors import SettingsInvalid
from f5_worker.log import logger

MB = 1_000_000


@dataclass(frozen=True)
class MemoryBudget:
    """Bytes that torch may reserve on a GPU, and those that are needed of them.

    Attributes:
        most: the bound.
        loaded: reserved once all is loaded.
        forward: reserved beside that for the largest batch, from the beginning to the end of its segments.
        states: of the other segments that are on the device, between their steps.
    """

    most: int
    loaded: int
    forward: int
    states: int

    @property
    def needed(self) -> int:
        """Return what there has to be without any graph."""
        return self.loaded + self.forward + self.states

    def check(self) -> None:
        """Raise if the bound is too small.

        Raises:
            SettingsInvalid: with what was measured.
        """
        if self.needed <= self.most:
            return
        most, loaded, forward, states = (round(n / MB) for n in (self.most, self.loaded, self.forward, self.states))
        least = -(-self.needed // MB)
        fault = (
            f"F5_GPU_MEMORY_MB={most} is too small: {loaded} MB are loaded on this GPU, the largest forward "
            f"takes {forward} MB, other segments {states} MB; set at least {least}, or lower F5_BATCH_FRAMES"
        )
        raise SettingsInvalid([fault])

    def has_room(self, reserved: int) -> bool:
        """Return whether a graph may be captured, when so much is reserved that is in use."""
        return reserved + self.forward + self.states <= self.most


_budgets: dict[int, MemoryBudget] = {}  # by the number of the GPU; torch's own bound is of the process, too


def bound_memory(runner: ModelRunner[Any], segments: Sequence[Segment], n_batches: float, max_mb: int) -> None:
    """Bound the memory of the current GPU; what is loaded by now counts. Nothing else may use the GPU meanwhile.

    Args:
        segments: the largest batch.
        n_batches: so many of them may be on the device between their steps.

    Raises:
        SettingsInvalid: the bound is less than what is needed.
    """
    device = torch.cuda.current_device()
    budget = measure_budget(runner, segments, n_batches, max_mb * MB)
    budget.check()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, budget.most / total), device)
    _budgets[device] = budget
    logger.info(
        "GPU memory: at most %d MB, of which %d MB are loaded and %d MB kept for segments and forwards",
        max_mb, budget.loaded // MB, (budget.forward + budget.states) // MB,
    )  # fmt: skip


def measure_budget(
    runner: ModelRunner[Any], segments: Sequence[Segment], n_batches: float, max_bytes: int
) -> MemoryBudget:
    """Measure what a model needs on the current GPU, by running a batch; see `bound_memory`."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    loaded, before = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()
    states = [runner.begin(segment) for segment in segments]
    state = torch.cuda.memory_allocated() - before
    for _ in range(1 if runner.whole_segments else segments[0].nfe):
        runner.step(states)
    for wait_for_samples in runner.finish(states):
        wait_for_samples()
    forward = torch.cuda.max_memory_reserved() - loaded
    return MemoryBudget(max_bytes, loaded, forward, round((n_batches - 1) * state))


def require_room() -> None:
    """Raise if what stays, such as a graph, would take what segments and forwards need of the current GPU's bound.

    Raises:
        torch.cuda.OutOfMemoryError
    """
    budget = _budgets.get(torch.cuda.current_device()) if _budgets else None
    if budget is None:
        return
    torch.cuda.empty_cache()
    if not budget.has_room(torch.cuda.memory_reserved()):
        raise torch.cuda.OutOfMemoryError("F5_GPU_MEMORY_MB has no room for another CUDA graph")
