"""Capture of computations as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from f5_worker.models.cuda.memory import require_room

Replay = Callable[[], None]
CaptureGraph = Callable[[Callable[[], Tensor]], tuple[Replay, Tensor]]
"""Captures a computation on fixed buffers; returns what replays it, and the tensor that then holds its result."""


class GraphCapturer:
    """Captures CUDA graphs, all in one memory pool: no two of them ever run at once.

    Those of different capturers may: each captures on a stream of its own, since the workspaces of matrix products
    belong to the stream of the capture.

    Args:
        is_brief: they are dropped after a moment, and may take the memory of forwards meanwhile.
    """

    def __init__(self, *, is_brief: bool = False) -> None:
        self._is_brief = is_brief
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Replay, Tensor]:
        """Capture a computation, as `CaptureGraph`.

        Raises:
            torch.cuda.OutOfMemoryError
        """
        if not self._is_brief:
            require_room()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):  # the first run chooses and loads kernels, and allocates workspaces
            compute()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            result = compute()
        return graph.replay, result
