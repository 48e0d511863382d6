"""The f5-tts package's own sampler: what the engine is held equal to in tests and benchmarks.

The only module that imports `f5_tts`. Serving does not need it.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def _import_cfm() -> tuple[Any, Any]:
    """`DiT` and `CFM` without the trainer, which f5_tts.model imports along with wandb, datasets, accelerate."""
    if "f5_tts.model.trainer" not in sys.modules:
        stand_in = types.ModuleType("f5_tts.model.trainer")
        stand_in.Trainer = None  # type: ignore[attr-defined]
        sys.modules["f5_tts.model.trainer"] = stand_in
    from f5_tts.model import CFM, DiT

    return DiT, CFM


class UpstreamSampler:
    """`CFM.sample` of f5-tts 1.1.22 on given weights.

    Args:
        arch: keyword arguments of upstream's DiT.
        weights: tensors under upstream's names without `ema_model.`, or None to keep the initial ones.
        vocabulary_size: entries of vocab.txt.
    """

    def __init__(self, arch: Mapping[str, Any], weights: Mapping[str, Tensor] | None, vocabulary_size: int) -> None:
        dit, cfm = _import_cfm()
        self.cfm = cfm(transformer=dit(**arch, text_num_embeds=vocabulary_size)).eval()
        if weights is not None:
            self.cfm.load_state_dict(dict(weights), strict=False)

    def sample(
        self,
        reference: Tensor,
        tokens: Tensor,
        frames: int,
        *,
        nfe: int,
        guidance: float,
        sway: float | None,
        seed: int,
    ) -> Tensor:
        """Mel of the whole segment, `[frames, m]`; noise is what `torch.manual_seed(seed)` gives."""
        out, _ = self.cfm.sample(
            cond=reference.unsqueeze(0),
            text=tokens.unsqueeze(0),
            duration=frames,
            steps=nfe,
            cfg_strength=guidance,
            sway_sampling_coef=sway,
            seed=seed,
        )
        mel: Tensor = out[0]
        return mel

    def mel(self, samples: Tensor) -> Tensor:
        """Upstream's log mel of `samples [nw]`, `[n, m]`."""
        mel: Tensor = self.cfm.mel_spec(samples.unsqueeze(0))[0].transpose(0, 1)
        return mel

    def to(self, device: str, dtype: torch.dtype) -> UpstreamSampler:
        self.cfm.to(device, dtype)
        return self
