"""Steps by graphs of fixed size, and operations in one launch each, equal the plain ones.

Without a GPU, Triton interprets its kernels (tests/conftest.py), and a captured computation is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from f5_worker.models.f5.attention import attend_dense
from f5_worker.models.f5.config import MEL_BANDS, Arch
from f5_worker.models.f5.cuda.ops import GatedBranch, QueryKeyNorms, TorchOps
from f5_worker.models.f5.cuda.packed import PackedBatch, Rows
from f5_worker.models.f5.cuda.size_choice import SIZES
from f5_worker.models.f5.cuda.step_graphs import (
    MAX_FRAMES,
    MAX_ROWS,
    SINGLE_SEGMENT_ROWS,
    GraphSize,
    StepGraphs,
    graph_sizes,
)
from f5_worker.models.f5.network import Backend, DiT
from f5_worker.models.f5.sampler import FlowState, StepBatch
from tests.models.f5.conftest import SMALL, SWITCHES, FakeCapturer
from tests.models.f5.test_batch_independence import begin, difference

pytest.importorskip("triton")

import itertools

from f5_worker.models.f5.cuda.kernels import TritonAttention, TritonOps

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
RAGGED = (5, 1, 40, 40, 16)
MakeModel = Callable[[Arch], DiT]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        yield


@pytest.fixture(autouse=True)
def interpreted_loop_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work around Triton 3.6, whose interpreter turns a range's end into a number as numpy 2.4 no longer allows."""
    from triton.runtime import interpreter

    original = interpreter._patch_lang_tensor

    def patch(tensor: Any, scope: Any) -> None:
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    monkeypatch.setattr(interpreter, "_patch_lang_tensor", patch)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


slow = pytest.mark.slow  # a kernel is interpreted in seconds


@pytest.mark.parametrize(
    ("d", "t", "has_branch"),
    [(192, 3, True), *(pytest.param(d, t, a, marks=slow) for d in (128, 192) for t in (1, 3) for a in (False, True))],
)
def test_norm_in_one_launch(d: int, t: int, has_branch: bool) -> None:
    n = sum(RAGGED)
    x, table = drawn(n, d), drawn(t, 6, d, seed=1)
    branch = GatedBranch(drawn(n, d, seed=2), table[:, 2]) if has_branch else None
    time_index = None if t == 1 else torch.arange(n, device=DEVICE) % t
    ours, plain = (ops.norm(x, branch, table[:, 0], table[:, 1], time_index) for ops in (TritonOps(), TorchOps()))
    for our, expected in zip(ours, plain, strict=True):
        assert difference(our, expected) < 1e-6
    assert (not has_branch) == (ours[0] is x)


@pytest.mark.parametrize(
    ("heads", "rotary_heads", "has_norms"), [pytest.param(2, 2, False, marks=slow), (3, 1, False), (3, 3, True)]
)
def test_rotation_in_one_launch(heads: int, rotary_heads: int, has_norms: bool) -> None:
    n = sum(RAGGED)
    qkv = drawn(n, 3, heads, 64)
    cos, sin = (drawn(n, 32, seed=seed) for seed in (1, 2))
    norms = QueryKeyNorms(drawn(64, seed=3), drawn(64, seed=4)) if has_norms else None
    plain = TorchOps().rotate(qkv.clone(), cos, sin, rotary_heads, norms)
    for our, expected in zip(TritonOps().rotate(qkv, cos, sin, rotary_heads, norms), plain, strict=True):
        assert difference(our, expected) < 1e-6


def test_projection_in_one_launch(make_model: MakeModel) -> None:
    packed, x = three_segments(make_model)
    weight = drawn(SMALL.dim, 2 * x.shape[1], seed=1)[:, : x.shape[1]]
    assert difference(TritonOps().project(x, weight, packed), TorchOps().project(x, weight, packed)) < 1e-6


def test_an_output_layer_padded_to_whole_tiles() -> None:
    layer = nn.Linear(64, MEL_BANDS).to(DEVICE)
    x = drawn(7, 64)
    ops = TritonOps()
    for _ in range(2):
        assert difference(ops.output_linear(x, layer), TorchOps().output_linear(x, layer)) < 1e-6


def test_euler_step_in_one_launch(make_model: MakeModel) -> None:
    packed, x = three_segments(make_model)
    velocity, dt = drawn(len(packed.condition), 2 * x.shape[1], seed=1)[:, : x.shape[1]], drawn(9, seed=2)[1:4]
    assert difference(TritonOps().euler(x, velocity, packed, dt), TorchOps().euler(x, velocity, packed, dt)) < 1e-6


def three_segments(make_model: MakeModel) -> tuple[PackedBatch, Tensor]:
    """Return two segments with guidance and one without, and their noisy mel; an odd number of frames."""
    conditions = [drawn(rows, n, SMALL.dim, seed=n) for rows, n in ((2, 5), (2, 40), (1, 18))]
    return make_model(SMALL).to(DEVICE).pack(conditions, [2.0, 1.5, 0.0]), drawn(63, MEL_BANDS)


@pytest.mark.parametrize(("d", "groups"), [(96, 2), pytest.param(128, 4, marks=slow), pytest.param(64, 16, marks=slow)])
def test_convolution_in_one_launch(d: int, groups: int) -> None:
    rows = Rows.from_lengths(RAGGED, DEVICE)
    layer = nn.Conv1d(d, d, 31, groups=groups, padding=15).to(DEVICE)
    x = 4 * drawn(sum(RAGGED), d)
    assert difference(TritonOps().convolve(x, rows, layer), TorchOps().convolve(x, rows, layer)) < 1e-5


@pytest.mark.parametrize(
    "lengths", [RAGGED, pytest.param((129, 300, 64), marks=slow), pytest.param((256,), marks=slow)]
)
def test_attention_in_one_launch(lengths: tuple[int, ...]) -> None:
    rows = Rows.from_lengths(lengths, DEVICE)
    query, key, value = drawn(sum(lengths), 3, 2, 64).half().unbind(1)
    ours = TritonAttention()(query, key, value, rows).float()
    assert difference(ours, attend_dense(query.float(), key.float(), value.float(), rows)) < 1e-3


def attend_by_cumulative(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """Attend as variable-length attention: by the boundaries in memory, without frames behind the last."""
    boundaries = rows.cumulative.tolist()
    lengths = [end - begin for begin, end in itertools.pairwise(boundaries) if end > begin]
    assert max(lengths[:-1], default=0) <= rows.max_length
    return attend_dense(query, key, value, Rows.from_lengths(lengths, query.device))


class BoundedOps(TorchOps):
    """Convolves by the rows' bounds, as the kernel does: a captured step does not know the lengths."""

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        begins = rows.bounds[0].unique_consecutive().tolist()
        lengths = [end - begin for begin, end in zip(begins, [*begins[1:], len(x)], strict=True)]
        return super().convolve(x, Rows.from_lengths(lengths, x.device), layer)


def graphs_of(model: DiT, *captured: GraphSize) -> tuple[StepGraphs, FakeCapturer]:
    model.backend = Backend(ops=BoundedOps(), attend=attend_by_cumulative)
    capturer = FakeCapturer()
    graphs = StepGraphs(model, capturer)
    for size in captured:
        graphs.capture(size)
    return graphs, capturer


def finish(states: list[FlowState], step: Any, model: DiT) -> None:
    while left := [state for state in states if state.step < len(state.schedule.dt)]:
        StepBatch(model, left, step).step()


@pytest.mark.parametrize("switch", ["v1", pytest.param("base", marks=slow), pytest.param("long skip", marks=slow)])
def test_a_padded_step_equals_a_plain_one(switch: str, make_model: MakeModel) -> None:
    """Alone and in a batch, at one time and at several, joining and leaving; padding influences no segment."""
    model = make_model(SWITCHES[switch])
    expected = [begin(model, seed) for seed in range(5)]
    finish(expected, None, model)
    graphs, capturer = graphs_of(model, GraphSize(512, MAX_ROWS, 128), GraphSize(256, SINGLE_SEGMENT_ROWS, 256))
    states = [begin(model, seed) for seed in range(5)]
    StepBatch(model, states[3:4], graphs.advance).step()
    StepBatch(model, states[2:], graphs.advance).step()
    finish(states, graphs.advance, model)
    assert capturer.n_replays >= 5
    for state, plain in zip(states, expected, strict=True):
        assert difference(state.target, plain.target) <= 1e-5


def test_a_size_without_a_graph_is_computed_too(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    graphs, capturer = graphs_of(model, GraphSize(64, SINGLE_SEGMENT_ROWS, 64), GraphSize(512, MAX_ROWS, 30))
    state, plain = begin(model, 0), begin(model, 0)
    finish([state], graphs.advance, model)
    finish([plain], None, model)
    assert capturer.n_replays == 0
    assert torch.equal(state.target, plain.target)


def test_a_graph_for_one_time_takes_no_batch_at_two(make_model: MakeModel) -> None:
    """Two segments without guidance have as many rows as one with it."""
    model = make_model(SMALL)
    graphs, capturer = graphs_of(model, GraphSize(256, SINGLE_SEGMENT_ROWS, 256))
    states, plain = ([begin(model, seed) for seed in (1, 5)] for _ in range(2))
    StepBatch(model, states[:1], graphs.advance).step()
    StepBatch(model, states, graphs.advance).step()
    StepBatch(model, plain[:1]).step()
    StepBatch(model, plain).step()
    assert capturer.n_replays == 1
    for ours, expected in zip(states, plain, strict=True):
        assert difference(ours.x, expected.x) <= 1e-5


def test_two_alternating_batches_do_not_mix(make_model: MakeModel) -> None:
    model = make_model(SMALL)
    graphs, capturer = graphs_of(model, GraphSize(256, SINGLE_SEGMENT_ROWS, 256))
    states, plain = ([begin(model, seed) for seed in (0, 2)] for _ in range(2))
    batches = [StepBatch(model, [state], graphs.advance) for state in states]
    for _ in range(5):
        for batch in batches:
            batch.step()
    finish(plain, None, model)
    assert capturer.n_replays == 10
    for ours, expected in zip(states, plain, strict=True):
        assert difference(ours.target, expected.target) <= 1e-5


@pytest.mark.parametrize("offset", [0, 16])
def test_sizes_have_little_padding_and_the_likely_come_first(offset: int) -> None:
    every = list(graph_sizes([size - offset for size in SIZES]))
    assert every[0].rows == SINGLE_SEGMENT_ROWS
    assert 2_500 < every[0].frames < 3_500
    assert len(every) == len(set(every)) < 80
    for rows in (SINGLE_SEGMENT_ROWS, MAX_ROWS):
        frames = sorted(size.frames for size in every if size.rows == rows)
        assert frames[-1] == MAX_FRAMES
        assert frames[0] == 512 - offset
        assert all(above - below <= above / 7 for below, above in itertools.pairwise(frames))


def test_a_size_is_captured_between_the_steps_of_a_larger_batch(make_model: MakeModel) -> None:
    """Capturing computes: what a larger batch left in the buffers must not lead behind the size's own tensors."""
    model = make_model(SMALL)
    expected = [begin(model, seed) for seed in range(5)]
    finish(expected, None, model)
    graphs, capturer = graphs_of(model, GraphSize(512, MAX_ROWS, 128))
    states = [begin(model, seed) for seed in range(5)]
    StepBatch(model, states, graphs.advance).step()
    assert capturer.n_replays
    graphs.capture(GraphSize(64, SINGLE_SEGMENT_ROWS, 64))
    finish(states, graphs.advance, model)
    for state, plain in zip(states, expected, strict=True):
        assert difference(state.target, plain.target) <= 1e-5
