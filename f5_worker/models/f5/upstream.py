"""The f5-tts package itself: the reference that tests hold the engine equal to and benchmarks measure against.

The only module that imports `f5_tts` and `vocos`. Serving does not need it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment
from f5_worker.models.f5.config import HOP_SAMPLES, N_FFT, SAMPLE_RATE
from f5_worker.models.f5.tokenizer import Vocabulary

_LETTERS = "abcdefg "  # the text does not change how long it takes
_SLOW_IMPORTS = ("transformers", "matplotlib", "matplotlib.pylab")  # not needed here


def _import_cfm() -> tuple[Any, Any]:
    """Return `DiT` and `CFM` without the trainer, which f5_tts.model imports with wandb, datasets, accelerate."""
    if "f5_tts.model.trainer" not in sys.modules:
        stub = types.ModuleType("f5_tts.model.trainer")
        stub.Trainer = None  # type: ignore[attr-defined]
        sys.modules["f5_tts.model.trainer"] = stub
    from f5_tts.model import CFM, DiT

    return DiT, CFM


def _import_infer() -> Any:
    """Return `f5_tts.infer.utils_infer`; its imports for files, plots and recognition may be missing."""
    _import_cfm()
    names = {
        "matplotlib": ("use",), "matplotlib.pylab": (), "tqdm": (), "huggingface_hub": ("hf_hub_download",),
        "pydub": ("AudioSegment", "silence"), "transformers": ("pipeline",), "vocos": ("Vocos",),
    }  # fmt: skip
    for name, attributes in names.items():
        if name in _SLOW_IMPORTS or importlib.util.find_spec(name.partition(".")[0]) is None:
            module = sys.modules.setdefault(name, types.ModuleType(name))
            for attribute in attributes:
                setattr(module, attribute, lambda *args, **kwargs: None)
    from f5_tts.infer import utils_infer

    return utils_infer


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
        guidance_scale: float,
        sway_coefficient: float | None,
        seed: int,
    ) -> Tensor:
        """Return the mel of the whole segment, `[frames, m]`; the noise is drawn after `torch.manual_seed(seed)`."""
        out, _ = self.cfm.sample(
            cond=reference.unsqueeze(0),
            text=tokens.unsqueeze(0),
            duration=frames,
            steps=nfe,
            cfg_strength=guidance_scale,
            sway_sampling_coef=sway_coefficient,
            seed=seed,
        )
        mel: Tensor = out[0]
        return mel

    def mel(self, samples: Tensor) -> Tensor:
        """Return upstream's log mel of `samples [nw]`, `[n, m]`."""
        mel: Tensor = self.cfm.mel_spec(samples.unsqueeze(0))[0].transpose(0, 1)
        return mel

    def to(self, device: str, dtype: torch.dtype) -> UpstreamSampler:
        """Move the model to a device and precision."""
        self.cfm.to(device, dtype)
        return self


class UpstreamRunner:
    """A checkpoint run by f5-tts and vocos.

    Args:
        directory: holds `model.safetensors`, `arch.json`, `vocab.txt` and `vocoder.safetensors`.
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
        self._sampler.cfm.vocab_char_map = {char: index for index, char in enumerate(_LETTERS)}
        self._device = device
        self._infer = _import_infer()

    def decode(self, mel: Tensor) -> Tensor:
        """Decode as `vocos.Vocos.decode`: `[1, m, n]` -> `[1, nw]`."""
        samples: Tensor = self._head(self._backbone(mel))
        return samples

    def generate(self, segments: Sequence[Segment]) -> Samples:
        """Run a job by `infer_batch_process`: all segments at once in its own threads, joined; `[nw]` at 24 kHz.

        The segments have one reference and about equal lengths: it divides a given duration among their texts.
        """
        first = segments[0]
        reference = torch.from_numpy(first.reference).unsqueeze(0)
        reference_frames = len(first.reference) // HOP_SAMPLES
        target_s = sum(segment.frames - reference_frames for segment in segments) * HOP_SAMPLES / SAMPLE_RATE
        overlap_s = self._infer.cross_fade_duration * (len(segments) - 1)
        text = _LETTERS * (len(first.tokens) // len(_LETTERS))
        n_transcript = len(text) * reference_frames // first.frames
        wave, _, _ = next(
            self._infer.infer_batch_process(
                (reference, SAMPLE_RATE),
                text[:n_transcript],
                [text[n_transcript:]] * len(segments),
                self._sampler.cfm,
                self,
                progress=None,
                nfe_step=first.nfe,
                cfg_strength=first.guidance_scale,
                sway_sampling_coef=first.sway_coefficient,
                fix_duration=reference_frames * HOP_SAMPLES / SAMPLE_RATE + target_s - overlap_s,
                device=self._device,
            )
        )
        samples: Samples = wave
        return samples
