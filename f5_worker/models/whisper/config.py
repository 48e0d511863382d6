"""What a Whisper checkpoint is made of: the network's sizes, and the tokens and heads that its files name.

Two layouts of a directory are read: Hugging Face's (`openai/whisper-*`), with generation_config.json, and CTranslate2's
(`Systran/faster-whisper-*`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from f5_worker.errors import ModelUnavailable
from f5_worker.models.published import is_hugging_face

MAX_FRAMES = 3_000  # 30 s: Whisper's window
STEP_S = 0.020  # of the encoder
MAX_TOKENS = 448  # that the decoder has positions for
MULTILINGUAL_VOCABULARY = 51_865  # and larger; the English models have one token less


@dataclass(frozen=True)
class WhisperArch:
    """The sizes of a network.

    Attributes:
        mels: mel bands: 80, or 128 of large-v3 and large-v3-turbo.
        width: of the residual stream; that of the feed-forward layers is four times it.
        encoder_heads, decoder_heads: attention heads of a layer.
    """

    mels: int
    width: int
    encoder_layers: int
    encoder_heads: int
    decoder_layers: int
    decoder_heads: int
    vocabulary: int

    @property
    def is_multilingual(self) -> bool:
        """Return whether the vocabulary has tokens for languages other than English."""
        return self.vocabulary >= MULTILINGUAL_VOCABULARY

    def __post_init__(self) -> None:
        if min(astuple(self)) < 1 or self.width % self.encoder_heads or self.width % self.decoder_heads:
            raise ValueError("its sizes are those of no network")


@dataclass(frozen=True)
class DecodingConfig:
    """The tokens that are never sampled, and the heads whose attention follows the sound.

    Attributes:
        alignment_heads: `(layer, head)` of the decoder's cross-attention, as OpenAI chose them.
        suppress: token ids that are never sampled.
        suppress_at_start: token ids that no transcript begins with.
    """

    alignment_heads: tuple[tuple[int, int], ...]
    suppress: tuple[int, ...]
    suppress_at_start: tuple[int, ...]


def read_arch(directory: Path) -> WhisperArch:
    """Read the sizes of a checkpoint in Hugging Face's layout.

    Raises:
        ModelUnavailable: config.json is missing, damaged or of another model.
    """
    config = read_json(directory / "config.json")
    try:
        return WhisperArch(
            mels=int(config["num_mel_bins"]),
            width=int(config["d_model"]),
            encoder_layers=int(config["encoder_layers"]),
            encoder_heads=int(config["encoder_attention_heads"]),
            decoder_layers=int(config["decoder_layers"]),
            decoder_heads=int(config["decoder_attention_heads"]),
            vocabulary=int(config["vocab_size"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelUnavailable(f"the recogniser's config.json is not that of a Whisper model ({error})") from None


def read_decoding(directory: Path, arch: WhisperArch) -> DecodingConfig:
    """Read which tokens and heads a checkpoint names, in either layout.

    Raises:
        ModelUnavailable: the file is missing or damaged, or names heads or tokens that the network does not have.
    """
    if is_hugging_face(directory):
        config = read_json(directory / "generation_config.json")
        names = ("suppress_tokens", "begin_suppress_tokens")
    else:
        config = read_json(directory / "config.json")
        names = ("suppress_ids", "suppress_ids_begin")
    try:
        heads = tuple((int(layer), int(head)) for layer, head in config.get("alignment_heads") or ())
        suppress, suppress_at_start = (tuple(map(int, config.get(name) or ())) for name in names)
    except (TypeError, ValueError, OverflowError):
        raise ModelUnavailable("the recogniser's alignment_heads or suppressed tokens are not numbers") from None
    if not heads:  # CTranslate2's own default: all heads of the upper half
        upper = range(arch.decoder_layers // 2, arch.decoder_layers)
        heads = tuple((layer, head) for layer in upper for head in range(arch.decoder_heads))
    if any(layer not in range(arch.decoder_layers) or head not in range(arch.decoder_heads) for layer, head in heads):
        raise ModelUnavailable("the recogniser's alignment_heads are not those of its network; fetch it again")
    if any(token not in range(arch.vocabulary) for token in (*suppress, *suppress_at_start)):
        raise ModelUnavailable("the recogniser suppresses tokens that its network does not have; fetch it again")
    return DecodingConfig(heads, suppress, suppress_at_start)


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises:
        ModelUnavailable: it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"the recogniser's {path.name} cannot be read ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise ModelUnavailable(f"the recogniser's {path.name} is not a JSON object")
    return value
