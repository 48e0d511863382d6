"""From the host's memory to the device's."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(x: Tensor, device: torch.device) -> Tensor:
    """`x` on the device, in the order of its stream: the host goes on meanwhile.

    A copy from pageable memory makes the host wait for all that the device has in work, and then the device for the
    host.
    """
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
