"""GE2E's speaker encoder (Wan et al. 2018, arXiv 1710.10467), as Resemblyzer trained it.

Legend: b windows, f frames, m mel bands, d width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from f5_worker.models.f5.skip_init import SkipInit
from f5_worker.models.pickled.torch_file import load_tensors
from f5_worker.models.speaker.checkpoint import LAYERS, MELS, NESTED_AS, SHAPES, WIDTH


class SpeakerNetwork(nn.Module):
    """An LSTM over the mel frames of a window, whose last state is projected to a unit vector."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, WIDTH, LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, mels: Tensor) -> Tensor:
        """Return a vector `[b, d]` of length 1, with no negative element, for each window `[b, f, m]`."""
        _, (states, _) = self.lstm(mels)
        return nn.functional.normalize(torch.relu(self.linear(states[-1])), dim=1)


def load_speaker_network(path: Path) -> SpeakerNetwork:
    """Load the weights from a file that `find_speaker_weights` has found, on the CPU, in fp32."""
    stored = load_tensors(path, NESTED_AS) if path.suffix == ".pt" else load_file(path)
    with SkipInit():
        network = SpeakerNetwork()
    network.load_state_dict({name: stored[name] for name in SHAPES})
    return network.eval().requires_grad_(False)
