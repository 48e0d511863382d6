"""The architecture of this network, its measures and its segments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment
from f5_worker.errors import ModelUnavailable
from f5_worker.models.config import PUBLISHED_CONFIGS, ModelConfig, read_config

SAMPLE_RATE = 24_000
N_FFT = 1024
HOP_SAMPLES = 256  # one mel frame; 24_000 / 256 = 93.75 frames a second
MEL_BANDS = 100
FRAMES_PER_S = SAMPLE_RATE / HOP_SAMPLES
MAX_SEGMENT_FRAMES = 4096  # 43.7 s, reference included; the models were trained on up to 30 s
MIN_GUIDANCE_SCALE = 1e-5  # upstream leaves out the unconditional branch below this strength


def mel_frames(n_samples: int) -> int:
    """Return the mel frames of a clip: centred windows give one more than there are whole hops."""
    return n_samples // HOP_SAMPLES + 1


def make_segment(
    reference: Samples,
    tokens: tuple[int, ...],
    frames: int,
    nfe: int,
    guidance_scale: float,
    sway_coefficient: float | None,
    seed: int,
) -> Segment:
    """Return a segment for this network; with guidance its unconditional row doubles its frames in a forward."""
    forward_frames = forward_rows(guidance_scale) * frames
    return Segment(reference, tokens, frames, nfe, guidance_scale, sway_coefficient, seed, forward_frames)


def forward_rows(guidance_scale: float) -> int:
    """Return how many rows a segment has in a forward."""
    return 2 if guidance_scale >= MIN_GUIDANCE_SCALE else 1


@dataclass(frozen=True)
class Arch:
    """Arguments of upstream's `DiT` that change the arithmetic (f5_tts/model/backbones/dit.py)."""

    dim: int
    depth: int
    heads: int
    ff_mult: int
    text_dim: int
    conv_layers: int
    dim_head: int = 64
    mel_dim: int = MEL_BANDS
    text_mask_padding: bool = True
    text_embedding_average_upsampling: bool = False
    qk_norm: str | None = None
    pe_attn_head: int | None = None
    long_skip_connection: bool = False

    def __post_init__(self) -> None:
        if self.qk_norm not in (None, "rms_norm"):
            raise ModelUnavailable(f"arch.json: qk_norm {self.qk_norm!r} is unknown; expected null or rms_norm")
        if self.text_embedding_average_upsampling and not self.text_mask_padding:
            raise ModelUnavailable("arch.json: text_embedding_average_upsampling needs text_mask_padding")


# Names that decide how upstream computes, not what: not in `Arch`, ignored in an arch.json.
IMPLEMENTATION_KEYS = frozenset(
    ("attn_backend", "attn_mask_enabled", "checkpoint_activations", "dropout", "text_num_embeds")
)
_KEYS = frozenset(field.name for field in dataclasses.fields(Arch))

PUBLISHED: Mapping[str, Arch] = {
    name: Arch(**config.arch) for name, config in PUBLISHED_CONFIGS.items() if config.backbone == "DiT"
}


def unsupported(config: ModelConfig) -> str | None:
    """Return what this network does not implement of a checkpoint, or None if it implements it."""
    if config.backbone != "DiT":
        return f"the backbone {config.backbone}"
    if config.mel_spec_type != "vocos":
        return f"the vocoder {config.mel_spec_type}"
    unknown = sorted(set(config.arch) - _KEYS - IMPLEMENTATION_KEYS)
    return f"unknown names {', '.join(unknown)} in its arch.json" if unknown else None


def read_arch(directory: Path) -> Arch:
    """Return the architecture of the checkpoint in `directory`.

    Raises:
        ModelUnavailable: it is not described, or not one that this network implements.
    """
    config = read_config(directory)
    if reason := unsupported(config):
        raise ModelUnavailable(
            f"model {directory.name!r} has {reason}; this worker's own engine runs DiT with Vocos, "
            "f5-tts runs others: set F5_ENGINE=auto"
        )
    try:
        return Arch(**{name: value for name, value in config.arch.items() if name in _KEYS})
    except TypeError as error:
        raise ModelUnavailable(f"arch.json of model {directory.name!r} cannot be read: {error}") from None
