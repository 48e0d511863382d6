"""The operations of ops.py in one launch each, written in Triton. CUDA only; imported where Triton is.

Every step of the model does some 400 of these row_stride its matrix products. torch takes two to eight launches for one,
and moves its operands through memory as often. All compute in fp32, whatever the precision of what they read.

What changes from forward to forward, a number or where a tensor begins, is exempt from specialisation: nothing
compiles anew for another n.

Legend: n frames of all rows together, f of the conditioned ones, m mel bands, d model width, t times that meet in one
forward, h heads, w width of one head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn

from f5_worker.models.f5.cuda.ops import NORM_EPS, Gated
from f5_worker.models.f5.cuda.packed import BLOCK, Packed, Rows

# One program's share of a convolution, of the input projection, of an Euler step; keys that attention takes at a time,
# its warps and its loads under way. The fastest of those tried on an H200, from 1,700 frames to 43,000.
CONV_FRAMES = 64
PROJECT_FRAMES, PROJECT_COLUMNS = 64, 64
EULER_FRAMES = 4
KEYS, WARPS, STAGES = 64, 4, 3
FEATURES = 64  # of the last layer, which is padded to whole multiples
LOG2_E = 1.4426950408889634


@triton.jit(do_not_specialize=["gate_step", "shift_step"])  # type: ignore[untyped-decorator, unused-ignore]
def _norm(  # type: ignore[no-untyped-def]
    x_ptr, branch_ptr, gate_ptr, shift_ptr, scale_ptr, times_ptr, sum_ptr, normed_ptr, gate_step, shift_step, eps,
    D: tl.constexpr, BLOCK_D: tl.constexpr, ADD: tl.constexpr, TIMES: tl.constexpr,
):  # fmt: skip
    """One frame: add, normalise, modulate. What hangs on no other load is read first.

    From one time to the next it is so many steps of D, which tells the compiler that wide loads are aligned.
    """
    frame = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK_D)
    inside = column < D
    x = tl.load(x_ptr + frame * D + column, inside, 0.0).to(tl.float32)
    if ADD:
        branch = tl.load(branch_ptr + frame * D + column, inside, 0.0).to(tl.float32)
    time = tl.load(times_ptr + frame) if TIMES else 0
    scale = tl.load(scale_ptr + time * shift_step * D + column, inside, 0.0).to(tl.float32)
    shift = tl.load(shift_ptr + time * shift_step * D + column, inside, 0.0).to(tl.float32)
    if ADD:
        x += branch * tl.load(gate_ptr + time * gate_step * D + column, inside, 0.0).to(tl.float32)
        kept = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + frame * D + column, kept, inside)
        x = kept.to(tl.float32)
    centred = tl.where(inside, x - tl.sum(x, 0) / D, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / D + eps)
    out = normed * (1 + scale) + shift
    tl.store(normed_ptr + frame * D + column, out.to(normed_ptr.dtype.element_ty), inside)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _rotate(  # type: ignore[no-untyped-def]
    qkv_ptr, cos_ptr, sin_ptr, H: tl.constexpr, W: tl.constexpr, ROTARY_HEADS: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Queries and keys of one frame, in place; they lie before the values."""
    frame = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, BLOCK_D // 2)
    angle = frame * (W // 2) + pair % (W // 2)
    cos, sin = tl.load(cos_ptr + angle).to(tl.float32), tl.load(sin_ptr + angle).to(tl.float32)
    column = tl.arange(0, BLOCK_D)
    inside = (column < 2 * H * W) & ((column // W) % H < ROTARY_HEADS)
    at = qkv_ptr + frame * (3 * H * W) + column
    first, second = tl.split(tl.load(at, inside, 0.0).to(tl.float32).reshape(BLOCK_D // 2, 2))
    turned = tl.join(first * cos - second * sin, second * cos + first * sin).reshape(BLOCK_D)
    tl.store(at, turned.to(qkv_ptr.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["source_ptr", "n"])  # type: ignore[untyped-decorator, unused-ignore]
def _project(  # type: ignore[no-untyped-def]
    x_ptr, weight_ptr, source_ptr, fixed_ptr, out_ptr, n, row_stride,
    M: tl.constexpr, D: tl.constexpr, BANDS: tl.constexpr, FRAMES: tl.constexpr, COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Some columns of some frames: one matrix product over all mel bands."""
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    band = tl.arange(0, BANDS)
    inside, there = frame < n, column < D
    source = tl.load(source_ptr + frame, inside, 0)
    x = tl.load(x_ptr + source[:, None] * M + band[None, :], inside[:, None] & (band < M)[None, :], 0.0)
    weight = tl.load(weight_ptr + column[None, :] * row_stride + band[:, None], there[None, :] & (band < M)[:, None], 0.0)
    at = frame[:, None].to(tl.int64) * D + column[None, :]
    given = inside[:, None] & there[None, :]
    fixed = tl.load(fixed_ptr + at, given, 0.0).to(tl.float32)
    out = tl.dot(x.to(weight.dtype), weight, fixed, input_precision=PRECISION)
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), given)


@triton.jit(do_not_specialize=["twin_ptr", "segment_ptr", "widths_ptr", "f"])  # type: ignore[untyped-decorator, unused-ignore]
def _euler(  # type: ignore[no-untyped-def]
    x_ptr, velocity_ptr, twin_ptr, strength_ptr, segment_ptr, widths_ptr, out_ptr, f, row_stride,
    M: tl.constexpr, BANDS: tl.constexpr, FRAMES: tl.constexpr,
):  # fmt: skip
    """Some frames: guide, then step."""
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    band = tl.arange(0, BANDS)[None, :]
    inside = frame < f
    twin = tl.load(twin_ptr + frame, inside, 0)[:, None]
    strength = tl.load(strength_ptr + frame, inside, 0.0)[:, None]
    width = tl.load(widths_ptr + tl.load(segment_ptr + frame, inside, 0), inside, 0.0)[:, None]
    given = inside[:, None] & (band < M)
    at = frame[:, None].to(tl.int64) * M + band
    shown = tl.load(velocity_ptr + frame[:, None].to(tl.int64) * row_stride + band, given, 0.0).to(tl.float32)
    other = tl.load(velocity_ptr + twin * row_stride + band, given, 0.0).to(tl.float32)
    x = tl.load(x_ptr + at, given, 0.0)
    tl.store(out_ptr + at, x + width * (shown + (shown - other) * strength), given)


@triton.jit(do_not_specialize=["n"])  # type: ignore[untyped-decorator, unused-ignore]
def _convolve(  # type: ignore[no-untyped-def]
    x_ptr, weight_ptr, bias_ptr, begin_ptr, end_ptr, out_ptr, n,
    D: tl.constexpr, C: tl.constexpr, BLOCK_D: tl.constexpr, TAPS: tl.constexpr, FRAMES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Some frames of one group of C channels: a matrix product for each tap, then the bias and Mish."""
    frame = tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    group = tl.program_id(1)
    channel = tl.arange(0, BLOCK_D)
    inside = channel < C
    begin = tl.load(begin_ptr + frame, frame < n, 0)
    end = tl.load(end_ptr + frame, frame < n, 0)
    square = inside[:, None] & inside[None, :]
    total = tl.zeros((FRAMES, BLOCK_D), tl.float32)
    for tap in range(TAPS):
        source = frame + tap - TAPS // 2
        own = (source >= begin) & (source < end)
        x = tl.load(
            x_ptr + source[:, None].to(tl.int64) * D + group * C + channel[None, :],
            own[:, None] & inside[None, :],
            0.0,
        )
        weight = tl.load(
            weight_ptr + (tap * (D // C) + group) * C * C + channel[:, None] * C + channel[None, :], square, 0.0
        )
        total = tl.dot(x, weight, total, input_precision=PRECISION)
    total += tl.load(bias_ptr + group * C + channel, inside, 0.0).to(tl.float32)[None, :]
    grown = tl.exp(tl.minimum(total, 20.0))
    grown = grown * (grown + 2)  # tanh(softplus(x)) = e(e + 2) / (e(e + 2) + 2), e = exp(x)
    out = total * (grown / (grown + 2))
    tl.store(
        out_ptr + frame[:, None].to(tl.int64) * D + group * C + channel[None, :],
        out.to(out_ptr.dtype.element_ty),
        (frame < n)[:, None] & inside[None, :],
    )


@triton.jit(do_not_specialize=["scale"])  # type: ignore[untyped-decorator, unused-ignore]
def _attend(  # type: ignore[no-untyped-def]
    query_ptr, key_ptr, value_ptr, out_ptr, blocks_ptr, stride, scale,
    H: tl.constexpr, W: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Some queries of one head against all keys of their row, with a running softmax (FlashAttention-2)."""
    block = blocks_ptr + 3 * tl.program_id(0)
    first, begin, end = tl.load(block), tl.load(block + 1), tl.load(block + 2)
    if first >= end:
        return
    head = tl.program_id(1) * W
    column = tl.arange(0, W)
    asking = tl.arange(0, QUERIES)
    asked = tl.arange(0, KEYS)
    present = (first + asking < end)[:, None]
    own = query_ptr + first.to(tl.int64) * stride + head
    query = tl.load(own + asking[:, None] * stride + column[None, :], present, 0.0)
    key_ptr += begin.to(tl.int64) * stride + head
    value_ptr += begin.to(tl.int64) * stride + head
    length = end - begin
    highest = tl.full((QUERIES,), float("-inf"), tl.float32)
    weight = tl.zeros((QUERIES,), tl.float32)
    total = tl.zeros((QUERIES, W), tl.float32)
    whole = length // KEYS * KEYS
    for at in range(0, whole, KEYS):
        key = tl.load(key_ptr + (at + asked)[None, :] * stride + column[:, None])
        score = tl.dot(query, key)
        higher = tl.maximum(highest, tl.max(score, 1) * scale)
        part = tl.exp2(score * scale - higher[:, None])
        fade = tl.exp2(highest - higher)
        weight = weight * fade + tl.sum(part, 1)
        value = tl.load(value_ptr + (at + asked)[:, None] * stride + column[None, :])
        total = tl.dot(part.to(value.dtype), value, total * fade[:, None])
        highest = higher
    if whole < length:
        there = whole + asked < length
        key = tl.load(key_ptr + (whole + asked)[None, :] * stride + column[:, None], there[None, :], 0.0)
        score = tl.where(there[None, :], tl.dot(query, key) * scale, float("-inf"))
        higher = tl.maximum(highest, tl.max(score, 1))
        part = tl.exp2(score - higher[:, None])
        fade = tl.exp2(highest - higher)
        weight = weight * fade + tl.sum(part, 1)
        value = tl.load(value_ptr + (whole + asked)[:, None] * stride + column[None, :], there[:, None], 0.0)
        total = tl.dot(part.to(value.dtype), value, total * fade[:, None])
    out = (total / weight[:, None]).to(out_ptr.dtype.element_ty)
    mine = out_ptr + first.to(tl.int64) * (H * W) + head
    tl.store(mine + asking[:, None] * (H * W) + column[None, :], out, present)


def attend_triton(query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
    """`Attend` in half precision; on Hopper faster than FlashAttention-2 (docs/performance.md)."""
    n, h, w = query.shape
    out = query.new_empty(n, h, w)
    _attend[(len(rows.blocks), h)](
        query, key, value, out, rows.blocks, query.stride(0), w**-0.5 * LOG2_E, H=h, W=w, QUERIES=BLOCK,
        KEYS=KEYS, num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out


class TritonOps:
    """`Ops` on CUDA."""

    def __init__(self) -> None:
        self._taps: dict[int, Tensor] = {}
        self._widened: dict[int, tuple[Tensor, Tensor]] = {}

    def norm(
        self, x: Tensor, added: Gated | None, shift: Tensor, scale: Tensor, times: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        n, d = x.shape
        normed = torch.empty_like(x)
        total = torch.empty_like(x) if added else x
        branch, gate = added or (x, shift)
        wide = triton.next_power_of_2(d)
        _norm[(n,)](
            x, branch, gate, shift, scale, x if times is None else times, total, normed, gate.stride(0) // d,
            shift.stride(0) // d, NORM_EPS, D=d, BLOCK_D=wide, ADD=added is not None, TIMES=times is not None,
            num_warps=max(1, min(8, wide // 256)),
        )  # fmt: skip
        return total, normed

    def project(self, x: Tensor, weight: Tensor, packed: Packed) -> Tensor:
        (n, d), m = packed.fixed.shape, x.shape[1]
        out = torch.empty_like(packed.fixed)
        _project[(triton.cdiv(n, PROJECT_FRAMES), triton.cdiv(d, PROJECT_COLUMNS))](
            x, weight, packed.source, packed.fixed, out, n, weight.stride(0), M=m, D=d,
            BANDS=max(16, triton.next_power_of_2(m)), FRAMES=PROJECT_FRAMES, COLUMNS=PROJECT_COLUMNS,
            PRECISION=_precision(weight), num_warps=4,
        )  # fmt: skip
        return out

    def output_linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        return F.linear(x, *self._on_whole_tiles(layer))[:, : layer.out_features]

    def euler(self, x: Tensor, velocity: Tensor, packed: Packed, widths: Tensor) -> Tensor:
        f, m = x.shape
        out = torch.empty_like(x)
        _euler[(triton.cdiv(f, EULER_FRAMES),)](
            x, velocity, packed.twin, packed.strength, packed.segment, widths, out, f, velocity.stride(0), M=m,
            BANDS=triton.next_power_of_2(m), FRAMES=EULER_FRAMES, num_warps=4,
        )  # fmt: skip
        return out

    def rotate(self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        n, _, h, w = qkv.shape
        _rotate[(n,)](qkv, cos, sin, H=h, W=w, ROTARY_HEADS=heads, BLOCK_D=triton.next_power_of_2(2 * h * w), num_warps=4)
        query, key, value = qkv.unbind(1)
        return query, key, value

    def linear_gelu(self, x: Tensor, layer: nn.Linear) -> Tensor:
        return torch._addmm_activation(layer.bias, x, layer.weight.T, use_gelu=True)

    def convolve(self, x: Tensor, rows: Rows, layer: nn.Conv1d) -> Tensor:
        n, d = x.shape
        out = torch.empty_like(x)
        c = d // layer.groups
        begin, end = rows.bounds
        _convolve[(triton.cdiv(n, CONV_FRAMES), layer.groups)](
            x, self._by_tap(layer), layer.bias, begin, end, out, n, D=d, C=c, BLOCK_D=max(16, triton.next_power_of_2(c)),
            TAPS=layer.kernel_size[0], FRAMES=CONV_FRAMES, PRECISION=_precision(x), num_warps=4,
        )  # fmt: skip
        return out

    def _by_tap(self, layer: nn.Conv1d) -> Tensor:
        """The convolution's weights as matrices `[taps, groups, in, out]`, laid out once."""
        key = layer.weight.data_ptr()
        if key not in self._taps:
            c = layer.weight.shape[1]
            by_group: Any = layer.weight.view(layer.groups, c, c, -1)  # [groups, out, in, taps]
            self._taps[key] = by_group.permute(3, 0, 2, 1).contiguous()
        return self._taps[key]

    def _on_whole_tiles(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """The layer's weights and biases with zeros for more features, laid out once.

        cuBLAS multiplies to 128 features in less than half of the time that it takes for 100.
        """
        key = layer.weight.data_ptr()
        if key not in self._widened:
            missing = -layer.out_features % FEATURES
            self._widened[key] = F.pad(layer.weight, (0, 0, 0, missing)), F.pad(layer.bias, (0, missing))
        return self._widened[key]


def _precision(x: Tensor) -> str:
    """What Triton's products of `x` compute in: fp32 is not rounded to tf32 first."""
    return "ieee" if x.dtype == torch.float32 else "tf32"
