"""A checkpoint's files loaded into the classes of f5-tts, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from f5_worker.errors import ModelUnavailable
from f5_worker.models.config import ModelConfig
from f5_worker.models.f5.checkpoint import read_transformer, read_weights, require_file
from f5_worker.models.f5.config import HOP_SAMPLES, IMPLEMENTATION_KEYS, MEL_BANDS, N_FFT, SAMPLE_RATE
from f5_worker.models.f5.skip_init import SkipInit
from f5_worker.models.upstream.package import import_bigvgan, import_model, import_vocos

# What the modules compute themselves, whether or not a file has it.
_DERIVED = ("rotary_embed.", "head.istft.window")
# Of nvidia/bigvgan_v2_24khz_100band_256x, the one that f5-tts uses; its widths are read from the weights.
BIGVGAN = {
    "resblock": "1", "upsample_rates": [4, 4, 2, 2, 2, 2], "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3, "activation": "snakebeta",
    "snake_logscale": True, "use_tanh_at_final": False, "use_bias_at_final": False, "num_mels": MEL_BANDS,
}  # fmt: skip


def build_cfm(config: ModelConfig, vocabulary_size: int) -> Any:
    """Return f5-tts' `CFM` around a backbone, with its initial weights.

    Raises:
        ModelUnavailable: f5-tts is not installed, or its backbone does not take the arguments.
    """
    model = import_model()
    arch = {name: value for name, value in config.arch.items() if name not in IMPLEMENTATION_KEYS}
    mel = {
        "n_fft": N_FFT, "hop_length": HOP_SAMPLES, "win_length": N_FFT, "n_mel_channels": MEL_BANDS,
        "target_sample_rate": SAMPLE_RATE, "mel_spec_type": config.mel_spec_type,
    }  # fmt: skip
    try:
        backbone = getattr(model, config.backbone)(**arch, text_num_embeds=vocabulary_size)
    except (TypeError, ValueError, AssertionError) as error:
        raise ModelUnavailable(f"f5-tts' {config.backbone} does not take what arch.json holds: {error}") from None
    return model.CFM(transformer=backbone, mel_spec_kwargs=mel).eval()


def load_cfm(directory: Path, config: ModelConfig, vocabulary_size: int) -> Any:
    """Load the network in `directory`, in the precision of its file.

    Raises:
        ModelUnavailable: as `build_cfm`; files are missing or damaged, or do not belong together.
    """
    with SkipInit():
        cfm = build_cfm(config, vocabulary_size)
    weights = read_transformer(directory, vocabulary_size)
    fill(cfm.transformer, weights, f"model {directory.name!r}: model.safetensors", config.backbone)
    return cfm.requires_grad_(False)


def load_vocoder(directory: Path, config: ModelConfig) -> Any:
    """Load the vocoder in `directory`, in fp32: `vocos.Vocos` or `BigVGAN`.

    Raises:
        ModelUnavailable: the vocoder's package is not installed; its file is missing, damaged or another vocoder's.
    """
    weights = {name: x.float() for name, x in read_weights(require_file(directory, "vocoder.safetensors")).items()}
    build = build_bigvgan if config.mel_spec_type == "bigvgan" else build_vocos
    return build(weights, f"model {directory.name!r}: vocoder.safetensors")


def build_vocos(weights: Mapping[str, Tensor], name: str) -> Any:
    """Return `vocos.Vocos` without its feature extractor, which would compute the mel.

    Args:
        name: of the file, for errors.
    """
    vocos = import_vocos()
    kept = {key: x for key, x in weights.items() if key.startswith(("backbone.", "head."))}
    try:
        dim, mel_dim, _ = kept["backbone.embed.weight"].shape
        inner = len(kept["backbone.convnext.0.pwconv1.weight"])
    except KeyError as error:
        raise ModelUnavailable(f"{name} is not a Vocos checkpoint: it has no {error}") from None
    layers = sum(key.endswith(".gamma") for key in kept)
    backbone = vocos.models.VocosBackbone(mel_dim, dim, inner, layers)
    vocoder = vocos.Vocos(nn.Identity(), backbone, vocos.heads.ISTFTHead(dim, N_FFT, HOP_SAMPLES, "center"))
    fill(vocoder, kept, name, "Vocos")
    return vocoder.eval().requires_grad_(False)


def build_bigvgan(weights: Mapping[str, Tensor], name: str) -> Any:
    """Return BigVGAN.

    Args:
        name: of the file, for errors.
    """
    bigvgan = import_bigvgan()
    normed = "conv_pre.weight_v" in weights  # trained weights, apart in length and direction
    first = weights.get("conv_pre.weight_v" if normed else "conv_pre.weight")
    if first is None:
        raise ModelUnavailable(f"{name} is not a BigVGAN checkpoint: it has no 'conv_pre.weight'")
    vocoder = bigvgan.BigVGAN(bigvgan.AttrDict(BIGVGAN | {"upsample_initial_channel": len(first)}))
    if not normed:
        vocoder.remove_weight_norm()
    fill(vocoder, weights, name, "BigVGAN")
    if normed:
        vocoder.remove_weight_norm()
    return vocoder.eval().requires_grad_(False)


def fill(module: nn.Module, weights: Mapping[str, Tensor], name: str, what: str) -> None:
    """Load weights into a module, except for what it computes itself.

    Args:
        name: of the file, for errors; `what`: of the network.

    Raises:
        ModelUnavailable: tensors are missing, have other shapes, or are those of another network.
    """
    weights = {key: x for key, x in weights.items() if not key.startswith(_DERIVED)}
    # Not by load_state_dict, which overlooks tensors of a layer that is None, as UNetT's may be.
    expected = {key for key in module.state_dict() if not key.startswith(_DERIVED)}
    if missing := sorted(expected - weights.keys()):
        raise ModelUnavailable(f"{name} lacks {_shortened(missing)} of {what}; use files that belong together")
    if unexpected := sorted(weights.keys() - expected):
        raise ModelUnavailable(f"{name} has {_shortened(unexpected)}, unlike {what}; use files that belong together")
    try:
        module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:  # its lines name each tensor with both shapes
        raise ModelUnavailable(f"{name} and arch.json differ: {str(error).splitlines()[-1].strip()}") from None


def _shortened(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more tensors"
