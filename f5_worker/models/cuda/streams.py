"""A stream of the device for what is computed beside the other work."""

from __future__ import annotations

import torch

FIRST = -1  # its operations begin before those of other streams that wait


def beside(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream for small operations, which begin as soon as there is room; None on a CPU.

    Work that is on the device already comes before them.
    """
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device, priority=FIRST)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream
