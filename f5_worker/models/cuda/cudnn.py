"""cuDNN, which nothing here uses: it plans, and in half precision compiles, for each new length: 0.2 s on an H200.

torch's own kernels for convolutions take no longer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def without_cudnn() -> AbstractContextManager[None]:
    """Disable cuDNN within a block, for the whole process: where threads compute side by side, see `disable_cudnn`."""
    return torch.backends.cudnn.flags(enabled=False)


def disable_cudnn() -> None:
    """Disable cuDNN for good: of two threads, one would turn it on again while the other computes."""
    torch.backends.cudnn.enabled = False
