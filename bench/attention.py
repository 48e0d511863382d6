"""What computes attention fastest on this machine's GPU: `python bench/attention.py`.

Measures each backend for each class of rows as the worker does at start (models/f5/cuda/attention_choice.py), and how
long that takes. Writes bench/results/attention-<gpu>-<torch>.json.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402 - the repository is not an installed package

from bench.record import record  # noqa: E402
from f5_worker.models.f5.cuda.attention_choice import (  # noqa: E402
    AttentionShape,
    ChosenAttention,
    available_backends,
    cuda_time_us,
    unmeasured,
)

SHAPE = AttentionShape(heads=16, dim_head=64, dtype=torch.float16)  # of F5TTS_v1_Base


def choose(attention: ChosenAttention) -> float:
    """Measure the backends of an attention; return the seconds that the device's thread was busy with it."""
    busy_s = 0.0
    with torch.inference_mode():
        for measure in unmeasured(attention, SHAPE, torch.device("cuda"), cuda_time_us):
            started = time.monotonic()
            measure()
            torch.cuda.synchronize()
            busy_s += time.monotonic() - started
    return busy_s


def main() -> int:
    """Run the measurements and return the exit code."""
    logging.basicConfig(level=logging.INFO)
    if not torch.cuda.is_available():
        sys.exit("this needs a GPU")
    backends = available_backends(SHAPE.dtype, triton=True, flash=True)
    attention = ChosenAttention(backends)
    torch.cuda.synchronize()
    started = time.monotonic()
    busy_s = choose(attention)
    wall_s = time.monotonic() - started
    us: dict[str, dict[str, float]] = {}
    for name, attend in backends.items():
        alone = ChosenAttention({name: attend})
        choose(alone)
        us[name] = {row_class: measured.us for row_class, measured in alone.chosen.items()}
    gpu, version = torch.cuda.get_device_name(), torch.__version__.partition("+")[0]
    slug = "-".join(gpu.lower().split())
    result = {
        "gpu": gpu,
        "torch": torch.__version__,
        "us": us,
        "chosen": {row_class: measured.backend for row_class, measured in attention.chosen.items()},
        "on_the_devices_thread_s": round(busy_s, 2),
        "compiling_and_importing_s": round(wall_s - busy_s, 2),
    }
    record(f"attention-{slug}-{version}", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
