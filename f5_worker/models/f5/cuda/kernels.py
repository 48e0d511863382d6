"""The operations of ops.py in one launch each, written in Triton. CUDA only; imported only where Triton is installed.

Each step of the model does some 400 of these besides its matrix products. torch takes two to eight launches for one,
and moves its operands through memory as often. All compute in fp32, whatever the precision of their inputs.

Arguments that change from forward to forward, such as a number of frames or the alignment of a tensor, are exempt from
specialisation (`do_not_specialize`): another n never compiles a kernel again.

Legend: n frames of all rows together, f of the conditional ones, m mel bands, d model width, t distinct times in one
forward, h heads, w width of one head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn

from f5_worker.models.f5.cuda.ops import NORM_EPS, GatedBranch, QueryKeyNorms
from f5_worker.models.f5.cuda.packed import QUERY_BLOCK, PackedBatch, Rows

# Block sizes of one program of each kernel, the fastest of those tried on an H200, from 1,700 frames to 43,000.
# Those of attention are measured on each GPU (attention_choice.py).
CONV_FRAMES = 64
PROJECT_FRAMES, PROJECT_COLUMNS = 64, 64
EULER_FRAMES = 4
FEATURE_MULTIPLE = 64  # the last layer is padded to a multiple of so many features
LOG2_E = 1.4426950408889634


@triton.jit(do_not_specialize=["gate_step", "shift_step"])  # type: ignore[untyped-decorator, unused-ignore]
def _norm_kernel(  # type: ignore[no-untyped-def]
    x_ptr, branch_ptr, gate_ptr, shift_ptr, scale_ptr, time_index_ptr, sum_ptr, normed_ptr, gate_step, shift_step, eps,
    D: tl.constexpr, BLOCK_D: tl.constexpr, HAS_BRANCH: tl.constexpr, HAS_TIME_INDEX: tl.constexpr,
):  # fmt: skip
    """One frame: add the branch, normalise, modulate. Loads that depend on no other load come first.

    The distance between two times of a table is given as a multiple of D: so the compiler knows that wide loads are
    aligned.
    """
    frame = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK_D)
    mask = column < D
    x = tl.load(x_ptr + frame * D + column, mask, 0.0).to(tl.float32)
    if HAS_BRANCH:
        branch = tl.load(branch_ptr + frame * D + column, mask, 0.0).to(tl.float32)
    time = tl.load(time_index_ptr + frame) if HAS_TIME_INDEX else 0
    scale = tl.load(scale_ptr + time * shift_step * D + column, mask, 0.0).to(tl.float32)
    shift = tl.load(shift_ptr + time * shift_step * D + column, mask, 0.0).to(tl.float32)
    if HAS_BRANCH:
        x += branch * tl.load(gate_ptr + time * gate_step * D + column, mask, 0.0).to(tl.float32)
        rounded = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + frame * D + column, rounded, mask)
        x = rounded.to(tl.float32)
    centred = tl.where(mask, x - tl.sum(x, 0) / D, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / D + eps)
    out = normed * (1 + scale) + shift
    tl.store(normed_ptr + frame * D + column, out.to(normed_ptr.dtype.element_ty), mask)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _rotate_kernel(  # type: ignore[no-untyped-def]
    qkv_ptr, cos_ptr, sin_ptr, H: tl.constexpr, W: tl.constexpr, ROTARY_HEADS: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Rotate the queries and keys of one frame in place; in memory they come before its values."""
    frame = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, BLOCK_D // 2)
    angle = frame * (W // 2) + pair % (W // 2)
    cos, sin = tl.load(cos_ptr + angle).to(tl.float32), tl.load(sin_ptr + angle).to(tl.float32)
    column = tl.arange(0, BLOCK_D)
    mask = (column < 2 * H * W) & ((column // W) % H < ROTARY_HEADS)
    ptrs = qkv_ptr + frame * (3 * H * W) + column
    first, second = tl.split(tl.load(ptrs, mask, 0.0).to(tl.float32).reshape(BLOCK_D // 2, 2))
    rotated = tl.join(first * cos - second * sin, second * cos + first * sin).reshape(BLOCK_D)
    tl.store(ptrs, rotated.to(qkv_ptr.dtype.element_ty), mask)


@triton.jit(do_not_specialize=["source_frame_ptr", "n"])  # type: ignore[untyped-decorator, unused-ignore]
def _project_kernel(  # type: ignore[no-untyped-def]
    x_ptr, weight_ptr, source_frame_ptr, condition_ptr, out_ptr, n, row_stride,
    M: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Some columns of some frames: one matrix product over all mel bands, plus the condition."""
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    band = tl.arange(0, BLOCK_M)
    frame_mask, column_mask = frame < n, column < D
    source = tl.load(source_frame_ptr + frame, frame_mask, 0)
    x = tl.load(x_ptr + source[:, None] * M + band[None, :], frame_mask[:, None] & (band < M)[None, :], 0.0)
    weight = tl.load(
        weight_ptr + column[None, :] * row_stride + band[:, None], column_mask[None, :] & (band < M)[:, None], 0.0
    )
    offset = frame[:, None].to(tl.int64) * D + column[None, :]
    mask = frame_mask[:, None] & column_mask[None, :]
    condition = tl.load(condition_ptr + offset, mask, 0.0).to(tl.float32)
    out = tl.dot(x.to(weight.dtype), weight, condition, input_precision=PRECISION)
    tl.store(out_ptr + offset, out.to(out_ptr.dtype.element_ty), mask)


@triton.jit(do_not_specialize=["unconditional_frame_ptr", "segment_index_ptr", "dt_ptr", "f"])  # type: ignore[untyped-decorator, unused-ignore]
def _euler_kernel(  # type: ignore[no-untyped-def]
    x_ptr, velocity_ptr, unconditional_frame_ptr, guidance_scale_ptr, segment_index_ptr, dt_ptr, out_ptr, f, row_stride,
    M: tl.constexpr, BLOCK_M: tl.constexpr, FRAMES: tl.constexpr,
):  # fmt: skip
    """Some frames: classifier-free guidance, then the Euler step."""
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    band = tl.arange(0, BLOCK_M)[None, :]
    frame_mask = frame < f
    unconditional_frame = tl.load(unconditional_frame_ptr + frame, frame_mask, 0)[:, None]
    guidance_scale = tl.load(guidance_scale_ptr + frame, frame_mask, 0.0)[:, None]
    dt = tl.load(dt_ptr + tl.load(segment_index_ptr + frame, frame_mask, 0), frame_mask, 0.0)[:, None]
    mask = frame_mask[:, None] & (band < M)
    offset = frame[:, None].to(tl.int64) * M + band
    conditional = tl.load(velocity_ptr + frame[:, None].to(tl.int64) * row_stride + band, mask, 0.0).to(tl.float32)
    unconditional = tl.load(velocity_ptr + unconditional_frame * row_stride + band, mask, 0.0).to(tl.float32)
    x = tl.load(x_ptr + offset, mask, 0.0)
    tl.store(out_ptr + offset, x + dt * (conditional + (conditional - unconditional) * guidance_scale), mask)


@triton.jit(do_not_specialize=["n"])  # type: ignore[untyped-decorator, unused-ignore]
def _convolve_kernel(  # type: ignore[no-untyped-def]
    x_ptr, weight_ptr, bias_ptr, begin_ptr, end_ptr, out_ptr, n,
    D: tl.constexpr, C: tl.constexpr, BLOCK_C: tl.constexpr, TAPS: tl.constexpr, FRAMES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Some frames of one group of C channels: a matrix product for each tap, then the bias and Mish."""
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    group = tl.program_id(1)
    channel = tl.arange(0, BLOCK_C)
    channel_mask = channel < C
    begin = tl.load(begin_ptr + frame, frame < n, 0)
    end = tl.load(end_ptr + frame, frame < n, 0)
    weight_mask = channel_mask[:, None] & channel_mask[None, :]
    total = tl.zeros((FRAMES, BLOCK_C), tl.float32)
    for tap in range(TAPS):
        source = frame + tap - TAPS // 2
        row_mask = (source >= begin) & (source < end)
        x = tl.load(
            x_ptr + source[:, None].to(tl.int64) * D + group * C + channel[None, :],
            row_mask[:, None] & channel_mask[None, :],
            0.0,
        )
        weight = tl.load(
            weight_ptr + (tap * (D // C) + group) * C * C + channel[:, None] * C + channel[None, :], weight_mask, 0.0
        )
        total = tl.dot(x, weight, total, input_precision=PRECISION)
    total += tl.load(bias_ptr + group * C + channel, channel_mask, 0.0).to(tl.float32)[None, :]
    e = tl.exp(tl.minimum(total, 20.0))
    e = e * (e + 2)  # tanh(softplus(x)) = e(e + 2) / (e(e + 2) + 2), e = exp(x)
    out = total * (e / (e + 2))
    tl.store(
        out_ptr + frame[:, None].to(tl.int64) * D + group * C + channel[None, :],
        out.to(out_ptr.dtype.element_ty),
        (frame < n)[:, None] & channel_mask[None, :],
    )


@triton.jit(do_not_specialize=["scale"])  # type: ignore[untyped-decorator, unused-ignore]
def _attend_kernel(  # type: ignore[no-untyped-def]
    query_ptr, key_ptr, value_ptr, out_ptr, blocks_ptr, frame_stride, scale,
    H: tl.constexpr, W: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Some queries of one head against all keys of their row, with a running softmax (FlashAttention-2)."""
    block_ptr = blocks_ptr + 3 * tl.program_id(0)
    first, begin, end = tl.load(block_ptr), tl.load(block_ptr + 1), tl.load(block_ptr + 2)
    if first >= end:
        return
    head = tl.program_id(1) * W
    column = tl.arange(0, W)
    query_index = tl.arange(0, QUERIES)
    key_index = tl.arange(0, KEYS)
    query_mask = (first + query_index < end)[:, None]
    query_ptrs = query_ptr + first.to(tl.int64) * frame_stride + head
    query = tl.load(query_ptrs + query_index[:, None] * frame_stride + column[None, :], query_mask, 0.0)
    key_ptr += begin.to(tl.int64) * frame_stride + head
    value_ptr += begin.to(tl.int64) * frame_stride + head
    length = end - begin
    row_max = tl.full((QUERIES,), float("-inf"), tl.float32)
    row_sum = tl.zeros((QUERIES,), tl.float32)
    total = tl.zeros((QUERIES, W), tl.float32)
    full_length = length // KEYS * KEYS
    for start in range(0, full_length, KEYS):
        key = tl.load(key_ptr + (start + key_index)[None, :] * frame_stride + column[:, None])
        score = tl.dot(query, key)
        new_max = tl.maximum(row_max, tl.max(score, 1) * scale)
        p = tl.exp2(score * scale - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        value = tl.load(value_ptr + (start + key_index)[:, None] * frame_stride + column[None, :])
        total = tl.dot(p.to(value.dtype), value, total * rescale[:, None])
        row_max = new_max
    if full_length < length:
        key_mask = full_length + key_index < length
        key = tl.load(
            key_ptr + (full_length + key_index)[None, :] * frame_stride + column[:, None], key_mask[None, :], 0.0
        )
        score = tl.where(key_mask[None, :], tl.dot(query, key) * scale, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(score, 1))
        p = tl.exp2(score - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        value = tl.load(
            value_ptr + (full_length + key_index)[:, None] * frame_stride + column[None, :], key_mask[:, None], 0.0
        )
        total = tl.dot(p.to(value.dtype), value, total * rescale[:, None])
    out = (total / row_sum[:, None]).to(out_ptr.dtype.element_ty)
    out_ptrs = out_ptr + first.to(tl.int64) * (H * W) + head
    tl.store(out_ptrs + query_index[:, None] * (H * W) + column[None, :], out, query_mask)


@dataclass(frozen=True)
class TritonAttention:
    """Attention in half precision, as `Attend`. The default is the fastest on Hopper (docs/performance.md).

    Attributes:
        keys: of one iteration of a program.
        warps, stages: of one program; each stage is a block of keys and values that is loaded ahead.
    """

    keys: int = 64
    warps: int = 4
    stages: int = 3

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
        """Attend within each row."""
        n, h, w = query.shape
        out = query.new_empty(n, h, w)
        _attend_kernel[(len(rows.blocks), h)](
            query, key, value, out, rows.blocks, query.stride(0), w**-0.5 * LOG2_E, H=h, W=w, QUERIES=QUERY_BLOCK,
            KEYS=self.keys, num_warps=self.warps, num_stages=self.stages,
        )  # fmt: skip
        return out

    def compile(self, heads: int, width: int, dtype: torch.dtype) -> None:
        """Compile the kernel for a model, without launching it."""
        _attend_kernel.warmup(
            dtype, dtype, dtype, dtype, torch.int32, 3 * heads * width, width**-0.5 * LOG2_E, H=heads, W=width,
            QUERIES=QUERY_BLOCK, KEYS=self.keys, num_warps=self.warps, num_stages=self.stages, grid=(1,),
        )  # fmt: skip


class TritonOps:
    """`Ops` on CUDA."""

    def __init__(self) -> None:
        self._tap_weights: dict[int, Tensor] = {}
        self._padded_layers: dict[int, tuple[Tensor, Tensor]] = {}

    def norm(
        self, x: Tensor, branch: GatedBranch | None, shift: Tensor, scale: Tensor, time_index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Implement `Ops.norm`, one program a frame."""
        n, d = x.shape
        normed = torch.empty_like(x)
        total = torch.empty_like(x) if branch else x
        output, gate = branch or (x, shift)
        block_d = triton.next_power_of_2(d)
        _norm_kernel[(n,)](
            x, output, gate, shift, scale, x if time_index is None else time_index, total, normed, gate.stride(0) // d,
            shift.stride(0) // d, NORM_EPS, D=d, BLOCK_D=block_d, HAS_BRANCH=branch is not None,
            HAS_TIME_INDEX=time_index is not None, num_warps=max(1, min(8, block_d // 256)),
        )  # fmt: skip
        return total, normed

    def project(self, x: Tensor, weight: Tensor, packed: PackedBatch) -> Tensor:
        """Implement `Ops.project`."""
        (n, d), m = packed.condition.shape, x.shape[1]
        out = torch.empty_like(packed.condition)
        _project_kernel[(triton.cdiv(n, PROJECT_FRAMES), triton.cdiv(d, PROJECT_COLUMNS))](
            x, weight, packed.source_frame, packed.condition, out, n, weight.stride(0), M=m, D=d,
            BLOCK_M=max(16, triton.next_power_of_2(m)), FRAMES=PROJECT_FRAMES, COLUMNS=PROJECT_COLUMNS,
            PRECISION=_input_precision(weight), num_warps=4,
        )  # fmt: skip
        return out

    def output_linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Implement `Ops.output_linear` with the layer padded to a multiple of FEATURE_MULTIPLE features."""
        return F.linear(x, *self._padded(layer))[:, : layer.out_features]

    def euler(self, x: Tensor, velocity: Tensor, packed: PackedBatch, dt: Tensor) -> Tensor:
        """Implement `Ops.euler`."""
        f, m = x.shape
        out = torch.empty_like(x)
        _euler_kernel[(triton.cdiv(f, EULER_FRAMES),)](
            x, velocity, packed.unconditional_frame, packed.guidance_scale, packed.segment_index, dt, out, f,
            velocity.stride(0), M=m, BLOCK_M=triton.next_power_of_2(m), FRAMES=EULER_FRAMES, num_warps=4,
        )  # fmt: skip
        return out

    def rotate(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, norms: QueryKeyNorms | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Implement `Ops.rotate` in place, one program a frame."""
        n, _, h, w = qkv.shape
        for part, weight in enumerate(norms or ()):
            qkv[:, part] = F.rms_norm(qkv[:, part], (w,), weight, NORM_EPS)
        _rotate_kernel[(n,)](
            qkv, cos, sin, H=h, W=w, ROTARY_HEADS=heads, BLOCK_D=triton.next_power_of_2(2 * h * w), num_warps=4
        )
        return qkv[:, 0], qkv[:, 1], qkv[:, 2]

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Implement `Ops.linear_gelu` with the GELU in the matrix product's own launch."""
        return torch._addmm_activation(layer.bias, x, layer.weight.T, use_gelu=True)

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        """Implement `Ops.convolve`."""
        n, d = x.shape
        out = torch.empty_like(x)
        c = d // layer.groups
        begin, end = rows.bounds
        _convolve_kernel[(triton.cdiv(n, CONV_FRAMES), layer.groups)](
            x, self._by_tap(layer), layer.bias, begin, end, out, n, D=d, C=c,
            BLOCK_C=max(16, triton.next_power_of_2(c)), TAPS=layer.kernel_size[0], FRAMES=CONV_FRAMES,
            PRECISION=_input_precision(x), num_warps=4,
        )  # fmt: skip
        return out

    def _by_tap(self, layer: nn.Conv1d) -> Tensor:
        """Return the convolution's weights as matrices `[taps, groups, in, out]`, copied once."""
        key = layer.weight.data_ptr()
        if key not in self._tap_weights:
            c = layer.weight.shape[1]
            by_group: Any = layer.weight.view(layer.groups, c, c, -1)  # [groups, out, in, taps]
            self._tap_weights[key] = by_group.permute(3, 0, 2, 1).contiguous()
        return self._tap_weights[key]

    def _padded(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return the layer's weights and biases with zeros for the missing features, copied once.

        cuBLAS multiplies to 128 features in half of the time that it takes for 100, whose rows do not begin at
        multiples of 16 bytes. Between 104 and 128 there is no difference that counts: the product is a thousandth of a
        step.
        """
        key = layer.weight.data_ptr()
        if key not in self._padded_layers:
            missing = -layer.out_features % FEATURE_MULTIPLE
            self._padded_layers[key] = F.pad(layer.weight, (0, 0, 0, missing)), F.pad(layer.bias, (0, missing))
        return self._padded_layers[key]


def _input_precision(x: Tensor) -> str:
    """Return the precision of Triton's products of `x`: fp32 is not rounded to tf32 first."""
    return "ieee" if x.dtype == torch.float32 else "tf32"
