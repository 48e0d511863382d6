"""Architectures of the models: upstream's published ones by name, any other from its `arch.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment
from f5_worker.errors import ModelUnavailable
from f5_worker.text.traits import TextTraits

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
    rows = 2 if guidance_scale >= MIN_GUIDANCE_SCALE else 1
    return Segment(reference, tokens, frames, nfe, guidance_scale, sway_coefficient, seed, rows * frames)


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
_IMPLEMENTATION_KEYS = {"attn_backend", "attn_mask_enabled", "checkpoint_activations", "dropout", "text_num_embeds"}

_BASE = Arch(dim=1024, depth=22, heads=16, ff_mult=2, text_dim=512, conv_layers=4)
_SMALL = Arch(dim=768, depth=18, heads=12, ff_mult=2, text_dim=512, conv_layers=4)

# f5_tts/configs/*.yaml of f5-tts 1.1.22
PUBLISHED: Mapping[str, Arch] = {
    "F5TTS_v1_Base": _BASE,
    "F5TTS_Base": dataclasses.replace(_BASE, text_mask_padding=False, pe_attn_head=1),
    "F5TTS_v1_Small": _SMALL,
    "F5TTS_Small": dataclasses.replace(_SMALL, text_mask_padding=False, pe_attn_head=1),
}


def read_arch(directory: Path) -> Arch:
    """Return the architecture of the checkpoint in `directory`: its `arch.json`, or the published one of that name.

    Raises:
        ModelUnavailable: there is none, or it cannot be read.
    """
    path = directory / "arch.json"
    if not path.is_file():
        if directory.name in PUBLISHED:
            return PUBLISHED[directory.name]
        raise ModelUnavailable(
            f"model {directory.name!r} has no arch.json and is not one of {', '.join(PUBLISHED)}; add its arch.json"
        )
    try:
        return parse_arch(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelUnavailable(f"arch.json of model {directory.name!r} cannot be read: {error}") from None


def parse_arch(values: Mapping[str, Any]) -> Arch:
    """Build an `Arch` from upstream's argument names.

    Raises:
        ModelUnavailable: a name is unknown, which might change the result.
    """
    known = {field.name for field in dataclasses.fields(Arch)}
    unknown = set(values) - known - _IMPLEMENTATION_KEYS
    if unknown:
        raise ModelUnavailable(f"arch.json: unknown names {', '.join(sorted(unknown))}; this worker runs DiT only")
    return Arch(**{name: value for name, value in values.items() if name in known})


def read_traits(directory: Path) -> TextTraits:
    """Return what the checkpoint in `directory` has not learned of written text: its `text.json`, or nothing.

    Raises:
        ModelUnavailable: the file cannot be read, or has other names.
    """
    path = directory / "text.json"
    if not path.is_file():
        return TextTraits()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(value, bool) for value in values.values()):
            raise ValueError("its values are not all true or false")
        return TextTraits(**values)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"text.json of model {directory.name!r} cannot be read: {error}") from None
