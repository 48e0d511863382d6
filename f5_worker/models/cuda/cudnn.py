"""The switch of cuDNN, which our networks do not use: it plans, and in half precision compiles, for each new length.

That takes 0.2 s on an H200; torch's own kernels for convolutions are as fast. f5-tts uses it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def without_cudnn() -> AbstractContextManager[None]:
    """Disable cuDNN within a block, in all threads of the process; see `disable_cudnn`."""
    return torch.backends.cudnn.flags(enabled=False)


def disable_cudnn() -> None:
    """Disable cuDNN for good, where threads compute at the same time: one would enable it while another computes."""
    torch.backends.cudnn.enabled = False
