"""The model's step as CUDA graphs of some sizes: a single launch instead of hundreds.

Alone on a GPU, a segment of usual length computes faster than its operations can be launched. A graph has fixed shapes
and addresses, so the inputs of a step are copied into buffers of one of the sizes; the frames left over form a padding
row of their own, which no other row sees.

Legend: n frames of all rows together, f of the conditional ones, d model width, m mel bands, s segments, r rows,
t distinct times in one forward.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from f5_worker.models.cuda.capture import CaptureGraph, Replay
from f5_worker.models.f5.attention import attend_dense
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, MEL_BANDS
from f5_worker.models.f5.cuda.ops import TorchOps
from f5_worker.models.f5.cuda.packed import QUERY_BLOCK, PackedBatch, Rows
from f5_worker.models.f5.network import DiT, Modulations
from f5_worker.models.f5.sampler import advance

MAX_FRAMES = 8_192 + 16  # padding included; beyond, a step computes for longer than its launches take
MAX_ROWS = 32
SINGLE_SEGMENT_ROWS = 3  # conditional, unconditional, padding; all frames are at one time then
MAX_BATCH_ROW_FRAMES = 2_048  # longest row of a batch: attention's grid, rows x longest, would be mostly idle with more


@dataclass(frozen=True)
class GraphSize:
    """What fits: at most `frames` in at most `rows` rows, padding included, the longest of `max_length` frames."""

    frames: int
    rows: int
    max_length: int


def graph_sizes(frames: Collection[int]) -> Iterator[GraphSize]:
    """Yield the most likely sizes first: single segments, then batches.

    Args:
        frames: numbers of frames below MAX_FRAMES (size_choice.py).
    """
    every = [*sorted(frames), MAX_FRAMES]
    most_likely = 3_072  # 16 s, reference included, with guidance
    by_likelihood = sorted(every, key=lambda n: abs(n - most_likely))
    yield from (GraphSize(n, SINGLE_SEGMENT_ROWS, min(n, MAX_SEGMENT_FRAMES)) for n in by_likelihood)
    yield from (GraphSize(n, MAX_ROWS, min(n, MAX_BATCH_ROW_FRAMES)) for n in reversed(every))


def eighth_steps(*units: int) -> Iterator[int]:
    """Yield 8 to 15 times each unit; where units double, each number is at most an eighth above the one before."""
    return (unit * factor for unit in units for factor in range(8, 16))


def can_capture(model: DiT) -> bool:
    """Return whether every operation of the model takes all rows in one launch, whatever their lengths."""
    backend = model.backend
    return model.device.type == "cuda" and not isinstance(backend.ops, TorchOps) and backend.attend is not attend_dense


class StepGraphs:
    """Euler steps of one model by CUDA graphs; its `advance` has the results of `sampler.advance`.

    Args:
        capture_graph: how a computation is captured.
    """

    def __init__(self, model: DiT, capture_graph: CaptureGraph) -> None:
        arch, device, dtype = model.arch, model.device, model.dtype
        self._model = model
        self._capture_graph = capture_graph
        self._graphs: dict[GraphSize, tuple[Replay, Tensor]] = {}
        self._loaded: tuple[PackedBatch, GraphSize] | None = None

        def buffer(*shape: int, of: torch.dtype = dtype) -> Tensor:
            return torch.zeros(shape, dtype=of, device=device)

        n, index = MAX_FRAMES, torch.int64
        self._x = buffer(n, MEL_BANDS, of=torch.float32)
        self._dt = buffer(MAX_ROWS, of=torch.float32)
        self._modulations = Modulations(
            buffer(MAX_ROWS, arch.depth, 6, arch.dim), buffer(MAX_ROWS, 2, arch.dim)
        )  # fmt: skip
        rows = Rows(
            lengths=(),
            cumulative=buffer(MAX_ROWS + 1, of=torch.int32),
            positions=buffer(0),
            bounds=buffer(2, n, of=torch.int32),
            blocks=buffer(n // QUERY_BLOCK + MAX_ROWS, 3, of=torch.int32),
        )
        self._packed = PackedBatch(
            rows=rows,
            condition=buffer(n, arch.dim),
            cos=buffer(n, arch.dim_head // 2),
            sin=buffer(n, arch.dim_head // 2),
            segment_index=buffer(n, of=index),
            source_frame=buffer(n, of=index),
            unconditional_frame=buffer(n, of=index),
            guidance_scale=buffer(n, 1, of=torch.float32),
        )

    def capture(self, size: GraphSize) -> None:
        """Capture the graph for batches of this size."""
        # The capture computes. A larger batch that was loaded before would have it write behind this size's tensors.
        for indices in ("segment_index", "source_frame", "unconditional_frame"):
            getattr(self._packed, indices).zero_()
        self._packed.rows.blocks.zero_()
        self._packed.rows.bounds.zero_()
        self._packed.rows.cumulative.fill_(size.frames)[0] = 0
        self._packed.rows.bounds[1] = size.frames
        n, r, packed, modulations = size.frames, size.rows, self._packed, self._modulations
        rows = Rows(
            (size.max_length,), packed.rows.cumulative[: r + 1], packed.rows.positions, packed.rows.bounds[:, :n],
            packed.rows.blocks[: n // QUERY_BLOCK + r],
        )  # fmt: skip
        part = PackedBatch(
            rows, packed.condition[:n], packed.cos[:n], packed.sin[:n], packed.segment_index[:n],
            packed.source_frame[:n], packed.unconditional_frame[:n], packed.guidance_scale[:n],
        )  # fmt: skip
        t = 1 if r == SINGLE_SEGMENT_ROWS else r
        tables = Modulations(modulations.blocks[:t], modulations.out[:t])
        self._loaded = None
        self._graphs[size] = self._capture_graph(lambda: advance(self._model, self._x[:n], part, tables, self._dt[:r]))

    def advance(self, x: Tensor, packed: PackedBatch, modulations: Modulations, dt: Tensor) -> Tensor:
        """Return the result of `sampler.advance`, which itself computes batches that fit no captured size."""
        if self._loaded is None or self._loaded[0] is not packed:
            size = self._smallest_fitting(packed, len(modulations.out))
            if size is None:
                return advance(self._model, x, packed, modulations, dt)
            self._load(packed, size)
            self._loaded = packed, size
        replay, advanced = self._graphs[self._loaded[1]]
        s = len(dt)
        self._x[: len(x)] = x
        self._dt[:s] = dt
        self._modulations.blocks[:s] = modulations.blocks
        self._modulations.out[:s] = modulations.out
        replay()
        return advanced[: len(x)].clone()

    def _smallest_fitting(self, packed: PackedBatch, n_times: int) -> GraphSize | None:
        n, r, longest = len(packed.condition), len(packed.rows.lengths) + 1, packed.rows.max_length
        r = r if n_times == 1 else max(r, SINGLE_SEGMENT_ROWS + 1)
        fitting = (size for size in self._graphs if size.frames >= n and size.rows >= r and size.max_length >= longest)
        return min(fitting, key=lambda size: (size.frames, size.rows), default=None)

    def _load(self, packed: PackedBatch, size: GraphSize) -> None:
        """Copy what stays the same from step to step into the buffers.

        The padding row reads frame 0, and no other row reads the padding row.
        """
        buffers = self._packed
        n, f, r = len(packed.condition), len(packed.unconditional_frame), len(packed.rows.lengths)
        self._x[f : size.frames] = 0
        for name in (
            "condition", "cos", "sin", "segment_index", "source_frame", "unconditional_frame", "guidance_scale",
        ):  # fmt: skip
            source, buffer = getattr(packed, name), getattr(buffers, name)
            buffer[: len(source)] = source
            buffer[len(source) : size.frames] = 0
        buffers.rows.cumulative[: r + 1] = packed.rows.cumulative
        buffers.rows.cumulative[r + 1 :] = size.frames
        buffers.rows.bounds[:, :n] = packed.rows.bounds
        buffers.rows.bounds[0, n : size.frames] = n
        buffers.rows.bounds[1, n : size.frames] = size.frames
        buffers.rows.blocks.zero_()  # the padding row has no queries
        buffers.rows.blocks[: len(packed.rows.blocks)] = packed.rows.blocks
