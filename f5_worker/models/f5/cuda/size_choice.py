"""Which numbers of frames a step is captured for: the ones for which this GPU multiplies matrices fastest.

cuBLAS chooses a kernel by the exact number of rows, and not always the best one. On an H100 a block's products take
15 % longer for 3,584 frames than for 3,568; for 496 frames, on the other hand, a frame takes 9 % longer than for 512.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from f5_worker.log import logger
from f5_worker.models.f5.cuda.step_graphs import eighth_steps
from f5_worker.models.f5.cuda.tuning import Call, TimeUs, Work, read_choice, tuning_file, write_choice
from f5_worker.models.f5.network import Block, DiT

SIZES = tuple(eighth_steps(64, 128, 256, 512))
OFFSETS = (0, 16)  # tried below each size; with more of them, a size could have over an eighth of padding

Frames = dict[int, int]
"""The number of frames that stands for each of SIZES."""


def default_frames() -> Frames:
    """Return what is captured where nothing is measured."""
    return {size: size - OFFSETS[-1] for size in SIZES}


def unmeasured_frames(frames: Frames, model: DiT, time_us: TimeUs) -> Iterator[Work]:
    """Yield short pieces of work for the device that choose `frames`, if no file has the choice of this GPU.

    Args:
        time_us: returns the microseconds that the device takes for a call.
    """
    kept = _choice_file(model)
    known = read_frames(kept) if kept else {}
    frames |= known
    if known:
        return
    for size in SIZES:
        yield partial(_measure, frames, size, model, time_us)
    moved = sum(chosen != size for size, chosen in frames.items())
    logger.info("of %d sizes of CUDA graphs, %d are faster %d frames smaller", len(frames), moved, OFFSETS[-1])
    if kept:
        write_choice(kept, list(frames.values()))


def read_frames(path: Path) -> Frames:
    """Return the choice that is kept in a file; empty if there is none that can be used."""
    kept = read_choice(path)
    if not isinstance(kept, list) or len(kept) != len(SIZES):
        return {}
    frames = dict(zip(SIZES, kept, strict=True))
    return frames if all(n in (size - offset for offset in OFFSETS) for size, n in frames.items()) else {}


def _measure(frames: Frames, size: int, model: DiT, time_us: TimeUs) -> None:
    """Choose the number of frames whose products take the least time a frame."""
    candidates = [size - offset for offset in OFFSETS]
    frames[size] = min(candidates, key=lambda n: time_us(block_products(model, n)) / n)


def block_products(model: DiT, n: int) -> Call:
    """Return a call that multiplies `n` frames by the matrices of a transformer block."""
    block = cast(Block, model.transformer_blocks[0])
    arch, attn, ops = model.arch, block.attn, model.backend.ops
    x = torch.zeros(n, arch.dim, dtype=model.dtype, device=model.device)
    attended = x.new_zeros(n, arch.heads * arch.dim_head)

    def call() -> Tensor:
        attn.to_qkv(x)
        attn.to_out[0](attended)
        return block.ff.forward(x, ops)

    return call


def _choice_file(model: DiT) -> Path | None:
    """Return where the choice for such a model is kept; None if nowhere."""
    arch = model.arch
    shape = [arch.dim, arch.heads * arch.dim_head, arch.ff_mult, str(model.dtype)]
    return tuning_file("frames", {"model": shape, "sizes": SIZES, "offsets": OFFSETS})
