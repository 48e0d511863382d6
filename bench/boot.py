"""What boot costs over a bare `import torch`, without flash-attn work: `python bench/boot.py`.

Alternates the two in fresh processes and writes medians to bench/results/boot.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "results" / "boot.json"
ROUNDS = 7


def seconds(command: list[str]) -> float:
    environment = os.environ | {"F5_MODEL": "f5-tiny", "F5_CACHE_DIR": "/tmp/f5-bench-cache", "HF_HUB_OFFLINE": "1"}
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    bare = [sys.executable, "-c", "import torch"]
    boot = [sys.executable, "model_cache_init.py", "run", "--then", "true"]
    pairs = [(seconds(bare), seconds(boot)) for _ in range(ROUNDS + 1)][1:]  # the first warms the disk cache
    torch_s, boot_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "import_torch_s": round(torch_s, 3),
        "boot_s": round(boot_s, 3),
        "overhead_s": round(boot_s - torch_s, 3),
        "rounds": ROUNDS,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
