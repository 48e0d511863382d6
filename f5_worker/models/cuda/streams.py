"""A stream of the device for what is computed beside other work."""

from __future__ import annotations

import torch

HIGH_PRIORITY = -1


def priority_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream whose operations begin before those that wait on other streams; None on a CPU.

    What was launched on the current stream until now comes before them.
    """
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device, priority=HIGH_PRIORITY)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream
