"""Which attention a model uses for which rows: measured on the GPU at hand, since no backend wins on every one.

On an H100 our kernel and FlashAttention-3 each win for some rows (bench/results/attention.json).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from f5_worker.log import logger
from f5_worker.models.f5.attention import Attend, attend_dense, attend_flash, attend_flash_3, attend_torch
from f5_worker.models.f5.cuda.packed import Rows
from f5_worker.models.f5.cuda.step_graphs import SINGLE_SEGMENT_ROWS
from f5_worker.models.f5.cuda.tuning import Call, TimeUs, Work, read_choice, tuning_file, write_choice
from f5_worker.models.f5.network import DiT

AttentionName = Literal["auto", "triton", "flash", "torch"]

MAX_ERROR = 1e-2  # relative, of half precision

_FLASH_ATTN: Mapping[str, tuple[str, Attend]] = {
    "flash-attn": ("flash_attn", attend_flash),
    "flash-attn 3": ("flash_attn_interface", attend_flash_3),
}


class AttentionShape(NamedTuple):
    """What else attention depends on: the model's heads and their width, and its precision."""

    heads: int
    dim_head: int
    dtype: torch.dtype

    @classmethod
    def of(cls, model: DiT) -> AttentionShape:
        """Return the shape of a model's attention."""
        return cls(model.arch.heads, model.arch.dim_head, model.dtype)


class RowClass(NamedTuple):
    """Rows whose attention behaves alike, and the lengths that stand for them.

    Attributes:
        max_rows, max_frames: the most that belong to the class; a captured size counts its padding row.
    """

    name: str
    lengths: tuple[int, ...]
    max_rows: float
    max_frames: float


# One segment is two rows, the second without the text; a batch of the usual size has 8,192 frames (F5_BATCH_FRAMES).
ROW_CLASSES = (
    RowClass("short", (500, 500), SINGLE_SEGMENT_ROWS, 1_400),
    RowClass("usual", (900, 900), SINGLE_SEGMENT_ROWS, 2_500),
    RowClass("long", (1_622, 1_622), SINGLE_SEGMENT_ROWS, float("inf")),
    RowClass("batch", (900,) * 8, float("inf"), 12_000),
    RowClass("large batch", (1_300,) * 32, float("inf"), float("inf")),
)


class Measured(NamedTuple):
    """The fastest attention for a class of rows, and the microseconds that it takes for its lengths."""

    backend: str
    us: float


@dataclass
class ChosenAttention:
    """The fastest attention of several, as `Attend`: the first one until they were measured."""

    backends: Mapping[str, Attend]
    chosen: dict[str, Measured] = field(default_factory=dict)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
        """Attend within each row."""
        measured = self.chosen.get(class_of(len(rows.cumulative) - 1, len(query)).name)
        name = measured.backend if measured is not None else next(iter(self.backends))
        return self.backends[name](query, key, value, rows)


def available_backends(dtype: torch.dtype, *, triton: bool, flash: bool) -> dict[str, Attend]:
    """Return what computes attention for all rows in one launch, the default first; in fp32 only `dense`.

    Args:
        triton: Triton's kernels passed their trial on this GPU.
        flash: flash-attn may be used where it is installed; boot left it only if it passed its test.
    """
    if dtype not in (torch.float16, torch.bfloat16):
        return {"dense": attend_dense}
    backends: dict[str, Attend] = {}
    if triton:
        from f5_worker.models.f5.cuda.kernels import TritonAttention

        shapes = (TritonAttention(), TritonAttention(64, 4, 2), TritonAttention(64, 4, 4), TritonAttention(32, 4, 3))
        backends = {f"triton {shape.keys}x{shape.warps}x{shape.stages}": shape for shape in shapes}
    return backends | (installed_flash_attn() if flash else {}) | {"torch": attend_torch}


def installed_flash_attn() -> dict[str, Attend]:
    """Return the packages of the project flash-attention that this process can find."""
    return {name: attend for name, (package, attend) in _FLASH_ATTN.items() if find_spec(package) is not None}


def restrict(backends: Mapping[str, Attend], wanted: AttentionName) -> dict[str, Attend]:
    """Return the backends of the kind that F5_ATTENTION names; all for `auto`."""
    return {name: attend for name, attend in backends.items() if wanted == "auto" or name.startswith(wanted)}


def unmeasured(
    attention: ChosenAttention, shape: AttentionShape, device: torch.device, time_us: TimeUs
) -> Iterator[Work]:
    """Yield short pieces of work for the device that choose the attention of each class of rows, if no file has it.

    A backend that fails, or that does not agree with dense attention, is not chosen. The choice is kept in a file for
    the next start.

    Args:
        time_us: returns the microseconds that the device takes for a call.
    """
    kept = _choice_file(shape, attention.backends)
    earlier = read_attention(kept, attention.backends) if kept else {}
    for name in {measured.backend for measured in earlier.values()}:
        _prepare(name, attention.backends[name], shape)
    attention.chosen |= earlier
    if earlier:
        return
    for name, attend in attention.backends.items():
        _prepare(name, attend, shape)
    for row_class in ROW_CLASSES:
        for name in attention.backends:
            yield partial(_measure, attention, name, row_class, shape, device, time_us)
    logger.info(
        "attention is computed by %s",
        ", ".join(f"{best.backend} for {name} rows ({best.us} us)" for name, best in attention.chosen.items()),
    )
    if kept:
        write_choice(kept, {name: best._asdict() for name, best in attention.chosen.items()})


def _prepare(name: str, attend: Attend, shape: AttentionShape) -> None:
    """Compile or import a backend, which takes seconds, in the caller's thread and not in the device's."""
    try:
        if compile_kernel := getattr(attend, "compile", None):
            compile_kernel(shape.heads, shape.dim_head, shape.dtype)
        elif name in _FLASH_ATTN:
            import_module(_FLASH_ATTN[name][0])
            if name == "flash-attn 3":
                import_module("torch._dynamo")  # which its first call would import: 4 s
    except Exception as failure:  # noqa: BLE001 - the measurement meets it again
        logger.info("%s cannot be prepared: %s", name, failure)


def check_attention(attend: Attend, lengths: Sequence[int], shape: AttentionShape, device: torch.device) -> Call:
    """Return a call of `attend` on random rows, for measuring.

    Raises:
        ValueError: its result differs from that of dense attention. Whatever a backend raises.
    """
    rows = Rows.from_lengths(lengths, device)
    generator = torch.Generator(device).manual_seed(0)
    size = (sum(lengths), 3, shape.heads, shape.dim_head)
    query, key, value = torch.randn(size, generator=generator, device=device, dtype=shape.dtype).unbind(1)
    expected = attend_dense(query, key, value, rows).float()
    call = partial(attend, query, key, value, rows)
    error = float((call().float() - expected).norm() / expected.norm())
    if not error <= MAX_ERROR:
        raise ValueError(f"its result is off by {error:.1%}")
    return call


def _measure(
    attention: ChosenAttention,
    name: str,
    row_class: RowClass,
    shape: AttentionShape,
    device: torch.device,
    time_us: TimeUs,
) -> None:
    """Choose a backend for a class of rows if it is the fastest so far."""
    try:
        us = round(time_us(check_attention(attention.backends[name], row_class.lengths, shape, device)), 1)
    except Exception as failure:  # noqa: BLE001 - of a compiler, a driver or a package; the others work without it
        logger.info("%s is not used for attention of %s rows: %s", name, row_class.name, failure)
        return
    best = attention.chosen.get(row_class.name)
    if best is None or us < best.us:
        attention.chosen[row_class.name] = Measured(name, us)


def _choice_file(shape: AttentionShape, backends: Iterable[str]) -> Path | None:
    """Return where the choice for such a model among these backends is kept; None if nowhere."""
    model = [shape.heads, shape.dim_head, str(shape.dtype)]
    return tuning_file("attention", {"model": model, "backends": sorted(backends)})


def read_attention(path: Path, backends: Mapping[str, Attend]) -> dict[str, Measured]:
    """Return the choice that is kept in a file; empty if there is none that can be used."""
    try:
        table = read_choice(path)
        chosen = {name: Measured(str(entry["backend"]), float(entry["us"])) for name, entry in table.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    complete = chosen.keys() == {row_class.name for row_class in ROW_CLASSES}
    return chosen if complete and all(measured.backend in backends for measured in chosen.values()) else {}


def class_of(n_rows: int, n_frames: int) -> RowClass:
    """Return the class of so many rows of so many frames together."""
    return next(item for item in ROW_CLASSES if n_rows <= item.max_rows and n_frames <= item.max_frames)
