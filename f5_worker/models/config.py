"""Where a checkpoint is, and what it is in the names of f5-tts' configurations: a published one, or its `arch.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from f5_worker.errors import ModelUnavailable
from f5_worker.settings import REPOSITORY, Settings
from f5_worker.text.traits import TextTraits

BACKBONES = ("DiT", "UNetT", "MMDiT")
MEL_SPEC_TYPES = ("vocos", "bigvgan")


@dataclass(frozen=True)
class ModelConfig:
    """The part `model` of one of f5-tts' configurations.

    Attributes:
        arch: arguments of the backbone.
        backbone: class of the network: DiT is F5-TTS, UNetT is E2-TTS.
        mel_spec_type: the vocoder, which decides how the mel is computed.
    """

    arch: Mapping[str, Any]
    backbone: str = "DiT"
    mel_spec_type: str = "vocos"


_BASE = {"dim": 1024, "depth": 22, "heads": 16, "ff_mult": 2, "text_dim": 512, "conv_layers": 4}
_SMALL = {"dim": 768, "depth": 18, "heads": 12, "ff_mult": 2, "text_dim": 512, "conv_layers": 4}
_FIRST_RELEASE = {"text_mask_padding": False, "pe_attn_head": 1}

# f5_tts/configs/*.yaml of f5-tts 1.1.22
PUBLISHED_CONFIGS: Mapping[str, ModelConfig] = {
    "F5TTS_v1_Base": ModelConfig(_BASE),
    "F5TTS_Base": ModelConfig(_BASE | _FIRST_RELEASE),
    "F5TTS_v1_Small": ModelConfig(_SMALL),
    "F5TTS_Small": ModelConfig(_SMALL | _FIRST_RELEASE),
    "E2TTS_Base": ModelConfig({"dim": 1024, "depth": 24, "heads": 16, "ff_mult": 4} | _FIRST_RELEASE, "UNetT"),
    "E2TTS_Small": ModelConfig({"dim": 768, "depth": 20, "heads": 12, "ff_mult": 4} | _FIRST_RELEASE, "UNetT"),
}


def find_model(settings: Settings) -> Path:
    """Return the directory of the model that the settings name.

    Raises:
        ModelUnavailable: it is not on this machine.
    """
    places = [REPOSITORY / "models" / settings.model, settings.models_dir / settings.model]
    for place in places:  # an absolute F5_MODEL is the path itself in both
        if place.is_dir():
            return place
    raise ModelUnavailable(
        f"F5_MODEL={settings.model!r} was found neither in {places[0].parent} nor in {places[1].parent}; "
        "start model_cache_init.py instead, which fetches it, or name one that is there, such as f5-tiny"
    )


def read_config(directory: Path) -> ModelConfig:
    """Return the configuration of the checkpoint in `directory`.

    `arch.json` holds the name of a published one, or the arguments of the backbone and beside them, if they are not the
    usual ones, `backbone` and `mel_spec_type`. Without it the directory has a published one's name.

    Raises:
        ModelUnavailable: there is none, or it cannot be read.
    """
    path = directory / "arch.json"
    if not path.is_file():
        if directory.name in PUBLISHED_CONFIGS:
            return PUBLISHED_CONFIGS[directory.name]
        raise ModelUnavailable(
            f"model {directory.name!r} has no arch.json and is not one of {', '.join(PUBLISHED_CONFIGS)}; "
            "add its arch.json"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelUnavailable(f"arch.json of model {directory.name!r} cannot be read: {error}") from None
    if isinstance(values, str) and values in PUBLISHED_CONFIGS:
        return PUBLISHED_CONFIGS[values]
    if not isinstance(values, dict):
        raise ModelUnavailable(
            f"arch.json of model {directory.name!r} holds neither arguments of its backbone nor one of "
            f"{', '.join(PUBLISHED_CONFIGS)}"
        )
    backbone = _take(values, "backbone", BACKBONES)
    mel_spec_type = _take(values, "mel_spec_type", MEL_SPEC_TYPES)
    return ModelConfig(values, backbone, mel_spec_type)


def read_traits(directory: Path) -> TextTraits:
    """Return what the checkpoint in `directory` has learned of written text: its `text.json`, if there is one.

    Raises:
        ModelUnavailable: the file cannot be read, or has other names.
    """
    path = directory / "text.json"
    if not path.is_file():
        return TextTraits()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        languages = values.pop("languages", [])
        if not all(isinstance(code, str) and re.fullmatch("[a-z]{2,3}", code) for code in languages):
            raise ValueError("its languages are not a list of codes such as fr")
        if not all(isinstance(value, bool) for value in values.values()):
            raise ValueError("its other values are not all true or false")
        return TextTraits(tuple(languages), **values)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"text.json of model {directory.name!r} cannot be read: {error}") from None


def _take(values: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    """Remove a name from the values of an arch.json and return its value; without one, the first known."""
    value = values.pop(name, known[0])
    if value not in known:
        raise ModelUnavailable(f"arch.json: {name} {value!r} is unknown; expected {', '.join(known)}")
    return str(value)
