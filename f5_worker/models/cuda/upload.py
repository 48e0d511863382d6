"""Copies from the host's memory to the device's."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(x: Tensor, device: torch.device) -> Tensor:
    """Copy `x` to the device, in the order of its stream, without making the host wait.

    A copy from pageable memory makes the host wait for all work that the device has queued, and then the device for
    the host.
    """
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
