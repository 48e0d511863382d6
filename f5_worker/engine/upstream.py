"""The f5-tts package's own sampler: what the engine is held equal to in tests and benchmarks.

The only module that imports `f5_tts` and `vocos`. Serving does not need it.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from f5_worker.engine.batcher import Samples, Segment
from f5_worker.engine.config import HOP_SAMPLES, N_FFT
from f5_worker.text.tokens import Vocabulary


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


class UpstreamEngine:
    """A checkpoint in the hands of f5-tts and vocos: segments to sound, one after another, as `Engine.speak`.

    Args:
        directory: `model.safetensors`, `arch.json`, `vocab.txt` and `vocoder.safetensors`.
    """

    def __init__(self, directory: Path, device: str, dtype: torch.dtype) -> None:
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone

        arch = json.loads((directory / "arch.json").read_text(encoding="utf-8"))
        weights = {name.removeprefix("ema_model."): x for name, x in load_file(directory / "model.safetensors").items()}
        vocabulary_size = len(Vocabulary.load(directory / "vocab.txt"))
        self._sampler = UpstreamSampler(arch, weights, vocabulary_size).to(device, dtype)
        vocoder = {name: x.float() for name, x in load_file(directory / "vocoder.safetensors").items()}
        dim, mel_dim, _ = vocoder["backbone.embed.weight"].shape
        inner = vocoder["backbone.convnext.0.pwconv1.weight"].shape[0]
        layers = sum(name.endswith(".gamma") for name in vocoder)
        self._backbone = VocosBackbone(mel_dim, dim, inner, layers)
        self._head = ISTFTHead(dim, N_FFT, HOP_SAMPLES, "center")
        modules = torch.nn.ModuleDict({"backbone": self._backbone, "head": self._head})
        modules.load_state_dict(vocoder, strict=False)  # the window is derived
        modules.eval().to(device)
        self._device = device

    def speak(self, segment: Segment) -> Samples:
        """The target part of a segment as sound, `[nw]` at 24 kHz."""
        with torch.inference_mode():
            reference = self._sampler.mel(torch.from_numpy(segment.reference).to(self._device))
            tokens = torch.tensor(segment.tokens, device=self._device)
            mel = self._sampler.sample(
                reference,
                tokens,
                segment.frames,
                nfe=segment.nfe,
                guidance=segment.guidance,
                sway=segment.sway,
                seed=segment.seed,
            )
            target = mel[len(reference) :].float().T.unsqueeze(0)
            samples: Samples = self._head(self._backbone(target))[0].cpu().numpy()
            return samples
