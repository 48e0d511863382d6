"""The time of boot beyond that of `import torch`, without flash-attn work: `python bench/boot.py`.

Alternates the two in new processes and writes medians to bench/results/boot.json.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 7

sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is not an installed package


def seconds(command: list[str]) -> float:
    """Return the wall time of a command."""
    environment = os.environ | {"F5_MODEL": "f5-tiny", "F5_CACHE_DIR": "/tmp/f5-bench-cache", "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure both and write the result."""
    bare = [sys.executable, "-c", "import torch"]
    boot = [sys.executable, "model_cache_init.py", "run", "--then", "true"]
    pairs = [(seconds(bare), seconds(boot)) for _ in range(ROUNDS + 1)][1:]  # the first warms the disk cache
    torch_s, boot_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "import_torch_s": round(torch_s, 3),
        "boot_s": round(boot_s, 3),
        "overhead_s": round(boot_s - torch_s, 3),
        "rounds": ROUNDS,
    }
    record("boot", result)


if __name__ == "__main__":
    main()
