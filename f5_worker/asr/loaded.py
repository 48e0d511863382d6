"""What a loaded recogniser does, whether on the CPU or on the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.models.whisper.search import NOTHING_EXPECTED, ExpectedTokens

WHISPER_RATE = 16_000
FRAME_SAMPLES = 160  # of Whisper's spectrogram at 16 kHz; its encoder halves the rate
MAX_FRAMES = 3_000  # 30 s: Whisper's window
STEP_S = 0.020  # of the encoder
BEAM_SIZE = 5
MAX_PREFIX_TOKENS = 112  # of a transcript that are given; it may have 224, half of what Whisper can decode
MAX_TEXT_TOKENS = 440  # of the 448 that Whisper can decode, less those that start the decoding


def to_whisper_rate(samples: Samples) -> Samples:
    """Return a signal `[nw]` at 24 kHz at Whisper's 16 kHz."""
    return np.asarray(soxr.resample(samples, SAMPLE_RATE, WHISPER_RATE), np.float32)


@dataclass(frozen=True, eq=False)
class TokenTimes:
    """The times of the `t` tokens of a text in its sound, by the attention of Whisper's alignment heads.

    Attributes:
        probabilities: `[t]` of the tokens.
        starts_s: when attention moves to each token, and last when it moves to the end: `[t + 1]`.
    """

    probabilities: NDArray[np.float64]
    starts_s: NDArray[np.float64]


@dataclass(frozen=True)
class ClipTranscript:
    """The transcript of a clip of at most 30 s, by one search, however unlikely.

    Attributes:
        mean_log_probability: of its tokens; those that were expected and not searched count as certain.
        no_speech_probability: that nothing is spoken.
    """

    text: str
    mean_log_probability: float
    no_speech_probability: float


class LoadedModel(Protocol):
    """A loaded Whisper; many threads may use it at once."""

    @property
    def hf_tokenizer(self) -> Any:
        """Return its `tokenizers.Tokenizer`."""

    @property
    def supported_languages(self) -> list[str]:
        """Return the ISO 639-1 codes of the languages that it knows."""

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        """Decode the tokens of a text as if it were spoken in the sound, and return where.

        Args:
            audio: `[nw]` at 16 kHz, at most MAX_FRAMES of it.
            tokens: at most MAX_TEXT_TOKENS, and at most one for each encoder step.
            language: one that the model knows.
        """

    def token_probabilities(
        self, audio: Samples, texts: Sequence[Sequence[int]], language: str
    ) -> list[NDArray[np.float64]]:
        """Return the probabilities `[t]` of the tokens of several texts, each as if it were spoken in the sound.

        Takes what `force` does, and less time.
        """

    def transcribe_clip(
        self, audio: Samples, language: str, expected: ExpectedTokens = NOTHING_EXPECTED
    ) -> ClipTranscript:
        """Transcribe a clip as a whole, without timestamps.

        Args:
            audio: `[nw]` at 16 kHz, at most MAX_FRAMES of it.
            language: one that the model knows.
            expected: of it, so that not all is searched; its prefix has at most MAX_PREFIX_TOKENS.
        """

    def transcribe(self, audio: Samples, **options: Any) -> tuple[Iterable[Any], Any]:
        """Transcribe sound `[nw]` at 16 kHz as faster-whisper's `WhisperModel.transcribe` does."""
