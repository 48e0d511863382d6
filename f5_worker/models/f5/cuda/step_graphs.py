"""The model's step as CUDA graphs, one for each of some sizes: a single launch where there were hundreds.

Alone on a GPU, a segment of usual length computes faster than its operations can be launched. A graph has fixed
shapes and addresses, so that what a step reads is copied into buffers of one of the sizes, and what is left of
them is filler: a row of its own that no other sees.

Legend: n frames of all rows together, f of the conditioned ones, d model width, m mel bands, s segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from f5_worker.models.f5.attention import attend_dense
from f5_worker.models.f5.config import MAX_SEGMENT_FRAMES, MEL_BANDS
from f5_worker.models.f5.network import DiT, Modulations
from f5_worker.models.f5.cuda.ops import TorchOps
from f5_worker.models.f5.cuda.packed import BLOCK, Packed, Rows
from f5_worker.models.f5.sampler import advance

BESIDE = 16  # from whole multiples of 32: there cuBLAS takes up to 13 % longer for up to 4,000 frames, on an H200
MAX_FRAMES = 8_192 + BESIDE  # beyond, a step computes for longer than its launches take
MAX_ROWS = 32
ALONE = 3  # rows: conditioned, unconditional, filler; all frames are then at one time
USUAL_FRAMES = 2_048  # longest row among many: attention's grid, rows x longest, would be mostly idle with more

Replay = Callable[[], None]
Recorder = Callable[[Callable[[], Tensor]], tuple[Replay, Tensor]]
"""A computation on fixed buffers -> what repeats it, and where its result then lies."""


@dataclass(frozen=True)
class Size:
    """What fits: at most `frames` in at most `rows` rows, the filler among them, the longest of `longest` frames."""

    frames: int
    rows: int
    longest: int


def sizes() -> Iterator[Size]:
    """From the most likely on: a segment alone, then company; at most an eighth is filler from 496 frames on."""
    frames = [*(n - BESIDE for n in eighths(64, 128, 256, 512)), MAX_FRAMES]
    middle = 3_072  # 16 s, reference included, with guidance
    by_likelihood = sorted(frames, key=lambda n: abs(n - middle))
    yield from (Size(n, ALONE, min(n, MAX_SEGMENT_FRAMES)) for n in by_likelihood)
    yield from (Size(n, MAX_ROWS, min(n, USUAL_FRAMES)) for n in reversed(frames))


def eighths(*steps: int) -> Iterator[int]:
    """Eight to fifteen of each step; where each is twice the one before, no number is over an eighth above the last."""
    return (step * eighth for step in steps for eighth in range(8, 16))


def recordable(model: DiT) -> bool:
    """Whether every operation takes all rows in one launch, whatever their lengths."""
    backend = model.backend
    return model.device.type == "cuda" and not isinstance(backend.ops, TorchOps) and backend.attend is not attend_dense


class StepGraphs:
    """Euler steps of one model, as `advance`.

    Args:
        record: how a computation is recorded.
    """

    def __init__(self, model: DiT, record: Recorder) -> None:
        arch, device, dtype = model.arch, model.device, model.dtype
        self._model = model
        self._record = record
        self._recorded: dict[Size, tuple[Replay, Tensor]] = {}
        self._loaded: tuple[Packed, Size] | None = None

        def buffer(*shape: int, of: torch.dtype = dtype) -> Tensor:
            return torch.zeros(shape, dtype=of, device=device)

        n, index = MAX_FRAMES, torch.int64
        self._x = buffer(n, MEL_BANDS, of=torch.float32)
        self._widths = buffer(MAX_ROWS, of=torch.float32)
        self._modulations = Modulations(
            buffer(MAX_ROWS, arch.depth, 6, arch.dim), buffer(MAX_ROWS, 2, arch.dim)
        )  # fmt: skip
        rows = Rows(
            lengths=(),
            cumulative=buffer(MAX_ROWS + 1, of=torch.int32),
            positions=buffer(0),
            bounds=buffer(2, n, of=torch.int32),
            blocks=buffer(n // BLOCK + MAX_ROWS, 3, of=torch.int32),
        )
        self._packed = Packed(
            rows=rows,
            fixed=buffer(n, arch.dim),
            cos=buffer(n, arch.dim_head // 2),
            sin=buffer(n, arch.dim_head // 2),
            segment=buffer(n, of=index),
            source=buffer(n, of=index),
            twin=buffer(n, of=index),
            strength=buffer(n, 1, of=torch.float32),
        )

    def record(self, size: Size) -> None:
        """Make ready for crews of this size."""
        self._packed.rows.cumulative.fill_(size.frames)[0] = 0
        self._packed.rows.bounds[1] = size.frames
        n, r, packed, modulations = size.frames, size.rows, self._packed, self._modulations
        given = packed.rows
        rows = Rows(
            (size.longest,), given.cumulative[: r + 1], given.positions, given.bounds[:, :n],
            given.blocks[: n // BLOCK + r],
        )  # fmt: skip
        part = Packed(
            rows, packed.fixed[:n], packed.cos[:n], packed.sin[:n], packed.segment[:n], packed.source[:n],
            packed.twin[:n], packed.strength[:n],
        )  # fmt: skip
        t = 1 if r == ALONE else r
        tables = Modulations(modulations.blocks[:t], modulations.out[:t])
        self._loaded = None
        self._recorded[size] = self._record(lambda: advance(self._model, self._x[:n], part, tables, self._widths[:r]))

    def advance(self, x: Tensor, packed: Packed, modulations: Modulations, widths: Tensor) -> Tensor:
        """As `sampler.advance`, which also does what fits no recorded size."""
        if self._loaded is None or self._loaded[0] is not packed:
            size = self._fitting(packed, len(modulations.out))
            if size is None:
                return advance(self._model, x, packed, modulations, widths)
            self._load(packed, size)
            self._loaded = packed, size
        replay, moved = self._recorded[self._loaded[1]]
        s = len(widths)
        self._x[: len(x)] = x
        self._widths[:s] = widths
        self._modulations.blocks[:s] = modulations.blocks
        self._modulations.out[:s] = modulations.out
        replay()
        return moved[: len(x)].clone()

    def _fitting(self, packed: Packed, times: int) -> Size | None:
        n, r, longest = len(packed.fixed), len(packed.rows.lengths) + 1, packed.rows.longest
        r = r if times == 1 else max(r, ALONE + 1)
        fitting = (size for size in self._recorded if size.frames >= n and size.rows >= r and size.longest >= longest)
        return min(fitting, key=lambda size: (size.frames, size.rows), default=None)

    def _load(self, packed: Packed, size: Size) -> None:
        """Copy what stays the same from step to step; the filler reads frame 0 and nobody reads it."""
        n, f, r, own = len(packed.fixed), len(packed.twin), len(packed.rows.lengths), self._packed
        self._x[f : size.frames] = 0
        for name in ("fixed", "cos", "sin", "segment", "source", "twin", "strength"):
            given, mine = getattr(packed, name), getattr(own, name)
            mine[: len(given)] = given
            mine[len(given) : size.frames] = 0
        own.rows.cumulative[: r + 1] = packed.rows.cumulative
        own.rows.cumulative[r + 1 :] = size.frames
        own.rows.bounds[:, :n] = packed.rows.bounds
        own.rows.bounds[0, n : size.frames] = n
        own.rows.bounds[1, n : size.frames] = size.frames
        own.rows.blocks.zero_()  # the filler attends to nothing
        own.rows.blocks[: len(packed.rows.blocks)] = packed.rows.blocks


class CudaRecorder:
    """Records CUDA graphs, all in one pool of memory: no two of them ever run at once."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # kernels are chosen and loaded, workspaces allotted
            compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = compute()
        return graph.replay, result
