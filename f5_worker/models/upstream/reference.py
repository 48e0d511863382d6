"""f5-tts itself: the reference that tests hold the engine equal to and benchmarks measure against.

Serving does not need it.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment
from f5_worker.models.config import ModelConfig, read_config
from f5_worker.models.f5.config import HOP_SAMPLES, SAMPLE_RATE
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.upstream.checkpoint import build_cfm, load_cfm, load_vocoder
from f5_worker.models.upstream.package import import_model

_LETTERS = "abcdefg "  # the text does not change how long it takes
_SLOW_IMPORTS = ("transformers", "matplotlib", "matplotlib.pylab")  # not needed here


@lru_cache(maxsize=1)
def import_infer() -> Any:
    """Import and return `f5_tts.infer.utils_infer`; its imports for files, plots and recognition may be missing."""
    import_model()
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
        self.cfm = build_cfm(ModelConfig(arch), vocabulary_size)
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


class UpstreamInference:
    """Jobs run by f5-tts' own inference.

    Args:
        directory: holds `model.safetensors`, `arch.json`, `vocab.txt` and `vocoder.safetensors`.
    """

    def __init__(self, directory: Path, device: str, dtype: torch.dtype) -> None:
        config = read_config(directory)
        self._cfm = load_cfm(directory, config, len(Vocabulary.load(directory / "vocab.txt"))).to(device, dtype)
        self._cfm.vocab_char_map = {char: index for index, char in enumerate(_LETTERS)}
        self._vocoder = load_vocoder(directory, config).to(device)
        self._device = device
        self._infer = import_infer()

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
                self._cfm,
                self._vocoder,
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
