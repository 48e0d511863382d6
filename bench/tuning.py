"""What the worker tunes to this machine's GPU at start: `python bench/tuning.py`.

Measures each backend of attention for each class of rows, the products of a transformer block for each size of CUDA
graphs and for one a little smaller, and the last layer padded to several widths, all as the worker does
(models/f5/cuda/attention_choice.py, size_choice.py), and how long the worker's part takes. Writes
bench/results/tuning-<gpu>-<torch>.json.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402 - the repository is not an installed package

from bench.record import record  # noqa: E402
from f5_worker.models.f5.config import Arch  # noqa: E402
from f5_worker.models.f5.cuda.attention_choice import (  # noqa: E402
    AttentionShape,
    ChosenAttention,
    available_backends,
    unmeasured,
)
from f5_worker.models.f5.cuda.kernels import TritonOps  # noqa: E402
from f5_worker.models.f5.cuda.size_choice import (  # noqa: E402
    OFFSETS,
    SIZES,
    block_products,
    default_frames,
    unmeasured_frames,
)
from f5_worker.models.f5.cuda.tuning import Work, cuda_time_us  # noqa: E402
from f5_worker.models.f5.network import Backend, DiT  # noqa: E402

ARCH = Arch(dim=1_024, depth=1, heads=16, ff_mult=2, text_dim=512, conv_layers=4)  # F5TTS_v1_Base, but for its depth
WIDTHS, WIDTH_FRAMES = (100, 104, 112, 128, 192), (496, 3_244, 8_208)


def run(pieces: Iterable[Work]) -> float:
    """Run pieces of work; return the seconds that the device's thread is busy with them."""
    busy_s = 0.0
    with torch.inference_mode():
        for piece in pieces:
            started = time.monotonic()
            piece()
            torch.cuda.synchronize()
            busy_s += time.monotonic() - started
    return busy_s


def attention(model: DiT) -> dict[str, Any]:
    """Return the microseconds of each backend, and which are chosen."""
    shape = AttentionShape.of(model)
    backends = available_backends(shape.dtype, triton=True, flash=True)
    torch.cuda.synchronize()
    started = time.monotonic()
    every = ChosenAttention(backends)
    busy_s = run(unmeasured(every, shape, model.device, cuda_time_us))
    wall_s = time.monotonic() - started
    us: dict[str, dict[str, float]] = {}
    for name, attend in backends.items():
        alone = ChosenAttention({name: attend})
        run(unmeasured(alone, shape, model.device, cuda_time_us))
        us[name] = {row_class: measured.us for row_class, measured in alone.chosen.items()}
    return {
        "us": us,
        "chosen": {row_class: measured.backend for row_class, measured in every.chosen.items()},
        "on_the_devices_thread_s": round(busy_s, 2),
        "compiling_and_importing_s": round(wall_s - busy_s, 2),
    }


def sizes(model: DiT) -> dict[str, Any]:
    """Return the microseconds of a block's products for each size at each offset, and the offset that is chosen."""
    frames = default_frames()
    busy_s = run(unmeasured_frames(frames, model, cuda_time_us))
    with torch.inference_mode():
        us = {
            size: [round(cuda_time_us(block_products(model, size - offset)), 1) for offset in OFFSETS] for size in SIZES
        }
        widths = {n: {width: round(_time_width(n, width), 1) for width in WIDTHS} for n in WIDTH_FRAMES}
    return {
        "offsets": OFFSETS,
        "us": us,
        "chosen": {size: size - n for size, n in frames.items()},
        "on_the_devices_thread_s": round(busy_s, 2),
        "us_of_last_layer": widths,
    }


def _time_width(n: int, width: int) -> float:
    layer = torch.nn.Linear(ARCH.dim, width).half().cuda()
    return cuda_time_us(partial(layer, torch.zeros(n, ARCH.dim, dtype=torch.float16, device="cuda")))


def main() -> int:
    """Run the measurements and return the exit code."""
    logging.basicConfig(level=logging.INFO)
    if not torch.cuda.is_available():
        sys.exit("this needs a GPU")
    model = DiT(ARCH, 100).half().cuda()
    model.backend = Backend(TritonOps())
    gpu, version = torch.cuda.get_device_name(), torch.__version__.partition("+")[0]
    slug = "-".join(gpu.lower().split())
    result = {"gpu": gpu, "torch": torch.__version__, "attention": attention(model), "sizes": sizes(model)}
    record(f"tuning-{slug}-{version}", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
